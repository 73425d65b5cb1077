"""The finished models that a trial leaves on its way, and beside the one at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

from trainables.engine.measures import Metrics
from trainables.engine.scaling import Scaling, Update

if TYPE_CHECKING:
    from trainables.engine.training import Training


@dataclass(frozen=True)
class Point:
    """A finished model that a trial leaves on its way, or at its end beside the trained one.

    Attributes:
        name: tells it from the trial's others.
        blocks: how many are open.
        scaling: how its update is scaled; None for a trained one.
        metrics: on validation and test splits; ``epoch`` is that of the trial, and may have a fraction.
        active: names of the open blocks.
        tensors: what it is made of, by name; empty where it was left by an earlier process.
    """

    name: str
    blocks: int
    scaling: Scaling | None
    metrics: Metrics
    active: tuple[str, ...]
    tensors: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def saved(self) -> dict[str, Any]:
        """All but the tensors."""
        kept = ("name", "blocks", "scaling", "metrics", "active")
        return {name: getattr(self, name) for name in kept}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Self:
        """A point without tensors, of what was told of it."""
        scaling = saved["scaling"] and Scaling(*saved["scaling"])
        return cls(saved["name"], saved["blocks"], scaling, saved["metrics"], tuple(saved["active"]))


def leave_points(training: "Training", step: int) -> None:
    """Keeps every member as it is, where a path has come to a count, and what scaling makes of it.

    Args:
        training: at the end of one of its levels.
        step: how many are done.
    """
    counts = training.levels.counts
    name = f"blocks-{counts[training.levels.ends.index(step)]}" if counts else ""
    last = training.epoch + 1 == training.epochs
    asked = training.spaces[0].points
    scalings = [Scaling(kind, share) for kind in ("scale", "lines") for share in getattr(asked, kind)]
    if counts:
        _leave(training, name, None, step, [True] * training.learner.size)
    if not scalings or not (counts or last):
        return
    inside = [len(active) <= (asked.most_blocks or 0) for active in training.learner.method.active_blocks()]
    if any(inside):
        update = Update(training.learner)
        for scaling in scalings:
            with update.scaled(scaling):
                _leave(training, "-".join(filter(None, (name, str(scaling)))), scaling, step, inside)


def _leave(
    training: "Training", name: str, scaling: Scaling | None, step: int, members: Sequence[bool]
) -> None:
    """Measures some of the members as they are, and keeps them; tensors of what is not scaled."""
    active = training.learner.method.active_blocks()
    for k, (validation, test) in enumerate(zip(training.validate(), training.test(), strict=True)):
        if members[k]:
            metrics = {**validation, **test, "epoch": step / training.batches}
            tensors = {} if scaling else {n: t.detach().clone() for n, t in training.learned(k)}
            training.points[k].append(Point(name, len(active[k]), scaling, metrics, active[k], tensors))
