"""What is known of a sweep at one moment, read from the study: the value that reports are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["waiting", "running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial or baseline.

    Attributes:
        key: unique in the sweep and fit for a folder name: ``trial-0007``, ``baseline-full``.
        label: what a person reads: ``7``, ``full``.
        parameters: searched values under their dotted names; empty for a baseline.
        metrics: last known metrics. Accuracies in percent, forgetting in percentage points. Without a
            prefix: validation (``id_accuracy``, ``forgetting``, ``retained_accuracy``, ``active_blocks``,
            ``active_fraction``, ``loss``, ``seconds``, ``epoch``, ``probe/<name>``); with ``test/``:
            test splits, known only when complete (``test/id_accuracy``, ``test/ood_accuracy``,
            ``test/ood/<name>``, ``test/retained_accuracy``, ``test/forgetting``, ``test/probe/<name>``).
        active: names of the blocks whose gate is open (``image.3.qkv``); empty while not complete.
        feasible: complete and inside the budget.
        reason: why the trial failed or was pruned.
    """

    key: str
    label: str
    role: Literal["trial", "baseline"]
    state: State
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    active: tuple[str, ...]
    feasible: bool
    reason: str | None


@dataclass(frozen=True)
class SweepRecord:
    """A sweep, finished or under way.

    Attributes:
        space: the resolved space under dotted names (``method.name``, ``training.lr``).
        blocks: names of all blocks the method may open, in the order of the forward pass.
        budget: active blocks asked for.
        rule: how the budget is meant.
        asked: number of trials asked for.
        reference: metrics of the untouched pre-trained model, named as in `TrialRecord.metrics`.
        trials: by number.
        front: keys of the feasible, non-dominated trials, by falling ID accuracy.
    """

    name: str
    space: Mapping[str, Any]
    blocks: tuple[str, ...]
    budget: int
    rule: Literal["at_most", "exactly"]
    asked: int
    reference: Mapping[str, float]
    trials: tuple[TrialRecord, ...]
    baselines: tuple[TrialRecord, ...]
    front: tuple[str, ...]
