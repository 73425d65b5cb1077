"""The formats in which a trained model is taken away."""

from enum import StrEnum


class Format(StrEnum):
    """The keys of `trainables.export.FORMATS`, which would bring torch along."""

    PEFT = "peft"
    MERGED = "merged"
    ADAPTER = "adapter"
