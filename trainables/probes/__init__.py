"""What is remembered: data sets of the pre-training domain, each with a way to score it."""

from collections.abc import Callable

from trainables.backbones import Backbone
from trainables.data import Task
from trainables.probes.probe import Probe
from trainables.probes.zero_shot import ZeroShotProbe

PROBES: dict[str, Callable[[str, Task, Backbone], Probe]] = {"zero_shot": ZeroShotProbe}

__all__ = ["PROBES", "Probe", "ZeroShotProbe"]
