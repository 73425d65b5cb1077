"""Weights that someone gives, on a backbone."""

from dataclasses import dataclass

from trainables.backbones import Backbone
from trainables.export.head import Head


@dataclass(frozen=True)
class Given:
    """A model to be measured.

    Attributes:
        backbone: with the given weights.
        head: names the classes of a task; None where the weights came without.
        classes: the names of those classes; None where they are not known.
        note: what a person should know of how it is measured.
    """

    backbone: Backbone
    head: Head | None = None
    classes: tuple[str, ...] | None = None
    note: str | None = None
