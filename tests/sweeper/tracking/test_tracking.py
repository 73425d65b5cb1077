import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from git import Repo
from mlflow import MlflowClient
from mlflow.entities import Run
from postgres import free_port

from search_spaces import load_space
from sweeper.errors import UserError
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import Job, SweepStudy
from sweeper.tracking.runs import check_mlflow, tracking_uri
from sweeper.tracking.tracked import End
from sweeper.tracking.tracker import Tracker

SPACE = load_space("spaces/clip_lambda.yaml", ["baselines=[full]", "search.trials=4"])
OVER_RATES = load_space(
    "spaces/clip_lambda.yaml", ["baselines=[{method: full, each: {training.lr: [5e-5, 3e-4]}}]"]
)
PATHS = load_space(
    "spaces/clip_lambda.yaml", ["budget.mode=path", "baselines=[]", "search={trials: 1, parameters: {}}"]
)
CONFIRMED = load_space(
    "spaces/clip_lambda.yaml", ["baselines=[]", "search.trials=1", "confirm={trials: 1, seeds: 2}"]
)
BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
EPOCHS = [{"id_accuracy": 40.0 + epoch, "forgetting": 1.0, "epoch": epoch} for epoch in (1, 2, 3)]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty MLflow database, made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
    return (folder / "mlflow.db").read_bytes()


@pytest.fixture
def client(template: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    (tmp_path / "mlflow.db").write_bytes(template)
    monkeypatch.chdir(tmp_path)
    # MLflow keeps a store for each URI as long as the process lives: a relative one would be shared.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return MlflowClient()


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return SweepStudy.create(
        SPACE, BLOCKS, {"retained_accuracy": 90.0}, 1, open_storage(None, tmp_path / "journal")
    )


def track(study: SweepStudy, said: list[str] | None = None) -> Tracker:
    """A driver's tracker, whose checkpoints have all epochs."""
    tracker = Tracker(study, lambda key: EPOCHS, (said if said is not None else []).append)
    tracker.open()
    return tracker


def begin(study: SweepStudy, tracker: Tracker, job: Job | None = None) -> Job:
    job = job or study.next_trial()
    assert job is not None
    tracker.sync(study.record(), {job.key: ()})
    return job


def hear(study: SweepStudy, tracker: Tracker, job: Job, epochs: int) -> None:
    """A trial under way has reached an epoch."""
    study.tell({"key": job.key, "state": "running", "metrics": EPOCHS[epochs - 1]})
    tracker.sync(study.record(), {job.key: EPOCHS[:epochs]})


def close(study: SweepStudy, tracker: Tracker, status: str = "FINISHED", **artifacts: Path) -> None:
    tracker.close(study.record(), End(status, artifacts))


def report(job: Job, tracker: Tracker, study: SweepStudy, state: str = "complete", **extra: Any) -> None:
    metrics = {**EPOCHS[-1], "active_blocks": 2, "test/id_accuracy": 41.5}
    told = {"key": job.key, "state": state, "epochs": EPOCHS, "active": BLOCKS[:2], "reason": None}
    told |= {"metrics": metrics, **extra}
    study.tell(told)
    tracker.sync(study.record(), {job.key: told["epochs"]})


def runs(client: MlflowClient) -> dict[str, Run]:
    experiment = client.get_experiment_by_name("clip_lambda")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    by_key = {run.data.tags["key"]: run for run in found}
    assert len(by_key) == len(found), "a trial has more than one run"
    return by_key


def history(client: MlflowClient, run: Run, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)]


def test_a_trial_is_a_nested_run_with_all_that_comparing_needs(
    client: MlflowClient, study: SweepStudy
) -> None:
    tracker = track(study)
    job = begin(study, tracker)
    report(job, tracker, study)
    close(study, tracker)
    parent, trial = runs(client)["sweep"], runs(client)["trial-0000"]
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert parent.data.tags["role"] == "sweep" and trial.data.tags["role"] == "trial"
    assert trial.data.tags["feasible"] == trial.data.tags["front"] == "true"
    assert trial.data.tags["active"] == ",".join(BLOCKS[:2])
    searched = study.record().trials[0].parameters
    assert trial.data.params["method.lambda"] == str(searched["method.lambda"])
    assert trial.data.params["method.rank"] == str(searched["method.rank"])
    assert trial.data.params["training.lr"] == str(SPACE.training.lr)
    assert history(client, trial, "id_accuracy") == [(1, 41.0), (2, 42.0), (3, 43.0)]
    assert history(client, trial, "test/id_accuracy") == [(3, 41.5)]
    assert trial.info.status == parent.info.status == "FINISHED"


