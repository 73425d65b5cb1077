"""What is remembered: data sets of the pre-training domain, each with a way to score it."""

from collections.abc import Callable, Mapping
from typing import Any

from trainables.backbones import Backbone
from trainables.probes.head import HeadProbe
from trainables.probes.knn import KnnProbe
from trainables.probes.linear import LinearProbe
from trainables.probes.probe import Probe
from trainables.probes.retrieval import RetrievalProbe
from trainables.probes.zero_shot import ZeroShotProbe

PROBES: dict[str, Callable[[str, Mapping[str, Any], Backbone], Probe]] = {
    "zero_shot": ZeroShotProbe.open,
    "knn": KnnProbe.open,
    "head": HeadProbe.open,
    "linear": LinearProbe.open,
    "retrieval": RetrievalProbe.open,
}
"""From the name of a score to what opens its probe: label, resolved source, model."""

__all__ = [
    "PROBES",
    "HeadProbe",
    "KnnProbe",
    "LinearProbe",
    "Probe",
    "RetrievalProbe",
    "ZeroShotProbe",
]
