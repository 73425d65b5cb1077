"""How a backbone is adapted: one file a method, one interface."""

from trainables.methods.full import Full
from trainables.methods.lora import Lora
from trainables.methods.method import Method, Settings, candidate_blocks
from trainables.methods.selective_lora import SelectiveLora
from trainables.methods.untouched import Linear, ZeroShot

METHODS: dict[str, type[Method]] = {
    "selective_lora": SelectiveLora,
    "lora": Lora,
    "full": Full,
    "linear": Linear,
    "zero_shot": ZeroShot,
}

__all__ = [
    "METHODS",
    "Full",
    "Linear",
    "Lora",
    "Method",
    "SelectiveLora",
    "Settings",
    "ZeroShot",
    "candidate_blocks",
]