def test_a_curve_is_logged_once_a_step_a_tenth(client: MlflowClient, study: SweepStudy) -> None:
    # More metrics than MLflow takes in one batch.
    probes = {f"test/probe/{number}": 1.0 for number in range(100)}
    curve = [{"a": a / 10, "id_accuracy": 40.0 + a, "forgetting": a / 5, **probes} for a in range(11)]
    tracker = track(study)
    job = begin(study, tracker)
    report(job, tracker, study, curve=curve)
    close(study, tracker)
    again = track(study)
    close(study, again)
    trial = runs(client)[job.key]
    assert history(client, trial, "wise_ft/id_accuracy") == [(a, 40.0 + a) for a in range(11)]
    assert history(client, trial, "wise_ft/forgetting") == [(a, a / 5) for a in range(11)]
    assert len(history(client, trial, "wise_ft/test/probe/99")) == 11
    assert "wise_ft/a" not in trial.data.metrics
    assert trial.data.tags["state"] == "complete"


def test_the_points_of_a_path_are_one_run_with_a_step_for_each_number_of_blocks(
    client: MlflowClient, tmp_path: Path
) -> None:
    study = SweepStudy.create(
        PATHS, BLOCKS, {"retained_accuracy": 90.0}, 1, open_storage(None, tmp_path / "journal")
    )
    tracker = track(study)
    job = begin(study, tracker)
    points = [
        {
            "name": f"blocks-{n}",
            "blocks": n,
            "scaling": None,
            "metrics": EPOCHS[0] | {"id_accuracy": 40.0 + n, "forgetting": n, "active_blocks": n},
            "active": BLOCKS[:n],
        }
        for n in (32, 2, 1)
    ]
    report(job, tracker, study, points=points)
    close(study, tracker)
    close(study, track(study))
    trial = runs(client)[job.key]
    assert history(client, trial, "point/id_accuracy") == [(1, 41.0), (2, 42.0), (32, 72.0)]
    assert (trial.data.tags["front"], trial.data.tags["front_points"]) == ("true", "blocks-2,blocks-1")
    assert trial.data.params["method.path.counts"] == "32,16,8,4,2,1"


def test_a_run_of_a_baseline_has_its_own_values(client: MlflowClient, tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path / "journal")
    study = SweepStudy.create(OVER_RATES, BLOCKS, {"id_accuracy": 30.0}, 1, storage)
    tracker = track(study)
    first, second = study.next_baseline(), study.next_baseline()
    assert first is not None and second is not None
    begin(study, tracker, first)
    report(first, tracker, study)
    told = {"key": second.key, "state": "complete", "metrics": EPOCHS[-1] | {"active_blocks": 2}}
    study.tell(told | {"active": (), "reason": None})
    close(study, tracker, "KILLED")
    # The second has ended unseen, so its run is made from the study alone.
    again = track(study)
    close(study, again)
    found = runs(client)
    for key, lr in (("baseline-full-lr-5e-5", 5e-5), ("baseline-full-lr-3e-4", 3e-4)):
        assert float(found[key].data.params["training.lr"]) == lr
        assert found[key].data.tags["method"] == "full" and found[key].data.tags["role"] == "baseline"
        assert found[key].info.run_name == key


def test_a_failed_trial_has_its_reason(client: MlflowClient, study: SweepStudy) -> None:
    tracker = track(study)
    job = begin(study, tracker)
    report(job, tracker, study, state="failed", metrics={}, epochs=[], reason="loss became nan in epoch 2")
    close(study, tracker)
    trial = runs(client)[job.key]
    assert trial.info.status == "FAILED"
    assert trial.data.tags["reason"] == "loss became nan in epoch 2"
    assert trial.data.tags["feasible"] == "false" and "front" not in trial.data.tags


def test_a_pruned_trial_is_made_good_up_to_where_it_was_stopped(
    client: MlflowClient, study: SweepStudy
) -> None:
    job = study.next_trial()
    assert job is not None
    metrics = EPOCHS[1] | {"active_blocks": 2}
    told = {"key": job.key, "state": "pruned", "metrics": metrics, "active": (), "reason": "dominated"}
    study.tell(told)
    tracker = track(study)
    close(study, tracker)
    pruned = runs(client)[job.key]
    assert (pruned.data.tags["state"], pruned.data.tags["reason"]) == ("pruned", "dominated")
    assert pruned.info.status == "FINISHED"
    assert history(client, pruned, "id_accuracy") == [(1, 41.0), (2, 42.0)]
    assert runs(client)["sweep"].data.metrics["trials_pruned"] == 1


