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
        label: what a person reads: ``7``, ``full``, ``full-lr-3e-4``.
        group: the label of a baseline as it is written, which its runs share: ``full``; a trial's own label.
        method: how the model is adapted: ``selective_lora``, ``full``.
        parameters: values that tell it from its like, under their dotted names: of a trial those that were
            searched, of a baseline those that it runs over; empty where it has one run.
        metrics: last known metrics. Accuracies in percent, forgetting in percentage points. Without a
            prefix: validation (``id_accuracy``, ``forgetting``, ``retained_accuracy``, ``active_blocks``,
            ``active_fraction``, ``loss``, ``seconds``, ``epoch``, ``probe/<name>``); with ``test/``:
            test splits, known only when complete (``test/id_accuracy``, ``test/ood_accuracy``,
            ``test/ood/<name>``, ``test/retained_accuracy``, ``test/forgetting``, ``test/probe/<name>``).
        active: names of the blocks whose gate is open (``image.3.qkv``); empty while not complete.
        feasible: complete and inside the budget.
        reason: why the trial failed or was pruned.
        curve: WiSE-FT (arXiv 2109.01903): the metrics of the models whose weights are (1 - a) times the
            pre-trained ones and a times the trained ones, each with its ``a``, 0 to 1; empty where not
            measured.
    """

    key: str
    label: str
    group: str
    method: str
    role: Literal["trial", "baseline"]
    state: State
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    active: tuple[str, ...]
    feasible: bool
    reason: str | None
    curve: tuple[Mapping[str, float], ...] = ()

    def candidates(self, usual: int) -> int:
        """Number of blocks that the run could open: as in the search, unless its method has others."""
        share = self.metrics.get("active_fraction")
        return round(self.metrics["active_blocks"] / share) if share else usual


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
