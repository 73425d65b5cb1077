"""What must hold at the end: results are whole, and no secret was told to anyone."""

import json
import re
import subprocess
from pathlib import Path

from project import REPOSITORY, Project

_GUIDE = REPOSITORY / "docs" / "operations.md"


def documented(heading: str) -> list[list[str]]:
    """The blocks of commands below a heading of docs/operations.md, each a list of lines."""
    _, _, after = _GUIDE.read_text().partition(f"\n## {heading}\n")
    section = after.partition("\n## ")[0]
    blocks = re.findall(r"(?:^    .+\n)+", section, re.MULTILINE)
    return [[line.strip() for line in block.splitlines()] for block in blocks]


def check_results(project: Project, name: str, trials: int) -> None:
    """A sweep has as many finished trials as were asked for, in the service and in MLflow, and a report."""
    answer = project.ask(f"/sweeps/{name}").json()
    _must(answer["state"] == "finished" and answer["counts"]["done"] == trials, f"{name}: {answer}")
    _must("<html" in project.ask(f"/sweeps/{name}/report").text, f"{name} has no report")
    query = (
        "SELECT r.status, count(*) FROM runs r JOIN experiments e USING (experiment_id) "
        f"WHERE e.name = '{name}' GROUP BY 1"
    )
    found = project.shell(
        f'docker compose exec -T postgres psql -U sweeper -d mlflow -At -F " " -c "{query}"'
    ).split()
    _must(found == ["FINISHED", str(trials + 1)], f"MLflow has not the runs of {name}: {found}")


def check_secrets(project: Project, name: str) -> int:
    """No planted secret is in logs, command lines, `docker inspect` or answers; how many texts were read.

    Args:
        project: what runs.
        name: of a sweep that has a job on the present head, which knows nothing of those of before.
    """
    texts = dict(_told(project, name))
    leaks = [
        f"{secret} in {where}"
        for where, text in texts.items()
        for secret, value in project.secrets.items()
        if value in text
    ]
    _must(not leaks, f"secrets are told: {leaks}")
    _must(all(texts.values()), f"nothing to read: {[where for where, text in texts.items() if not text]}")
    return len(texts)


def _told(project: Project, name: str) -> list[tuple[str, str]]:
    containers = project.containers()
    found = [("docker compose ps", project.shell("docker compose ps --all --format json"))]
    for container in containers:
        for what in ("logs", "inspect", "top"):
            end = " -eo pid,args" if what == "top" else ""
            found.append((f"docker {what} {container}", project.shell(f"docker {what} {container}{end}")))
    for path in ("/sweeps", *(f"/sweeps/{name}{part}" for part in ("", "/logs", "/trials.csv", "/report"))):
        found.append((path, project.ask(path).text))
    jobs = 'curl --silent --header "Authorization: Bearer $(cat $RAY_AUTH_TOKEN_PATH)" http://head:8265/api/jobs/'
    answer = project.shell(f"docker compose exec -T head sh -c '{jobs}'")
    _must(len(json.loads(answer)) >= 1, f"Ray has not the jobs: {answer[:300]}")
    return [*found, ("Ray's jobs", answer)]


def check_image(image: str) -> None:
    """Login shells, which Ray's cluster launcher uses, and KubeRay's find each program that they run."""
    programs = "python ray mlflow optuna curl wget ssh rsync"
    search = f"for program in {programs}; do command -v $program || exit; done"
    for shell in ("bash --login -i -c", "bash -c"):
        command = ["docker", "run", "--rm", image, *shell.split(), search]
        done = subprocess.run(command, capture_output=True, text=True)
        found = done.stdout.split()
        _must(done.returncode == 0, f"{shell} does not find all of {programs} in {image}: {found}")
        _must(found[0].startswith("/opt/sweeper/"), f"{shell} finds another Python in {image}: {found[0]}")


def image_sizes(*images: str) -> dict[str, float]:
    """Sizes in GB, of images that are there."""
    sizes = {}
    for image in images:
        done = subprocess.run(
            ["docker", "image", "inspect", "--format", "{{.Size}}", image], capture_output=True, text=True
        )
        if done.returncode == 0:
            sizes[image] = int(done.stdout) / 1e9
    return sizes


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"containers: {otherwise}")


def dumps(folder: Path) -> str:
    """The files of a backup, with their sizes."""
    files = sorted([*folder.glob("*.dump"), *folder.glob("*.tgz")])
    return ", ".join(f"{file.name} {file.stat().st_size / 1e3:.0f} kB" for file in files)
