"""Limits on what a model may cost or forget, beside its budget of blocks."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from search_spaces.errors import Mistake, remedy, shown
from search_spaces.part import UniqueItems, mistaken

_MEASURED = (
    "id_accuracy",
    "forgetting",
    "retained_accuracy",
    "active_blocks",
    "active_fraction",
    "trained_parameters",
)
_PROBE = "probe/"
_FORM = re.compile(r"\s*(\S+?)\s*(<=|>=)\s*(\S+)\s*")


class Limit(NamedTuple):
    """A bound of a metric on the validation splits; ``sign`` is 1 where it is the most, -1 for the least."""

    metric: str
    sign: int
    bound: float

    def excess(self, metrics: Mapping[str, float]) -> float:
        """By how much a model misses the limit, in the metric's unit; inside it, 0 or less."""
        return self.sign * (metrics[self.metric] - self.bound)


def limit_of(text: str) -> Limit:
    """The limit that is written, such as ``forgetting <= 1``.

    Raises:
        PydanticCustomError: it is none, or not of a metric that a search may see.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise mistaken(
            f"expects a metric, <= or >=, and a number, such as forgetting <= 1; got {shown(text)}"
        )
    metric, sign, number = found.groups()
    if metric.startswith("test/"):
        raise mistaken(f"a search sees validation data only; write {metric.removeprefix('test/')} instead")
    if metric not in _MEASURED and not metric.startswith(_PROBE):
        raise mistaken(
            f"unknown metric {shown(metric)}; {remedy(metric, [*_MEASURED, 'probe/NAME'], 'known:')}"
        )
    try:
        return Limit(metric, 1 if sign == "<=" else -1, float(number))
    except ValueError:
        raise mistaken(f"expects a number behind {sign}, got {shown(number)}") from None


def _limit(text: str) -> str:
    limit_of(text)
    return text


Limits = Annotated[tuple[Annotated[str, AfterValidator(_limit)], ...], Field(strict=False), UniqueItems]
"""What models outside of are not feasible, each as it is written."""


def unknown_probes(limits: Sequence[str], probes: Sequence[str]) -> list[Mistake]:
    """Limits on probes that the space has not, by the probes' names."""
    known = [f"{_PROBE}{name}" for name in probes]
    return [
        Mistake(("search", "limits", place), f"there is no {metric}; {remedy(metric, known, 'there are')}")
        for place, metric in enumerate(limit_of(text).metric for text in limits)
        if metric.startswith(_PROBE) and metric not in known
    ]
