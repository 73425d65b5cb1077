"""How a backbone is adapted: one file a method, one interface."""

from trainables.methods.adalora import Adalora
from trainables.methods.block_expansion import BlockExpansion
from trainables.methods.codyra import Codyra
from trainables.methods.full import Full
from trainables.methods.keeplora import Keeplora
from trainables.methods.largest_norm import LargestNorm
from trainables.methods.lora import Lora
from trainables.methods.lp_ft import LpFt
from trainables.methods.method import Method, candidate_blocks, check_settings
from trainables.methods.oplora import Oplora
from trainables.methods.random_blocks import RandomBlocks
from trainables.methods.selective_lora import SelectiveLora
from trainables.methods.taps import Taps
from trainables.methods.top_k import TopK
from trainables.methods.untouched import Linear, ZeroShot

METHODS: dict[str, type[Method]] = {
    "selective_lora": SelectiveLora,
    "lora": Lora,
    "taps": Taps,
    "block_expansion": BlockExpansion,
    "full": Full,
    "lp_ft": LpFt,
    "top_k": TopK,
    "linear": Linear,
    "zero_shot": ZeroShot,
    "random_blocks": RandomBlocks,
    "largest_norm": LargestNorm,
    "oplora": Oplora,
    "keeplora": Keeplora,
    "adalora": Adalora,
    "codyra": Codyra,
}

__all__ = [
    "METHODS",
    "Adalora",
    "BlockExpansion",
    "Codyra",
    "Full",
    "Keeplora",
    "LargestNorm",
    "Linear",
    "Lora",
    "LpFt",
    "Method",
    "Oplora",
    "RandomBlocks",
    "SelectiveLora",
    "Taps",
    "TopK",
    "ZeroShot",
    "candidate_blocks",
    "check_settings",
]
