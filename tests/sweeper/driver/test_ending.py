"""What a sweep leaves behind at its end, where a part of it cannot be written."""

import io
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rich.console import Console

from search_spaces import load_space
from sweeper.driver.cluster import LOCAL
from sweeper.driver.runner import Surroundings, _end
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.claim import claim
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.tracker import Tracker
from trainables import open_problem

LONG = "a" * 64
SPACE = load_space(
    "spaces/clip_lambda.yaml",
    [f"sweep={LONG}", "baselines=[]", "search.trials=1", "data.ood=[]", "budget={active_blocks: 2}"],
)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return MlflowClient()


def finished() -> SweepStudy:
    """A sweep with the longest of names, whose only trial has no checkpoint."""
    folder = SweepFolder(LONG)
    claim(folder, None, print)
    storage = open_storage(None, folder.journal)
    reference = {"id_accuracy": 50.0, "retained_accuracy": 90.0}
    study = SweepStudy.create(SPACE, ("a", "b", "c"), reference, 1, storage, sweep_id=folder.id)
    job = study.next_trial()
    assert job is not None
    metrics = {"id_accuracy": 80.0, "forgetting": 1.0, "active_blocks": 2, "retained_accuracy": 89.0}
    study.tell(
        {"key": job.key, "state": "complete", "metrics": metrics, "active": ("a", "b"), "reason": None}
    )
    return study


@pytest.mark.parametrize("broken", ["nothing", "report", "mlflow"])
def test_each_step_fails_by_itself_and_in_one_line(broken: str, client: MlflowClient) -> None:
    problem = open_problem(SPACE)
    study, folder, screen = finished(), SweepFolder(LONG), io.StringIO()
    around = Surroundings(LOCAL, None, Console(file=screen, width=10_000))
    tracker = Tracker(study, lambda key: [], around.say)
    tracker.open()
    tracker.flush()
    experiment = client.get_experiment_by_name(LONG)
    assert experiment is not None
    if broken == "report":
        folder.report.touch()
    if broken == "mlflow":
        client.delete_experiment(experiment.experiment_id)
    outcome = _end(study, problem, folder, tracker, around, "FINISHED")

    said = screen.getvalue().splitlines()
    assert said[0 if broken != "report" else 1].startswith("the adapter of trial-0000 is not written: ")
    assert len(said) == (1 if broken == "nothing" else 2) and "Traceback" not in screen.getvalue()
    if broken == "report":
        assert said[0].startswith("the report is not written: ") and outcome.page is None
    else:
        assert outcome.page == folder.report / "index.html" and outcome.page.exists()
        again = load_space(folder.report / "recommended.yaml", []).sweep
        assert again.endswith("-trial-0000") and len(again) == 64
    if broken == "mlflow":
        assert "lacks some of the sweep" in said[-1]
        return
    (parent,) = client.search_runs([experiment.experiment_id], "tags.role = 'sweep'")
    assert parent.info.status == "FINISHED"
    report = {file.path for file in client.list_artifacts(parent.info.run_id, "report")}
    assert ("report/index.html" in report) is (broken == "nothing")
