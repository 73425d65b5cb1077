"""Real studies without training, and services on them."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import uvicorn
from starlette.types import ASGIApp

from search_spaces import load_space
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.claim import claim
from sweeper.study.reading import space_of
from sweeper.study.sweep_study import SweepStudy
from trainables import open_problem
from trainables.engine import checkpoint
from trainables.engine.training import Training

REPOSITORY = Path(__file__).parents[3]
SPACE = REPOSITORY / "spaces" / "clip_lambda.yaml"
BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
REFERENCE = {"id_accuracy": 50.0, "probe/glyphs": 90.0, "retained_accuracy": 90.0, "forgetting": 0.0}
#: Accuracy, forgetting and active blocks: two on the front, one dominated, one outside the budget.
OUTCOMES = ((80.0, 5.0, 2), (70.0, 1.0, 2), (75.0, 6.0, 2), (95.0, 3.0, 9))
HOSTILE = "<script>window.hit = 1</script><img src=x onerror='window.hit=1'>"


def study(name: str = "clip_lambda", trials: int = 8, url: str | None = None) -> SweepStudy:
    """A sweep in the working directory: a baseline, what `OUTCOMES` says, a failure and a trial under way."""
    space = load_space(SPACE, [f"sweep={name}", "baselines=[full]", f"search.trials={trials}"])
    folder = SweepFolder(name)
    folder.path.mkdir(parents=True)
    claim(folder, url, print)
    made = SweepStudy.create(
        space, BLOCKS, REFERENCE, 1, open_storage(url, folder.journal), sweep_id=folder.id
    )
    baseline = made.next_baseline()
    assert baseline is not None
    made.tell(report(baseline.key, 96.0, 20.0, 32))
    for outcome in OUTCOMES:
        end(made, *outcome)
    failing = made.next_trial()
    assert failing is not None
    made.tell({**report(failing.key, 0.0, 0.0, 0), "state": "failed", "metrics": {}, "reason": HOSTILE})
    under_way = made.next_trial()
    assert under_way is not None
    made.tell({**report(under_way.key, 60.0, 2.0, 4), "state": "running"})
    return made


def end(made: SweepStudy, accuracy: float, forgetting: float, active: int) -> str:
    """One more trial that has ended; its key."""
    job = made.next_trial()
    assert job is not None
    made.tell(report(job.key, accuracy, forgetting, active))
    return job.key


def report(key: str, accuracy: float, forgetting: float, active: int) -> dict[str, Any]:
    metrics = {"id_accuracy": accuracy, "forgetting": forgetting, "active_blocks": active, "epoch": 1}
    return {"key": key, "state": "complete", "metrics": metrics, "active": BLOCKS[:active], "reason": None}


def keep_weights(made: SweepStudy, key: str) -> None:
    """Gives a finished run of a sweep in the working directory a checkpoint, of weights that are drawn."""
    record, folder = made.record(), SweepFolder(made.space.sweep)
    training = Training(open_problem(made.space), [space_of(made.space, record, record.run(key))])
    kept, generator = checkpoint.capture(training, 0, []), torch.Generator().manual_seed(0)
    for name, tensor in kept.tensors.items():
        if tensor.is_floating_point():
            kept.tensors[name] = tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
    checkpoint.write(kept, folder.trial(key, made.results))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The application behind a real server; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "the server does not start"
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join(60)
