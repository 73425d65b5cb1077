"""What is known of a sweep at one moment, read from the study: the value that reports are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from optuna.distributions import BaseDistribution

from search_spaces import BudgetMode

Role = Literal["trial", "baseline", "confirmation"]
State = Literal["waiting", "running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial, baseline or confirmation (a trial of the front, trained again with another seed).

    Attributes:
        key: unique in the sweep and fit for a folder name: ``trial-0007``, ``baseline-full``,
            ``confirmation-0007-seed-1001``; of a point ``trial-0007-blocks-4``, ``trial-0007-scale-0.5``.
        label: what a person reads: ``7``, ``full``, ``full-lr-3e-4``, ``7, seed 1001``, ``7 at 4 blocks``,
            ``7 at 4 blocks, scale 0.5``.
        group: the label of a baseline as it is written, which its runs share: ``full``; a trial's own label;
            of a confirmation the label of its trial.
        method: how the model is adapted: ``selective_lora``, ``full``.
        parameters: values that tell it from its like, under their dotted names: of a trial those that were
            searched (a mask as one entry, ``method.mask``, the names of the open blocks), of a baseline those
            that it runs over, empty where it has one run; of a confirmation its ``training.seed``.
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
        closing_order: names of the closed blocks of a trial whose count was controlled, first closed first.
        points: the finished models that a path leaves, with the most open blocks first, and those with a
            scaled update: each as a record of its own, which has the trial's parameters. The own metrics of
            a path are those of its best point inside the budget.
        point: name of a point among those of its run: ``blocks-4``, ``scale-0.5``; None for a run.
        scaling: of a point with a scaled update, how: ``("scale", 0.5)``.
        taken_over: of a run that another sweep has trained: where its checkpoint was.
        began, ended: when, in milliseconds since 1970; None while it has not.
    """

    key: str
    label: str
    group: str
    method: str
    role: Role
    state: State
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    active: tuple[str, ...]
    feasible: bool
    reason: str | None
    curve: tuple[Mapping[str, float], ...] = ()
    closing_order: tuple[str, ...] = ()
    points: tuple["TrialRecord", ...] = ()
    point: str | None = None
    scaling: tuple[str, float] | None = None
    taken_over: str | None = None
    began: int | None = field(default=None, compare=False)
    ended: int | None = field(default=None, compare=False)

    @property
    def models(self) -> tuple["TrialRecord", ...]:
        """The finished models that the run leaves: itself, unless it is a path, and its points."""
        is_path = any(point.scaling is None for point in self.points)
        return self.points if is_path else (self, *self.points)

    @property
    def comes_from(self) -> str | None:
        """The name of the sweep that it is taken over from."""
        return self.taken_over.split("/")[-3] if self.taken_over else None

    @property
    def run_key(self) -> str:
        """The key of the run, of which a point is a part."""
        return self.key if self.point is None else self.key.removesuffix(f"-{self.point}")

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
        asked: number of trials asked for, with those that were taken over.
        reference: metrics of the untouched pre-trained model, named as in `TrialRecord.metrics`.
        trials: by number.
        front: keys of the feasible, non-dominated models of the trials, by falling ID accuracy.
        confirmations: runs of the front's best trials with other seeds, in the order of their beginning.
        mode: how the budget is kept: lambda is searched, the count is controlled, or the mask is searched.
        tolerance: blocks by which a trial may miss the budget.
        damaged: what is said of each picture that is left out since it cannot be read.
        pictures: how many each split of each data set has, as `Problem.sizes`; empty where that is not known.
        domains: of each searched parameter, by its dotted name.
        conditions: of a parameter that only some trials are asked for, the parameters that say which.
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
    confirmations: tuple[TrialRecord, ...] = ()
    mode: BudgetMode = "search"
    tolerance: int = 0
    damaged: tuple[str, ...] = ()
    pictures: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    domains: Mapping[str, BaseDistribution] = field(default_factory=dict)
    conditions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def taken(self) -> int:
        """Number of trials that were taken over from other sweeps."""
        return sum(trial.taken_over is not None for trial in self.trials)

    def run(self, key: str) -> TrialRecord:
        """The run with that key; at one look if it is a trial's, of which there are many."""
        role, _, rest = key.partition("-")
        if role == "trial":
            number, _, name = rest.partition("-")
            trial = self.trials[int(number)]
            return next(point for point in trial.points if point.point == name) if name else trial
        return next(run for run in (*self.baselines, *self.confirmations) if run.key == key)

    @property
    def models(self) -> tuple[TrialRecord, ...]:
        """The finished models of all trials, by number; a trial that leaves none yet stands for itself."""
        return tuple(model for trial in self.trials for model in trial.models)

    @property
    def runs(self) -> tuple[TrialRecord, ...]:
        """Everything that is trained."""
        return (*self.baselines, *self.trials, *self.confirmations)
