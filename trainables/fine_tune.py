"""The Ray Tune trainable: one pack of trials, one epoch a step."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune

from trainables import checkpoint
from trainables.measures import Metrics
from trainables.problem import Problem
from trainables.training import Training, best_device
from trainables.wise_ft import wise_ft_curves


class FineTune(tune.Trainable):
    """Trains a pack of trials. What goes wrong is recorded on the trial it happened to.

    Config:
        members: for each trial ``{"key": str, "space": resolved space, "folder": where its checkpoint is}``.

    Result of a step:
        members: for each trial ``{"key", "state": "running" | "complete" | "failed", "reason",
        "epochs": metrics of the epochs that this process has not reported yet, "metrics": the last known,
        with those on the test splits at the end, "active": names of active blocks, "closing_order": as
        `Method.closing_order` gives it, "curve": the WiSE-FT curve, at the end and where it is asked}``.
        A member that has ended is not reported again.
    """

    def setup(self, config: dict[str, Any], problem: Problem, reference: Metrics) -> None:
        """Called once an actor: the problem comes from the object store."""
        self.problem = replace(problem, reference=reference).to(best_device())
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts the next pack in the same actor."""
        self.members: list[Mapping[str, Any]] = new_config["members"]
        self.training: Training | None = None
        self.ended: set[str] = set()
        return True

    def step(self) -> dict[str, Any]:
        """One epoch for all members, or what is left to do for a trial that had trained to its end."""
        try:
            reports = self._advance()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            reports = [self._report(k, "failed", reason=reason) for k in range(len(self.members))]
        reports = [report for report in reports if report["key"] not in self.ended]
        self.ended |= {report["key"] for report in reports if report["state"] != "running"}
        return {"members": reports, "done": len(self.ended) == len(self.members)}

    def _advance(self) -> list[dict[str, Any]]:
        reported = self.training.epoch if self.training else 0
        training = self.training = self.training or self._begin()
        if training.epoch < training.epochs:
            self._extend_histories(training.run_epoch())
        if training.epoch < training.epochs:
            return [self._judged(k, history[-1], reported) for k, history in enumerate(self.histories)]
        last = [history[-1] for history in self.histories if history] or training.validate()
        reports = [
            self._judged(k, {**validation, **test}, reported)
            for k, (validation, test) in enumerate(zip(last, training.test(), strict=True))
        ]
        if training.schedule["wise_ft"] and training.epochs:
            for report, curve in zip(reports, wise_ft_curves(training), strict=True):
                report["curve"] = curve
        return reports

    def _begin(self) -> Training:
        """Builds the pack and goes on from its checkpoints.

        A process that died between two saves leaves members at different epochs: then all start anew.
        """
        training = Training(self.problem, [member["space"] for member in self.members])
        self.histories: list[list[Metrics]] = [[] for _ in self.members]
        saved = [checkpoint.read(Path(member["folder"])) for member in self.members]
        if len({state.epoch if state else 0 for state in saved}) == 1:
            for k, state in enumerate(saved):
                if state is not None:
                    checkpoint.restore(training, k, state)
                    self.histories[k] = state.history
        return training

    def _extend_histories(self, metrics: list[Metrics]) -> None:
        """Adds an epoch to each history and saves each member that is still sound."""
        assert self.training is not None
        for k, (history, member, new) in enumerate(zip(self.histories, self.members, metrics, strict=True)):
            new["seconds"] += history[-1]["seconds"] if history else 0.0
            history.append(new)
            if member["key"] not in self.ended and _unsound(new) is None:
                checkpoint.write(checkpoint.capture(self.training, k, history), Path(member["folder"]))

    def _judged(self, k: int, metrics: Metrics, reported: int) -> dict[str, Any]:
        """A member's report: failed if a metric is not a number, complete after the last epoch."""
        assert self.training is not None
        reason = _unsound(metrics)
        if reason is not None:
            return self._report(k, "failed", reason=f"{reason} in epoch {self.training.epoch}")
        state = "running" if self.training.epoch < self.training.epochs else "complete"
        method = self.training.learner.method
        return self._report(
            k,
            state,
            metrics=metrics,
            epochs=self.histories[k][reported:],
            active=method.active_blocks()[k],
            closing_order=method.closing_order()[k],
        )

    def _report(self, k: int, state: str, **details: Any) -> dict[str, Any]:
        return {
            "key": self.members[k]["key"],
            "state": state,
            "reason": None,
            "metrics": {},
            "epochs": [],
            "active": (),
            "closing_order": (),
            "curve": [],
            **details,
        }


def _unsound(metrics: Metrics) -> str | None:
    """Names the first metric that is not a finite number."""
    return next(
        (f"{name} became {value}" for name, value in metrics.items() if not math.isfinite(value)), None
    )
