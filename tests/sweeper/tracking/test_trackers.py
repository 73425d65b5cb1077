"""Trackers beside MLflow, read again by their own libraries."""

import importlib.util
import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from search_spaces import load_space
from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.tracked import End
from sweeper.tracking.trackers import Trackers, check_libraries

BLOCKS = tuple(f"image.{layer}.qkv" for layer in range(32))
EPOCHS = [{"id_accuracy": 40.0 + epoch, "forgetting": 1.0, "epoch": epoch} for epoch in (1, 2, 3)]


def make(folder: Path, *tracking: str) -> SweepStudy:
    given = ["baselines=[]", "search.trials=4", f"tracking={json.dumps(tracking)}"]
    space = load_space("spaces/clip_lambda.yaml", given)
    return SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, folder / "journal"))


def follow(study: SweepStudy, folder: Path, said: list[str]) -> Trackers:
    trackers = Trackers(study, lambda key: EPOCHS, said.append, SweepFolder("clip_lambda", folder))
    trackers.open()
    return trackers


def two_trials(study: SweepStudy, folder: Path, ends: Callable[[], None] = lambda: None) -> list[str]:
    """One is complete after its driver was killed at its second epoch, the other fails; what is said."""
    said: list[str] = []
    killed = follow(study, folder, said)
    one, other = study.next_trial(), study.next_trial()
    assert one is not None and other is not None
    study.tell({"key": one.key, "state": "running", "metrics": EPOCHS[1]})
    killed.sync(study.record(), {one.key: EPOCHS[:2]})
    killed.flush()
    ends()
    again = follow(study, folder, said)
    metrics = {**EPOCHS[-1], "active_blocks": 2, "test/id_accuracy": 41.5}
    study.tell(
        {"key": one.key, "state": "complete", "metrics": metrics, "active": BLOCKS[:2], "reason": None}
    )
    again.sync(study.record(), {one.key: EPOCHS})
    study.tell({"key": other.key, "state": "failed", "metrics": {}, "active": (), "reason": "it broke"})
    again.close(study.record(), End("FINISHED"))
    return said


def test_tensorboard_shows_every_epoch_once_and_the_parameters(tmp_path: Path) -> None:
    study = make(tmp_path, "tensorboard")
    assert two_trials(study, tmp_path) == []
    folder = tmp_path / "sweeps" / "clip_lambda" / "tensorboard"
    run = EventAccumulator(str(folder / "trial-0000")).Reload()
    assert [(event.step, event.value) for event in run.Scalars("id_accuracy")] == [(1, 41), (2, 42), (3, 43)]
    assert [(event.step, event.value) for event in run.Scalars("test/id_accuracy")] == [(3, 41.5)]
    content = run.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    told = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    parameters = study.record().trials[0].parameters
    assert {path: told[path].number_value for path in parameters} == parameters
    sweep = EventAccumulator(str(folder / "sweep")).Reload()
    assert [(event.step, event.value) for event in sweep.Scalars("front_size")][-1] == (2, 1.0)
    again = follow(study, tmp_path, [])
    again.close(study.record(), End("FINISHED"))
    again_run = EventAccumulator(str(folder / "trial-0000")).Reload()
    assert len(again_run.Scalars("id_accuracy")) == 3


def entries(log: bytes) -> Iterator[bytes]:
    """What is in a log of LevelDB's format, as wandb writes it behind 7 bytes of its own."""
    place, parts = 7, b""
    while place + 7 <= len(log):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        size, kind = struct.unpack_from("<HB", log, place + 4)
        parts += log[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_wandb_has_a_run_for_each_in_the_sweep_s_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", secret := "0123456789abcdef" * 3)
    study = make(tmp_path, "wandb")
    assert two_trials(study, tmp_path, wandb.teardown) == []
    folder = tmp_path / "sweeps" / "clip_lambda" / "wandb"
    logged: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.rglob("run-*.wandb")):
        name = ""
        for data in entries(file.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                name = record.run.display_name
                assert (record.run.project, record.run.run_group) == ("clip_lambda", study.id)
            if record.HasField("history"):
                items = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
                logged.setdefault(name, []).append(items)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files and not any(secret.encode() in file.read_bytes() for file in files)
    assert logged.keys() >= {"trial-0000", "sweep"}
    rows = logged["trial-0000"]
    assert [(r["step"], r["id_accuracy"]) for r in rows if "id_accuracy" in r] == [(1, 41), (2, 42), (3, 43)]
    assert [r["test/id_accuracy"] for r in rows if "test/id_accuracy" in r] == [41.5]


def test_a_library_that_is_missing_or_without_a_key_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = make(tmp_path, "wandb").space
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r'^tracking: wandb .*: pip install "selective-lora-sweeper\[wandb\]"'
    ):
        check_libraries(space)
    monkeypatch.undo()
    check_libraries(make(tmp_path, "tensorboard").space)
    pytest.importorskip("wandb").teardown()  # forgets the key of another test
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"^tracking: wandb has no key: set WANDB_API_KEY"):
        check_libraries(space)
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_libraries(space)


def test_mlflow_alone_imports_no_other_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    before = "sweeper.tracking.wandb_runs" in sys.modules
    Trackers(make(tmp_path, "mlflow"), lambda key: (), print, SweepFolder("clip_lambda", tmp_path))
    assert ("sweeper.tracking.wandb_runs" in sys.modules) == before
