"""What is learned and what must not be forgotten: sources, shifts, splits."""

from trainables.data.images import ImageSet, Pixels, Task
from trainables.data.names import is_named, refuse_unnamed
from trainables.data.pairs import Pairs, PairSplits, load_pairs
from trainables.data.preprocessing import OpenClipPreprocessing, Preprocessing, TimmPreprocessing
from trainables.data.shifts import SHIFTS, shifted
from trainables.data.tasks import SHIPPED, SOURCES, load_task

__all__ = [
    "SHIFTS",
    "SHIPPED",
    "SOURCES",
    "ImageSet",
    "OpenClipPreprocessing",
    "PairSplits",
    "Pairs",
    "Pixels",
    "Preprocessing",
    "Task",
    "TimmPreprocessing",
    "is_named",
    "load_pairs",
    "load_task",
    "refuse_unnamed",
    "shifted",
]
