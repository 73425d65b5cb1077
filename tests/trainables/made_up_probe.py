"""What probes of the tests have in common."""

from collections.abc import Mapping
from typing import Any, Self

from trainables.backbones import Backbone
from trainables.probes import Probe


class MadeUpProbe(Probe):
    """Is made by a test, not opened from a source, and is the same on every device."""

    @classmethod
    def open(cls, name: str, source: Mapping[str, Any], backbone: Backbone) -> Self:
        raise NotImplementedError

    def to(self, device: str) -> Self:
        return self
