"""What earlier sweeps have trained with equal settings, data, weights and seed, and is not trained again."""

import json
from collections.abc import Callable, Mapping, Sequence

from optuna.trial import FrozenTrial

from search_spaces import Space, with_counts
from sweeper.driver.reference import CODE, keep
from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder, references
from sweeper.study.earlier import Earlier, decisive
from sweeper.study.sweep_study import SweepStudy, open_study
from trainables.engine import checkpoint
from trainables.engine.checkpoint import Checkpoint, point_folder
from trainables.errors import ProblemError
from trainables.fingerprint import fingerprint


def earlier_trials(
    space: Space,
    blocks: int,
    grounds: Mapping[str, str],
    sweeps: Sequence[Earlier],
    say: Callable[[str], None],
) -> list[FrozenTrial]:
    """The trials of earlier sweeps, for a sweep that has begun nothing yet.

    Args:
        space: of the new sweep.
        blocks: how many candidates its model has.
        grounds: as `sweeper.driver.reference.grounds` has them now; other code is said and not refused.
        sweeps: as `earlier_sweeps` has opened them.
        say: told how many are taken over.

    Raises:
        UserError: a sweep's runs are other ones, or none of its trials is one of the space.
    """
    budget = space.budget.count(blocks)
    space = with_counts(space, budget, blocks)
    found: dict[str, FrozenTrial] = {}  # of equal trials, of one sweep or of several, the first
    asked = {what: own for what, own in grounds.items() if what != CODE}
    for earlier in sweeps:
        name = earlier.name
        if unlike := earlier.differences(space, budget, asked):
            raise UserError(
                f"search.from: trials of '{name}' differ from this sweep's in {', '.join(unlike)}; "
                "make these equal, or leave it out"
            )
        trials, complete = earlier.trials(space, budget), len(earlier.study.complete())
        if not complete:
            raise UserError(f"search.from: '{name}' has no complete trial yet; wait for one, or leave it out")
        if not trials:
            raise UserError(
                f"search.from: '{name}' has {complete} complete trials, none with values that are searched "
                "here; widen search.parameters, or leave it out"
            )
        if earlier.study.grounds[CODE] != grounds[CODE]:
            say(f"search.from: '{name}' was begun with other {CODE}, so its numbers may differ a little")
        before = len(found)
        for trial in trials:
            found.setdefault(json.dumps(trial.params, sort_keys=True), trial)
        say(f"search.from: {len(found) - before} of {complete} complete trials of '{name}' are taken over")
    return list(found.values())


def earlier_sweeps(space: Space, folder: SweepFolder, storage: str | None) -> list[Earlier]:
    """The sweeps that ``search.from`` names.

    Args:
        space, folder: of the new sweep.
        storage: URL that has been given for the new sweep.

    Raises:
        UserError: there is no such sweep, or it is the new one itself.
    """
    if space.sweep in space.search.from_:
        raise UserError(f"search.from: '{space.sweep}' is this sweep itself; give this one another --name")
    return [_opened(SweepFolder(name, folder.home), storage) for name in space.search.from_]


def _opened(folder: SweepFolder, storage: str | None) -> Earlier:
    try:
        study = open_study(folder, folder.storage(storage if folder.remembers(storage) else None))
    except UserError as error:
        raise UserError(f"search.from: {error}") from None
    return Earlier(folder.name, study, folder.trial("", study.results).rstrip("/"))


def earlier_baselines(
    space: Space,
    grounds: Mapping[str, str],
    folder: SweepFolder,
    results: str | None,
    say: Callable[[str], None],
    fresh: bool = False,
) -> dict[str, str]:
    """Where the checkpoints of equal baselines are, by the baselines' labels.

    Where no equal run is known, it is noted that this sweep's will be.

    Args:
        space, grounds, folder: of a sweep that has trained nothing yet.
        results: where its checkpoints are kept; only what was kept there is taken over.
        say: told what is taken over.
        fresh: whether nothing is.
    """
    found = {}
    for run in space.baseline_runs:
        baseline = space.for_baseline(run.label)
        key = fingerprint((grounds, space.model.dump(), decisive(baseline), results))
        note = references(folder.home) / f"baseline-{key}.json"
        earlier = json.loads(note.read_text())["place"] if note.exists() and not fresh else None
        if earlier and _finished(earlier, baseline.training.epochs):
            found[run.label] = earlier
            say(f"baseline {run.label}: taken over from {earlier}; --fresh trains it again")
            continue
        keep(note, {"place": folder.trial(f"baseline-{run.label}", results)})
    return found


def bring(study: SweepStudy, folder: SweepFolder) -> None:
    """Copies the checkpoints of runs that are taken over to where this sweep looks for its own.

    A run that finds its last checkpoint is at its end: a baseline is then measured on the test splits and no
    more. Those that are there already, as after an interruption, are left alone.
    """
    for run in study.record().runs:
        place = folder.trial(run.key, study.results)
        if run.taken_over and checkpoint.read(place) is None:
            _copy(run.taken_over, place)


def _copy(source: str, target: str) -> None:
    """The points first: a checkpoint says that they are there."""
    saved = _read(source)
    for point in saved.points if saved else ():
        of_point = point_folder(point["name"])
        if of := _read(f"{source}/{of_point}"):
            checkpoint.write(of, f"{target}/{of_point}")
    if saved:
        checkpoint.write(saved, target)


def _finished(place: str, epochs: int) -> bool:
    """Whether there is a checkpoint of the last epoch; of several phases, of the first's last."""
    saved = _read(place)
    return saved is not None and saved.epoch >= epochs


def _read(place: str) -> Checkpoint | None:
    try:
        return checkpoint.read(place)
    except (OSError, ProblemError):
        return None
