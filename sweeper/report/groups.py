"""Baselines as they are written: one group for the runs that differ in a learning rate and the like."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.study.front import has_objectives
from sweeper.study.records import TrialRecord

#: Percentage points of ID accuracy that a run may lack and still be chosen for forgetting less.
NEAR = 1.0


@dataclass(frozen=True)
class Group:
    """The runs of one baseline, in the order in which they were asked for."""

    label: str
    runs: tuple[TrialRecord, ...]

    @property
    def measured(self) -> list[TrialRecord]:
        """The runs that are complete and have both objectives."""
        return [run for run in self.runs if run.state == "complete" and has_objectives(run)]

    @property
    def best(self) -> TrialRecord | None:
        """Of the runs within `NEAR` points of the group's highest ID accuracy, the one that forgets least.

        Judged on validation splits. The highest accuracy alone would show a baseline at the rate at which it
        buys a tenth of a point with ten points of forgetting, which is not the method at its best. Ties go
        to the higher accuracy, then to the earlier run. None while nothing is measured.
        """
        if not self.measured:
            return None
        least = max(run.metrics["id_accuracy"] for run in self.measured) - NEAR
        near = [run for run in self.measured if run.metrics["id_accuracy"] >= least]
        return min(near, key=lambda run: (run.metrics["forgetting"], -run.metrics["id_accuracy"]))


def groups(baselines: Sequence[TrialRecord]) -> list[Group]:
    """The baselines by their written label, in order."""
    labels = dict.fromkeys(row.group for row in baselines)
    return [Group(label, tuple(row for row in baselines if row.group == label)) for label in labels]