def test_a_confirmation_is_a_nested_run_with_its_own_seed(client: MlflowClient, tmp_path: Path) -> None:
    study = SweepStudy.create(
        CONFIRMED, BLOCKS, {"id_accuracy": 30.0}, 1, open_storage(None, tmp_path / "journal")
    )
    tracker = track(study)
    report(begin(study, tracker), tracker, study)
    seen, unseen = study.next_confirmation(), study.next_confirmation()
    assert seen is not None and unseen is not None
    begin(study, tracker, seen)
    report(seen, tracker, study)
    metrics = EPOCHS[-1] | {"active_blocks": 2}
    study.tell({"key": unseen.key, "state": "complete", "metrics": metrics, "active": (), "reason": None})
    close(study, tracker, "KILLED")
    again = track(study)
    close(study, again)
    found = runs(client)
    searched = study.record().trials[0].parameters
    for job, seed in ((seen, "1001"), (unseen, "1002")):
        run = found[job.key]
        assert run.data.tags["role"] == "confirmation" and run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == found["sweep"].info.run_id
        assert run.data.params["training.seed"] == seed
        assert run.data.params["method.lambda"] == str(searched["method.lambda"])
        assert history(client, run, "id_accuracy") == [(1, 41.0), (2, 42.0), (3, 43.0)]


def test_a_trial_that_is_dominated_leaves_the_front(client: MlflowClient, study: SweepStudy) -> None:
    tracker = track(study)
    first, second = begin(study, tracker), begin(study, tracker)
    report(first, tracker, study)
    better = {"id_accuracy": 90.0, "forgetting": 0.0, "active_blocks": 1}
    report(second, tracker, study, metrics=better)
    close(study, tracker)
    assert [runs(client)[job.key].data.tags["front"] for job in (first, second)] == ["false", "true"]


def test_what_a_killed_driver_had_not_written_is_made_good(client: MlflowClient, study: SweepStudy) -> None:
    tracker = track(study)
    half, unseen = begin(study, tracker), study.next_trial()
    under_way = begin(study, tracker)
    report(under_way, tracker, study, state="running", epochs=EPOCHS[:2], metrics=EPOCHS[1])
    hear(study, tracker, half, 1)
    tracker.flush()
    assert unseen is not None
    for job in (half, unseen):
        metrics = {**EPOCHS[-1], "active_blocks": 2, "test/id_accuracy": 41.5}
        study.tell(
            {"key": job.key, "state": "complete", "metrics": metrics, "active": BLOCKS[:2], "reason": None}
        )

    after = track(study)
    begin(study, after, under_way)
    report(under_way, after, study)
    close(study, after)

    found = runs(client)
    assert set(found) == {"sweep", half.key, unseen.key, under_way.key}
    for job in (half, unseen, under_way):
        assert history(client, found[job.key], "id_accuracy") == [(1, 41.0), (2, 42.0), (3, 43.0)]
        assert history(client, found[job.key], "test/id_accuracy") == [(3, 41.5)]
        assert found[job.key].info.status == "FINISHED"
        assert found[job.key].data.tags["front"] == "true"


def test_reconciling_what_is_right_writes_nothing_again(client: MlflowClient, study: SweepStudy) -> None:
    tracker = track(study)
    job = begin(study, tracker)
    report(job, tracker, study)
    close(study, tracker)
    again = track(study)
    close(study, again)
    assert runs(client)["sweep"].data.metrics["trials_complete"] == 1
    assert len(history(client, runs(client)[job.key], "test/id_accuracy")) == 1
    assert len(history(client, runs(client)[job.key], "id_accuracy")) == 3


