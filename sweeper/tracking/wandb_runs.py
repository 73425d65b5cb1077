"""A sweep in Weights & Biases: a project a sweep name, a group a sweep, a run a run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb
from mlflow.entities import Metric

from sweeper.errors import UserError
from sweeper.tracking.noted import Noted, by_step
from sweeper.tracking.runs import Wanted


def check_key() -> None:
    """Whether runs can be sent; wandb would ask for a key in the middle of a sweep.

    Raises:
        UserError: there is no key, and runs are to be sent.
    """
    mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise UserError(
            "tracking: wandb has no key: set WANDB_API_KEY, run `wandb login`, or set WANDB_MODE=offline"
        )


class WandbRuns(Noted):
    """Metrics under the names that MLflow has, over ``step``. The key is wandb's own affair: WANDB_API_KEY.

    Args:
        sweep: the project's name.
        sweep_id: the group's, and the beginning of each run's id.
        folder: where wandb keeps what is not sent yet.
    """

    def __init__(self, sweep: str, sweep_id: str, folder: Path) -> None:
        super().__init__(folder / "noted")
        self._sweep, self._id, self._place = sweep, sweep_id, folder
        self._runs: dict[str, Any] = {}

    @property
    def place(self) -> str:
        """See `sweeper.tracking.tracked.Tracked`."""
        return "Weights & Biases"

    def log(self, key: str, wanted: Wanted, metrics: Sequence[Metric]) -> None:
        """See `Noted`."""
        run = self._runs.get(key) or self._begun(key, wanted)
        self._runs[key] = run
        for step, values in by_step(metrics):
            run.log({"step": step, **values})
        if wanted.status != "RUNNING":
            run.config.update(_plain(wanted.tags), allow_val_change=True)
            run.finish(exit_code=int(wanted.status == "FAILED"))
            del self._runs[key]

    def _begun(self, key: str, wanted: Wanted) -> Any:
        run = wandb.init(
            project=self._sweep,
            group=self._id,
            id=f"{self._id}-{key}",
            name=key,
            job_type=wanted.tags["role"],
            config=dict(wanted.params()),
            dir=str(self._place),
            resume="allow",
            reinit="create_new",  # runs are under way side by side
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, save_code=False),
        )
        run.define_metric("*", step_metric="step")
        return run


def _plain(tags: Any) -> dict[str, str]:
    """Tags that are not MLflow's own."""
    return {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
