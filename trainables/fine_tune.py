"""The Ray Tune trainable: one pack of trials, one epoch a step."""

import gc
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from ray import tune

from trainables.engine import checkpoint
from trainables.engine.checkpoint import Checkpoint
from trainables.engine.measures import Metrics
from trainables.engine.memory import keep_freed_memory, out_of_memory, return_freed_memory
from trainables.engine.prefix import Prefix
from trainables.engine.time_limit import TimeLimit
from trainables.engine.training import Training
from trainables.engine.wise_ft import wise_ft_curves
from trainables.errors import ProblemError
from trainables.faults import device_fault, machine_fault
from trainables.problem import Problem


class FineTune(tune.Trainable):
    """Trains a pack of trials. What goes wrong is recorded on the trial it happened to.

    A fault of the machine is no trial's: it is raised, and ends this process. The members have lost nothing
    that they had saved, and can go on elsewhere or later.

    Config:
        members: for each trial ``{"key": str, "space": resolved space, "folder": path or URL of where
            its checkpoint is}``.

    Result of a step:
        members: for each trial ``{"key", "state": "running" | "complete" | "failed" | "again", "reason",
        "epochs": metrics of the epochs that this process has not reported yet, "metrics": the last known,
        with those on the test splits at the end, "active": names of active blocks, "closing_order": as
        `Method.closing_order` gives it, "curve": the WiSE-FT curve, at the end and where it is asked,
        "points": what is saved of the points so far, as `Point.saved`}``.
        A member that has ended is not reported again. "again" is a member of a pack that was too large for
        the memory: it has lost nothing, and can go on from its checkpoint in a smaller pack.
        over: whether all members have ended. To stop then is up to Tune's scheduler.
    """

    def setup(self, config: dict[str, Any], problem: Problem, reference: Metrics) -> None:
        """Called once an actor: the problem comes from the object store."""
        keep_freed_memory()
        self.reset_config(config)
        resources = self.members[0]["space"].resources
        self.problem = replace(problem, reference=reference).placed(resources)
        self.prefix = Prefix(self.problem.backbone, resources.cache_gib, self.problem.workers)
        # What is here now stays. To look through it for garbage after every pack takes as long as ten steps.
        gc.freeze()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts the next pack in the same actor."""
        self.members: list[Mapping[str, Any]] = new_config["members"]
        self._drop()
        self.ended: set[str] = set()
        self.failures: dict[int, str] = {}
        self.time_limit = TimeLimit(self.members[0]["space"].resources.minutes_per_trial)
        return True

    def step(self) -> dict[str, Any]:
        """One epoch for all members, or what is left to do for a trial that had trained to its end."""
        reports = [report for report in self._attempt() if report["key"] not in self.ended]
        self.ended |= {report["key"] for report in reports if report["state"] != "running"}
        return {"members": reports, "over": len(self.ended) == len(self.members)}

    def _attempt(self) -> list[dict[str, Any]]:
        """A report for each member, also if the whole pack goes wrong."""
        try:
            return self.time_limit.run(self._advance)
        except Exception as error:
            if not out_of_memory(error) and (machine_fault(error) or device_fault(error)):
                raise
            state, reason = self._blame(error)
        # Only here are the error, its frames and the tensors in them gone.
        self._drop()
        self.prefix.forget()
        return_freed_memory()
        failures = self.failures
        return [
            self._report(k, "failed" if k in failures else state, reason=failures.get(k, reason))
            for k in range(len(self.members))
        ]

    def _drop(self) -> None:
        """Frees the memory of a pack at once, also of what refers to itself."""
        self.training: Training | None = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _blame(self, error: Exception) -> tuple[str, str]:
        """State and reason of every member after an error that is no single member's."""
        if not out_of_memory(error):
            return "failed", _message(error)
        if len(self.members) > 1:
            return "again", f"out of memory in a pack of {len(self.members)} ({_message(error)})"
        remedy = "lower training.batch_size, raise training.accumulate, or use a GPU with more memory"
        return "failed", f"out of memory: {remedy} ({_message(error)})"

    @contextmanager
    def _alone(self, k: int) -> Iterator[None]:
        """What is wrong with a member's checkpoint is the end of that member, and of no other."""
        try:
            yield
        except (OSError, ProblemError) as error:
            if machine_fault(error):
                raise
            self.failures[k] = _message(error)

    def _advance(self) -> list[dict[str, Any]]:
        reported = self.training.epoch if self.training else 0
        training = self.training = self.training or self._begin()
        if len(self.failures) == len(self.members):
            return [self._judged(k, {}, 0) for k in self.failures]
        if training.epoch < training.epochs:
            self._extend_histories(training.run_epoch())
        if training.epoch < training.epochs:
            return [self._judged(k, _measured(h), reported) for k, h in enumerate(self.histories)]
        trained = any(self.histories)
        last = [h[-1] if h else {} for h in self.histories] if trained else training.validate()
        reports = [
            self._judged(k, {**validation, **test}, reported)
            for k, (validation, test) in enumerate(zip(last, training.test(), strict=True))
        ]
        if training.schedule.wise_ft and training.epochs:
            for report, curve in zip(reports, wise_ft_curves(training), strict=True):
                report["curve"] = curve
        return reports

    def _begin(self) -> Training:
        """Builds the pack and goes on from its checkpoints.

        A process that died between two saves leaves members at different epochs: then all start anew.
        """
        training = Training(self.problem, [member["space"] for member in self.members], self.prefix)
        self.histories: list[list[Metrics]] = [[] for _ in self.members]
        saved = self._saved()
        if len({state.epoch if state else 0 for state in saved.values()}) == 1:
            for k, state in saved.items():
                if state is not None:
                    with self._alone(k):
                        checkpoint.restore(training, k, state)
                        self.histories[k] = state.history
        return training

    def _saved(self) -> dict[int, Checkpoint | None]:
        """What each member goes on from; without those whose checkpoint cannot be read."""
        saved = {}
        for k, member in enumerate(self.members):
            with self._alone(k):
                saved[k] = checkpoint.read(member["folder"])
        return saved

    def _extend_histories(self, metrics: list[Metrics]) -> None:
        """Adds an epoch to each history and saves each member that is still sound."""
        assert self.training is not None
        for k, (history, member, new) in enumerate(zip(self.histories, self.members, metrics, strict=True)):
            new["seconds"] += history[-1]["seconds"] if history else 0.0
            history.append(new)
            if member["key"] not in self.ended and k not in self.failures and _unsound(new) is None:
                with self._alone(k):
                    for folder, point in checkpoint.capture_points(self.training, k):
                        checkpoint.write(point, f"{member['folder']}/{folder}")
                    checkpoint.write(checkpoint.capture(self.training, k, history), member["folder"])

    def _judged(self, k: int, metrics: Metrics, reported: int) -> dict[str, Any]:
        """A member's report: failed if it cannot be saved or a metric is not a number; else how far it is."""
        assert self.training is not None
        if k in self.failures:
            return self._report(k, "failed", reason=self.failures[k])
        last = self.histories[k][-1] if self.histories[k] else {}
        points = self.training.points[k]
        measured = (metrics, last, *(point.metrics for point in points))
        reason = next(filter(None, map(_unsound, measured)), None)
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
            points=[point.saved for point in points],
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
            "points": [],
            **details,
        }


def _measured(history: list[Metrics]) -> Metrics:
    """The last epoch's metrics that a validation is among; nothing before the first."""
    return next((metrics for metrics in reversed(history) if "id_accuracy" in metrics), {})


def _unsound(metrics: Metrics) -> str | None:
    """Names the first metric that is not a finite number."""
    return next(
        (f"{name} became {value}" for name, value in metrics.items() if not math.isfinite(value)), None
    )


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
