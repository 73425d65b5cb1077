"""What is remembered: data sets of the pre-training domain, each with a way to score it."""

from collections.abc import Callable

from trainables.backbones import Backbone
from trainables.probes.head import HeadProbe
from trainables.probes.knn import KnnProbe
from trainables.probes.linear import LinearProbe
from trainables.probes.probe import Probe
from trainables.probes.retrieval import RetrievalProbe
from trainables.probes.zero_shot import ZeroShotProbe
from trainables.sections import ProbeSet

PROBES: dict[str, Callable[[str, ProbeSet, Backbone], Probe]] = {
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
