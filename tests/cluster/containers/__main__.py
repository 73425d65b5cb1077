"""`make containers`: docker-compose.yml as people use it, every part killed once, a backup made and restored.

Needs Docker's engine and Compose, ports 5000 and 8080 of loopback, 20 GB of disk, and about 20 minutes. What
it prints is kept in docs/containers.md. Nothing of it stays but the images.
"""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from checks import check_image, check_results, check_secrets, documented, dumps, image_sizes
from project import IMAGE, REPOSITORY, Project, project
from stand_in import provide

from search_spaces import load_space

PARTS = ("worker", "head", "service", "mlflow", "postgres")
EPOCHS = 4
CALM = 2  # trials of the sweep that nothing disturbs
STORM = 100  # of the one under way while parts end: more than end meanwhile
MORE = 6  # of those, trials after the backup was restored


def main() -> None:
    """Goes through it all; ends with a message at the first thing that does not hold."""
    folder = Path(tempfile.mkdtemp(prefix="sweeper-containers-", dir="/var/tmp"))
    folder.chmod(0o755)
    began = time.monotonic()
    try:
        build()
        with project(folder) as made:
            follow(made)
    finally:
        shutil.rmtree(folder)
    print(f"all of it: {time.monotonic() - began:.0f} s")


def build() -> None:
    """Provides the images that others make, and builds ours."""
    for image in base_images():
        with step(image) as say:
            say(provide(image))
    with step("docker build (VARIANT=cpu)") as say:
        command = ["docker", "build", "--quiet", "--tag", IMAGE, str(REPOSITORY)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        say(", ".join(f"{name} {size:.2f} GB" for name, size in image_sizes(IMAGE, *base_images()).items()))
    with step("the image has what Compose and the recipes of deploy/ call"):
        check_image(IMAGE)


def follow(made: Project) -> None:
    """Sweeps, restarts, a backup, its restoring, and what must then hold."""
    with step("docker compose up: every part healthy"):
        made.up()
    with step(f"a sweep of {CALM} trials, submitted by the command line, to its end"):
        submit(made, "calm", CALM)
        wait_for(made, "calm", "finished", CALM)
    submit(made, "storm", STORM)
    wait_for(made, "storm", "running", 1)
    for part in PARTS:
        with step(f"{part} killed and started again while a sweep runs") as say:
            say(disturb(made, part))
    with step("backup, as docs/operations.md says, while a sweep runs") as say:
        must_run(made)
        backup, restore = documented("What to back up")
        made.shell(*backup)
        say(dumps(made.folder))
    with step("no secret in logs, command lines, docker inspect and answers") as say:
        say(f"{check_secrets(made, 'storm')} texts")
    with step("docker compose down --volumes: all is lost"):
        made.shell("docker compose down --volumes")
    with step("restored, as docs/operations.md says"):
        made.shell(*restore)
        made.wait(made.all_healthy, "not all parts are healthy after the backup was restored", 600)
    last = done(made) + MORE
    with step(f"the sweep that was under way goes on, to its end: {last} trials"):
        go_on(made, trials=last)
        wait_for(made, "storm", "finished", last)
    with step("each sweep has its trials, its runs in MLflow and its report"):
        check_results(made, "calm", CALM)
        check_results(made, "storm", last)
    with step("no secret in logs, command lines, docker inspect and answers") as say:
        say(f"{check_secrets(made, 'storm')} texts")


def disturb(made: Project, part: str) -> str:
    """Restarts a part while a sweep runs, and resumes the sweep where the guide says that one must."""
    must_run(made)
    before = done(made)
    made.restart(part)
    if part == "head":
        go_on(made)
    made.wait(lambda: done(made) > before, f"no trial ends after {part} was restarted", 600)
    return f"trials done: {before}, then {done(made)}"


def go_on(made: Project, **more: int) -> None:
    """Resumes the sweep, once the service knows that its driver is gone."""
    made.wait(lambda: state(made, "storm") == "interrupted", "its driver is not known to be gone", 300)
    made.ask("/sweeps/storm/resume", "POST", json=more)
    wait_for(made, "storm", "running", 0)


def must_run(made: Project) -> None:
    """A part that ends when nothing runs would show nothing."""
    if state(made, "storm") != "running":
        raise SystemExit(f"containers: the sweep is {state(made, 'storm')} and should be running still")


def submit(made: Project, name: str, trials: int) -> None:
    """A small sweep, by this machine's command line."""
    rates = [1e-3 * (1 + number / trials) for number in range(trials)]
    grid = {"sampler": "grid", "trials": trials, "parameters": {"training.lr": {"choices": rates}}}
    overrides = (
        f"sweep={name}",
        f"search={json.dumps(grid | {'prune': False})}",
        f"training.epochs={EPOCHS}",
        "budget={active_blocks: 32}",
        "baselines=[]",
        "resources.pack=1",
    )
    file = made.folder / f"{name}.yaml"
    file.write_text(load_space(REPOSITORY / "spaces" / "clip_lambda.yaml", overrides).to_yaml())
    made.sweeper("submit", str(file))


def wait_for(made: Project, name: str, wanted: str, trials: int) -> None:
    """Waits until a sweep is in a state and has so many trials done."""

    def reached() -> bool:
        answer = made.ask(f"/sweeps/{name}").json()
        if answer["state"] in {"failed", "interrupted"} - {wanted}:
            raise SystemExit(f"containers: {answer}\n{made.ask(f'/sweeps/{name}/logs').text[-3000:]}")
        return bool(answer["state"] == wanted and ended(answer) >= trials)

    made.wait(reached, f"sweep {name} is not {wanted} with {trials} trials", 1200)


def state(made: Project, name: str) -> str:
    """A sweep's state, as the service tells it."""
    return str(made.ask(f"/sweeps/{name}").json()["state"])


def done(made: Project) -> int:
    """Trials that have ended well."""
    return ended(made.ask("/sweeps/storm").json())


def ended(sweep: dict[str, Any]) -> int:
    """Trials of a sweep that have ended well; a driver that starts has counted none."""
    return int((sweep["counts"] or {"done": 0})["done"])


def base_images() -> list[str]:
    """The images that others make: the Dockerfile's, and PostgreSQL's."""
    written = (REPOSITORY / "Dockerfile").read_text().splitlines()
    python = next(line.split()[1] for line in written if line.startswith("FROM "))
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    return [python, services["postgres"]["image"]]


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Prints a step, how long it took and what it says."""
    began, said = time.monotonic(), list[str]()
    yield said.append
    print(f"{time.monotonic() - began:6.1f} s  {name}", *(f"({line})" for line in said), flush=True)


if __name__ == "__main__":
    main()
