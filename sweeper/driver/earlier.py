"""Baselines that an earlier sweep has trained, with equal settings, data, weights, seed and versions."""

import json
from collections.abc import Callable

from search_spaces import Space
from sweeper.driver.reference import basis, keep
from sweeper.storage.folders import SweepFolder, references
from trainables.engine import checkpoint
from trainables.engine.checkpoint import Checkpoint
from trainables.errors import ProblemError
from trainables.fingerprint import fingerprint
from trainables.problem import Problem


def take_over(
    problem: Problem,
    space: Space,
    folder: SweepFolder,
    results: str | None,
    say: Callable[[str], None],
    fresh: bool = False,
) -> None:
    """Puts the last checkpoints of equal baselines where this sweep looks for its own.

    A run that finds its last checkpoint is at its end: it is measured on the test splits and no more. Where
    no equal run is known, it is noted that this sweep's will be.

    Args:
        problem, space, folder: of a sweep that has trained nothing yet.
        results: where its checkpoints are kept; only what was kept there is taken over.
        say: told what is taken over.
        fresh: whether nothing is.
    """
    known = basis(problem, space) if space.baseline_runs else ""
    for run in space.baseline_runs:
        own = space.for_baseline(run.label)
        settings = own.method.dump(), own.training.dump(), bool(own.resources.gpus_per_trial)
        key = fingerprint((known, problem.task.train, settings, results))
        note = references(folder.home) / f"baseline-{key}.json"
        place = folder.trial(f"baseline-{run.label}", results)
        earlier = json.loads(note.read_text())["place"] if note.exists() and not fresh else None
        if earlier and (saved := _finished(earlier, own.training.epochs)):
            checkpoint.write(saved, place)
            say(f"baseline {run.label}: taken over from {earlier}; --fresh trains it again")
            continue
        keep(note, {"place": place})


def _finished(place: str, epochs: int) -> Checkpoint | None:
    """The checkpoint at a place, if it is of the last epoch; of several phases, of the first's last."""
    try:
        saved = checkpoint.read(place)
    except (OSError, ProblemError):
        return None
    return saved if saved and saved.epoch >= epochs else None