def test_artifacts_are_on_the_parent_run_and_adapters_that_left_the_front_are_gone(
    client: MlflowClient, study: SweepStudy, tmp_path: Path
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("<p>")
    adapter = tmp_path / "adapter.safetensors"
    adapter.write_bytes(b"")
    tracker = track(study)
    job = begin(study, tracker)
    report(job, tracker, study)
    tracker.flush()
    sweep = runs(client)["sweep"].info.run_id
    client.log_artifact(sweep, str(adapter), "adapters/trial-0007")
    close(study, tracker, **{"report": tmp_path / "report", f"adapters/{job.key}": adapter})
    assert [file.path for file in client.list_artifacts(sweep, "report")] == ["report/index.html"]
    assert [file.path for file in client.list_artifacts(sweep, "adapters")] == [f"adapters/{job.key}"]
    assert [file.path for file in client.list_artifacts(sweep, f"adapters/{job.key}")] == [
        f"adapters/{job.key}/adapter.safetensors"
    ]


def test_runs_go_to_a_file_here_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == "http://127.0.0.1:5000"


@pytest.mark.parametrize("broken", ["store", "artifacts", "experiment"])
def test_an_mlflow_that_refuses_is_told_before_the_first_trial(
    broken: str, client: MlflowClient, study: SweepStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "store":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////dev/null/mlflow.db")
    elif broken == "artifacts":
        (tmp_path / "full").touch()
        client.create_experiment("clip_lambda", artifact_location=f"file://{tmp_path}/full")
    else:
        client.delete_experiment(client.create_experiment("clip_lambda"))
    with pytest.raises(UserError, match=r"MLflow at sqlite.* refuses .*resume clip_lambda") as caught:
        track(study)
    assert "\n" not in str(caught.value)


def test_an_mlflow_that_refuses_is_told_before_anything_is_measured(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_mlflow("clip_lambda")
    client.delete_experiment(client.create_experiment("clip_lambda"))
    with pytest.raises(
        UserError, match=r"refuses: its experiment 'clip_lambda' is deleted; .* nothing has begun"
    ):
        check_mlflow("clip_lambda")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    check_mlflow("clip_lambda")  # one that is away may be so


def test_what_mlflow_refuses_is_one_line_and_is_written_later(
    client: MlflowClient, study: SweepStudy, tmp_path: Path
) -> None:
    said: list[str] = []
    tracker = track(study, said)
    job = begin(study, tracker)
    tracker.flush()
    experiment = client.get_experiment_by_name("clip_lambda")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    for epochs in (1, 2):
        hear(study, tracker, job, epochs)
        tracker.flush()
    report(job, tracker, study)
    close(study, tracker, report=tmp_path / "mlflow.db")
    assert len(said) == 2
    assert "refuses" in said[0] and "the sweep goes on" in said[0]
    assert "lacks some of the sweep" in said[1] and "resume clip_lambda` writes it" in said[1]
    client.restore_experiment(experiment.experiment_id)
    close(study, track(study))
    trial = runs(client)[job.key]
    assert history(client, trial, "id_accuracy") == [(1, 41.0), (2, 42.0), (3, 43.0)]
    assert history(client, trial, "test/id_accuracy") == [(3, 41.5)]
    assert trial.info.status == runs(client)["sweep"].info.status == "FINISHED"


def test_a_run_that_a_person_has_deleted_is_written_anew(client: MlflowClient, study: SweepStudy) -> None:
    said: list[str] = []
    tracker = track(study, said)
    job, other = begin(study, tracker), begin(study, tracker)
    hear(study, tracker, job, 1)
    tracker.flush()
    for key in ("sweep", job.key):
        client.delete_run(runs(client)[key].info.run_id)
    report(other, tracker, study)
    tracker.flush()
    tracker._again_at = 0.0  # as after a minute
    report(job, tracker, study)
    close(study, tracker)
    assert len(said) == 2 and said[1].endswith("takes what is written again")
    found = runs(client)
    assert set(found) == {"sweep", job.key, other.key}
    for one in (job, other):
        assert history(client, found[one.key], "id_accuracy") == [(1, 41.0), (2, 42.0), (3, 43.0)]
        assert found[one.key].data.tags["mlflow.parentRunId"] == found["sweep"].info.run_id


def test_two_sweeps_of_one_name_keep_apart(client: MlflowClient, study: SweepStudy, tmp_path: Path) -> None:
    other = SweepStudy.create(
        SPACE, BLOCKS, {"id_accuracy": 30.0}, 1, open_storage(None, tmp_path / "other-journal")
    )
    first, second = track(study), track(other)
    mine, theirs = begin(study, first), begin(other, second)
    assert mine.key == theirs.key
    report(mine, first, study)
    report(theirs, second, other, metrics={"id_accuracy": 90.0, "forgetting": 0.0, "active_blocks": 1})
    close(study, first)
    close(other, second)
    experiment = client.get_experiment_by_name("clip_lambda")
    assert experiment is not None
    for one, accuracy in ((study, 43.0), (other, 90.0)):
        found = client.search_runs([experiment.experiment_id], f"tags.sweep_id = '{one.id}'")
        by_key = {run.data.tags["key"]: run for run in found}
        assert len(found) == len(by_key) == 2
        assert by_key["sweep"].data.metrics["knee/id_accuracy"] == accuracy
        assert by_key[mine.key].data.tags["mlflow.parentRunId"] == by_key["sweep"].info.run_id
        searched = one.record().trials[0].parameters["method.lambda"]
        assert by_key[mine.key].data.params["method.lambda"] == str(searched)


def test_a_sweep_from_before_ids_keeps_its_runs(client: MlflowClient, study: SweepStudy) -> None:
    tracker = track(study)
    job = begin(study, tracker)
    report(job, tracker, study)
    close(study, tracker)
    before = {key: run.info.run_id for key, run in runs(client).items()}
    for run_id in before.values():
        client.delete_tag(run_id, "sweep_id")
    study.id, study.predates_ids = None, True
    again = SweepStudy("clip_lambda", study._storage)
    assert again.id is not None  # the journal's; what follows is as for one without
    close(study, track(study))
    assert {key: run.info.run_id for key, run in runs(client).items()} == before
    assert {run.data.tags["sweep_id"] for run in runs(client).values()} == {study.id}


def test_sweeps_compare_by_their_parent_runs(client: MlflowClient, study: SweepStudy, tmp_path: Path) -> None:
    repository = Repo.init(tmp_path / "repository")
    (tmp_path / "repository" / "space.yaml").write_text("")
    repository.index.add(["space.yaml"])
    commit = repository.index.commit("A space")
    tracker = Tracker(study, lambda key: EPOCHS, print, tmp_path / "repository" / "space.yaml")
    tracker.open()
    report(begin(study, tracker), tracker, study)
    close(study, tracker)
    parent = runs(client)["sweep"]
    tags, metrics = parent.data.tags, parent.data.metrics
    assert tags["mlflow.source.name"] == str(tmp_path / "repository" / "space.yaml")
    assert tags["mlflow.source.git.commit"] == commit.hexsha
    assert tags["mlflow.user"] and tags["version"] == version("selective-lora-sweeper")
    assert tags["objectives"] == "id_accuracy: maximize, forgetting: minimize"
    assert tags["hypervolume_reference"] == "id_accuracy 0, retained_accuracy 0"
    assert tags["knee"] == "trial-0000" and metrics["knee/forgetting"] == 1.0
    # One point of (0.43, 0.9 - 0.01): its rectangle.
    assert metrics["hypervolume"] == pytest.approx(0.43 * 0.89)
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["space.yaml"]


def test_half_of_an_end_is_made_whole(client: MlflowClient, study: SweepStudy) -> None:
    tracker = track(study)
    job = begin(study, tracker)
    report(job, tracker, study)
    other = begin(study, tracker)
    tracker.flush()
    run_id = runs(client)[job.key].info.run_id
    # As if the driver had been killed between the calls that end a run, and the front had moved on since.
    client.update_run(run_id, status="RUNNING")
    client.set_tag(run_id, "front", "true")
    report(other, tracker, study, metrics={"id_accuracy": 90.0, "forgetting": 0.0, "active_blocks": 1})
    tracker.flush()
    client.set_tag(run_id, "front", "true")
    again = track(study)
    close(study, again)
    run = runs(client)[job.key]
    assert run.info.status == "FINISHED" and run.data.tags["front"] == "false"
    assert history(client, run, "test/id_accuracy") == [(3, 41.5)]
    assert history(client, run, "id_accuracy") == [(1, 41.0), (2, 42.0), (3, 43.0)]


def test_many_reports_that_wait_are_few_calls(client: MlflowClient, study: SweepStudy) -> None:
    busy, slow, written = threading.Event(), threading.Event(), 0
    tracker = track(study)
    log_batch = MlflowClient.log_batch

    def counted(self: MlflowClient, *arguments: Any, **named: Any) -> Any:
        nonlocal written
        written += 1
        busy.set()
        slow.wait()  # as for a server that is slow
        return log_batch(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", counted)
        jobs = [begin(study, tracker) for _ in range(3)]
        assert busy.wait(60)
        for epochs in range(1, 4):
            for job in jobs:
                hear(study, tracker, job, epochs)
        for job in jobs:
            report(job, tracker, study)
        slow.set()
        tracker.flush()
    # What was busy, then all that waited: a call a trial, and one for the sweep.
    assert written <= 1 + 2 * len(jobs)
    close(study, tracker)
    found = runs(client)
    assert all(len(history(client, found[job.key], "id_accuracy")) == 3 for job in jobs)


class Server:
    """A real MLflow server over the database of `client`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)),
                *("--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"),
                *("--artifacts-destination", str(self._folder / "artifacts")),
            ],
            cwd=self._folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def mlflow_server(client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = Server(tmp_path)
    try:
        running.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", running.url)
        yield running
    finally:
        running.stop()


@pytest.mark.slow
def test_a_server_that_is_away_loses_nothing(
    mlflow_server: Server, client: MlflowClient, study: SweepStudy, tmp_path: Path
) -> None:
    told: list[str] = []
    tracker = track(study, told)
    first = begin(study, tracker)
    hear(study, tracker, first, 1)
    tracker.flush()
    mlflow_server.stop()
    hear(study, tracker, first, 2)
    report(first, tracker, study)
    second = begin(study, tracker)
    report(second, tracker, study)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("<p>")
    with ThreadPoolExecutor(1) as thread:
        closing = thread.submit(close, study, tracker, report=tmp_path / "report")
        time.sleep(6)
        assert not closing.done()
        mlflow_server.start()
        closing.result(timeout=60)
    assert len(told) == 2
    assert told[0].startswith(f"waiting for MLflow at {mlflow_server.url}: ")
    assert told[1] == f"MLflow at {mlflow_server.url} is back"
    found = runs(client)
    assert set(found) == {"sweep", first.key, second.key}
    for job in (first, second):
        assert history(client, found[job.key], "id_accuracy") == [(1, 41.0), (2, 42.0), (3, 43.0)]
        assert history(client, found[job.key], "test/id_accuracy") == [(3, 41.5)]
        assert found[job.key].info.status == found["sweep"].info.status == "FINISHED"
        assert found[job.key].data.params["training.lr"] == str(SPACE.training.lr)
    assert (found[first.key].info.end_time or 0) <= (found[second.key].info.end_time or 0)
    artifacts = MlflowClient(mlflow_server.url).list_artifacts(found["sweep"].info.run_id, "report")
    assert [file.path for file in artifacts] == ["report/index.html"]


@pytest.mark.slow
def test_what_was_done_but_not_answered_is_not_done_twice(
    mlflow_server: Server, client: MlflowClient, study: SweepStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[str] = []

    class Dropping(BaseHTTPRequestHandler):
        """Passes on every request, and the first time its kind comes, gives no answer."""

        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = httpx.request(
                self.command,
                mlflow_server.url + self.path,
                content=body,
                headers={"Content-Type": "application/json"},
                timeout=60,
            )
            kind = f"{self.command} {self.path.split('?')[0]}"
            if kind not in dropped:
                dropped.append(kind)
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = do  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Dropping) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{proxy.server_port}")
        tracker = track(study)
        job = begin(study, tracker)
        report(job, tracker, study)
        close(study, tracker)
        proxy.shutdown()
    for call in ("experiments/create", "runs/create", "runs/log-batch", "runs/update"):
        assert f"POST /api/2.0/mlflow/{call}" in dropped
    found = runs(client)
    assert set(found) == {"sweep", job.key}
    assert history(client, found[job.key], "id_accuracy") == [(1, 41.0), (2, 42.0), (3, 43.0)]
    assert history(client, found[job.key], "test/id_accuracy") == [(3, 41.5)]


def test_waiting_can_be_interrupted_and_is_made_good(
    client: MlflowClient, study: SweepStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    said: list[str] = []
    tracker = track(study, said)
    job = begin(study, tracker)
    report(job, tracker, study)
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(2, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        close(study, tracker)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "waiting for MLflow" in said[0] and "interrupted" in said[-1] and len(said) == 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    close(study, track(study))
    assert len(history(client, runs(client)[job.key], "id_accuracy")) == 3


def test_a_server_that_is_away_is_named_without_its_password(
    client: MlflowClient, study: SweepStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://u:s3cret@127.0.0.1:{free_port()}")
    said: list[str] = []
    track(study, said)._given_up.set()
    assert said and "s3cret" not in said[0]
