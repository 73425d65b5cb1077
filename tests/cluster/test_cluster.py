"""What docker-compose.yml starts, used as people use it, and broken as machines break."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from typing import Any

import httpx
import pandas as pd
import psycopg
import pytest
from cluster import VARIABLES, Cluster, cluster, missing
from compose_file import REPOSITORY

from search_spaces import load_space
from trainables.engine import checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}"),
]

EPOCHS = 6
MLFLOW = "MLflow at http://mlflow:5000"
POSTGRES = "postgresql+psycopg://sweeper@postgres:5432/optuna"
RATES = [1e-3, 2e-3, 4e-3, 3e-3, 5e-3, 6e-3, 7e-3, 8e-3]


@pytest.fixture(scope="session")
def up() -> Iterator[Cluster]:
    """All services of docker-compose.yml, with two workers."""
    with cluster() as made:
        made.start("postgres")
        made.start("mlflow", "head")
        made.start("worker-1", "worker-2", "service")
        yield made


@pytest.fixture(scope="session")
def calm(up: Cluster) -> str:
    """The name of a sweep that nothing has disturbed; submitted by the command line, ended, gone on with."""
    file = up.folder / "calm.yaml"
    file.write_text(space("calm", RATES[:3], trials=2))
    command = ("python", "-m", "sweeper", "submit", str(file), "--server", "http://service:8080")
    said = up.run("service", "env", f"SWEEPER_TOKEN={VARIABLES['SWEEPER_TOKEN']}", *command)
    assert said.returncode == 0, said.stdout
    wait_for_state(up, "calm", "finished")
    assert ask(up, "POST", "/sweeps/calm/resume", json={"trials": 3}).status_code == 202
    wait_for_state(up, "calm", "finished", done=3)
    return "calm"


def test_a_sweep_is_run_by_the_workers_and_not_by_the_head(up: Cluster, calm: str) -> None:
    nodes = {node["node_id"]: node["node_ip"] for node in ray_list(up, "nodes")}
    actors = [actor for actor in ray_list(up, "actors") if "Trainable" in actor["class_name"]]
    places = {nodes[actor["node_id"]] for actor in actors}
    assert places and places <= {up.network.addresses[name] for name in ("worker-1", "worker-2")}


def test_ray_answers_nobody_without_the_token(up: Cluster, calm: str) -> None:
    status = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}")
    url = "http://head:8265/api/jobs/"
    assert up.run("worker-1", *status, url).stdout == "401"
    token = f"Authorization: Bearer {VARIABLES['RAY_AUTH_TOKEN']}"
    assert up.run("worker-1", *status, "--header", token, url).stdout == "200"
    assert httpx.get(f"{service(up)}/sweeps").status_code == 401


def test_what_a_sweep_leaves_is_where_all_nodes_see_it(up: Cluster, calm: str) -> None:
    kept = up.volume("/results") / calm
    assert (kept / "report" / "index.html").stat().st_size > 0
    assert [len(history(up, calm, number)) for number in range(3)] == [EPOCHS] * 3
    assert list(up.volume("/artifacts").rglob("index.html"))


def test_studies_and_runs_are_in_postgresql(up: Cluster, calm: str) -> None:
    assert rows(up, "optuna", "SELECT study_name FROM studies") >= [(calm,)]
    assert metrics_are_whole(up, calm, trials=3)
    secret = VARIABLES["POSTGRES_PASSWORD"]
    assert secret not in ask(up, "GET", f"/sweeps/{calm}/logs").text
    jobs = str(ask_ray(up, "jobs/"))
    assert "calm-1" in jobs and secret not in jobs and VARIABLES["SWEEPER_TOKEN"] not in jobs


def test_a_sweep_outlives_what_it_runs_on(up: Cluster, calm: str) -> None:
    """A worker dies, another is cut off, PostgreSQL restarts and MLflow is away: the numbers are the same."""
    assert ask(up, "POST", "/sweeps", text=space("storm", RATES, trials=len(RATES))).status_code == 201
    before = wait_for_two_in_mid_trial(up, "storm")

    up.stop("mlflow")
    up.kill("worker-1")
    wait_for_word(up, "storm", f"waiting for {MLFLOW}")
    up.start("mlflow", "worker-1")
    before |= wait_for_two_in_mid_trial(up, "storm")

    up.cut("worker-2")
    up.stop("postgres")
    wait_for_word(up, "storm", f"waiting for {POSTGRES}")
    up.start("postgres")
    wait_until(lambda: len(alive(up)) == 2, 60, "the worker that is cut off is still thought to be alive")
    up.heal("worker-2")
    up.wait_end("worker-2", 90)
    up.start("worker-2")
    wait_for_state(up, "storm", "finished")

    # A trial that had begun anew would have taken other times for the epochs that it had done before.
    for number, epochs in before.items():
        assert history(up, "storm", number)[: len(epochs)] == epochs
    pd.testing.assert_frame_equal(trials(up, "storm").loc[trials(up, calm).index], trials(up, calm))
    assert metrics_are_whole(up, "storm", trials=len(RATES))
    for server in (MLFLOW, POSTGRES):
        assert f"{server} is back" in ask(up, "GET", "/sweeps/storm/logs").text


def test_a_service_that_is_started_again_shows_what_was_there(up: Cluster, calm: str) -> None:
    before = ask(up, "GET", f"/sweeps/{calm}").json()
    assert before["state"] == "finished"
    up.kill("service")
    up.start("service")
    assert ask(up, "GET", f"/sweeps/{calm}").json() == before


def space(name: str, rates: list[float], trials: int) -> str:
    """A small sweep over learning rates, as YAML."""
    grid = {"sampler": "grid", "trials": trials, "prune": False}
    search = grid | {"parameters": {"training.lr": {"choices": rates}}}
    overrides = (
        f"sweep={name}",
        f"search={json.dumps(search)}",
        f"training.epochs={EPOCHS}",
        # A trial lasts longer than the start of a process: else Ray Tune gives it to the first one again, and
        # never are two under way.
        "training.batch_size=16",
        "data.ood=[]",
        "data.probes=[{source: glyphs, limit: 100, score: zero_shot}]",
        "budget={active_blocks: 32}",
        "baselines=[]",
        "resources.pack=1",
    )
    return load_space(REPOSITORY / "spaces" / "clip_lambda.yaml", overrides).to_yaml()


def service(up: Cluster) -> str:
    return f"http://{up.network.addresses['service']}:8080"


def ask(up: Cluster, method: str, path: str, text: str | None = None, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {VARIABLES['SWEEPER_TOKEN']}"}
    if text is not None:
        more["content"] = text.encode()
        headers["Content-Type"] = "application/yaml"
    return httpx.request(method, f"{service(up)}{path}", headers=headers, timeout=60, **more)


def wait_for_state(up: Cluster, name: str, state: str, done: int = 0) -> None:
    def reached() -> bool:
        answer = ask(up, "GET", f"/sweeps/{name}").json()
        log = f"{answer}\n{ask(up, 'GET', f'/sweeps/{name}/logs').text[-3000:]}"
        assert answer["state"] in (state, "queued", "running"), log
        return bool(answer["state"] == state and answer["counts"]["done"] >= done)

    wait_until(reached, 300, f"sweep {name} is not {state}")


def wait_for_word(up: Cluster, name: str, words: str) -> None:
    """Waits until a sweep's driver has said something."""
    wait_until(
        lambda: words in ask(up, "GET", f"/sweeps/{name}/logs").text, 120, f"{name} does not say: {words}"
    )


