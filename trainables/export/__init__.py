"""Taking a trained model away, in the formats of those who will use it."""

from collections.abc import Callable
from pathlib import Path

from trainables.export.adapter import load_adapter, write_adapter
from trainables.export.classifier import Classifier
from trainables.export.given import Given
from trainables.export.head import Head
from trainables.export.load import load_given
from trainables.export.merged import load_merged, write_merged
from trainables.export.peft_format import load_peft, write_peft
from trainables.export.trained import Trained

FORMATS: dict[str, Callable[[Trained, Path], None]] = {
    "peft": write_peft,
    "merged": write_merged,
    "adapter": write_adapter,
}
"""What writes a trained model into an empty folder; raises ProblemError where the format cannot hold it."""

__all__ = [
    "FORMATS",
    "Classifier",
    "Given",
    "Head",
    "Trained",
    "load_adapter",
    "load_given",
    "load_merged",
    "load_peft",
    "write_adapter",
    "write_merged",
    "write_peft",
]
