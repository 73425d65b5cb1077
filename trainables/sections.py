"""The sections of a space as types: what reads a space, and pydantic with it, is not needed to train."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.data import Data, DataSet
    from search_spaces.data import Probe as ProbeSet
    from search_spaces.gated import SelectiveLora, Taps
    from search_spaces.low_rank import Adalora, Codyra, Keeplora, LargestNorm, Lora, Oplora, RandomBlocks
    from search_spaces.method import BlockExpansion, TopK
    from search_spaces.method import Method as MethodSettings
    from search_spaces.model import Model
    from search_spaces.space import Space
    from search_spaces.training import Resources
    from search_spaces.training import Training as Schedule

    CountedSettings = RandomBlocks | LargestNorm
    GatedSettings = SelectiveLora | Taps
    LoraSettings = Lora | CountedSettings | Oplora | Keeplora | Adalora | Codyra
    LowRankSettings = LoraSettings | SelectiveLora
    LayersSettings = BlockExpansion | TopK
else:
    Adalora = Codyra = CountedSettings = Data = DataSet = GatedSettings = LayersSettings = Any
    Keeplora = LoraSettings = LowRankSettings = MethodSettings = Model = Oplora = ProbeSet = Resources = (
        Schedule
    ) = SelectiveLora = Space = Any

__all__ = [
    "Adalora",
    "Codyra",
    "CountedSettings",
    "Data",
    "DataSet",
    "GatedSettings",
    "Keeplora",
    "LayersSettings",
    "LoraSettings",
    "LowRankSettings",
    "MethodSettings",
    "Model",
    "Oplora",
    "ProbeSet",
    "Resources",
    "Schedule",
    "SelectiveLora",
    "Space",
]