def wait_for_two_in_mid_trial(up: Cluster, name: str) -> dict[int, list[dict[str, Any]]]:
    """Waits until two trials, one on each worker, have more to come; the epochs that they have done."""
    found: dict[int, list[dict[str, Any]]] = {}

    def amid() -> bool:
        histories = {number: history(up, name, number) for number in range(len(RATES))}
        found.clear()
        found.update({n: epochs for n, epochs in histories.items() if 1 <= len(epochs) <= EPOCHS - 2})
        return len(found) >= 2

    wait_until(amid, 240, f"no two trials of {name} are under way: {len(alive(up))} nodes")
    return found


def wait_until(reached: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.3)


def history(up: Cluster, name: str, number: int) -> list[dict[str, Any]]:
    """The epochs of a trial, by its checkpoint on the volume that all nodes share."""
    saved = checkpoint.read(up.volume("/results") / name / "trials" / f"trial-{number:04d}")
    return saved.history if saved else []


def trials(up: Cluster, name: str) -> pd.DataFrame:
    """A sweep's trials by learning rate, without what depends on the order and the clock."""
    frame = pd.read_csv(StringIO(ask(up, "GET", f"/sweeps/{name}/trials.csv").text))
    order = ["key", "label", "group", "seconds", "front", "knee"]
    return frame.drop(columns=order, errors="ignore").set_index("training.lr").sort_index()


def alive(up: Cluster) -> list[Mapping[str, Any]]:
    return [node for node in ray_list(up, "nodes") if node["state"] == "ALIVE"]


def ray_list(up: Cluster, what: str) -> list[dict[str, Any]]:
    """What Ray's state API lists."""
    found: list[dict[str, Any]] = ask_ray(up, f"v0/{what}")["data"]["result"]["result"]
    return found


def ask_ray(up: Cluster, path: str) -> dict[str, Any]:
    url = f"http://{up.network.addresses['head']}:8265/api/{path}"
    token = {"Authorization": f"Bearer {VARIABLES['RAY_AUTH_TOKEN']}"}
    answer: dict[str, Any] = httpx.get(url, headers=token, timeout=60).json()
    return answer


def rows(up: Cluster, database: str, query: str, *values: str) -> list[tuple[Any, ...]]:
    password, host = VARIABLES["POSTGRES_PASSWORD"], up.network.addresses["postgres"]
    url = f"postgresql://sweeper:{password}@{host}/{database}"
    with psycopg.connect(url) as connection:
        return connection.execute(query, values).fetchall()


def metrics_are_whole(up: Cluster, name: str, trials: int) -> bool:
    """Whether MLflow's database has each epoch of each trial once, and the parent run; all of them ended."""
    of_sweep = "FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name = %s"
    assert rows(up, "mlflow", f"SELECT DISTINCT r.status {of_sweep}", name) == [("FINISHED",)]
    assert rows(up, "mlflow", f"SELECT count(*) {of_sweep}", name) == [(trials + 1,)]
    logged = rows(
        up,
        "mlflow",
        "SELECT r.run_uuid, m.step FROM metrics m JOIN runs r USING (run_uuid) JOIN experiments e "
        "USING (experiment_id) WHERE e.name = %s AND m.key = 'id_accuracy' ORDER BY 1, 2",
        name,
    )
    of_runs = [[step for _, step in group] for _, group in itertools.groupby(logged, lambda row: row[0])]
    return of_runs == [list(range(1, EPOCHS + 1))] * trials
