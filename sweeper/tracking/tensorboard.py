"""A sweep in TensorBoard: a folder of event files a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from sweeper.tracking.noted import Noted
from sweeper.tracking.runs import Wanted

#: What HPARAMS shows of a run beside its parameters.
_COMPARED = ("id_accuracy", "forgetting", "active_blocks")


class TensorBoardRuns(Noted):
    """Metrics under the names that MLflow has; parameters under HPARAMS once a run has ended.

    Args:
        folder: what ``tensorboard --logdir`` is given.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "noted")
        self._runs = folder
        self._writers: dict[str, Any] = {}

    @property
    def place(self) -> str:
        """The folder."""
        return f"TensorBoard in {self._runs}"

    def log(self, key: str, wanted: Wanted, metrics: Sequence[Metric]) -> None:
        """See `Noted`."""
        if key not in self._writers:
            self._writers[key] = SummaryWriter(str(self._runs / key))
        writer = self._writers[key]
        for metric in metrics:
            writer.add_scalar(metric.key, metric.value, metric.step, metric.timestamp / 1000)
        if wanted.status != "RUNNING":
            compared = {m.key: m.value for m in (*wanted.epochs, *wanted.final) if m.key in _COMPARED}
            for summary in hparams(dict(wanted.params()), compared):
                writer.file_writer.add_summary(summary)
        writer.flush()
        if wanted.status != "RUNNING":
            self._writers.pop(key).close()
