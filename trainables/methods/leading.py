"""The leading singular directions of frozen weights."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


class Leading(NamedTuple):
    """The leading singular directions of W.

    Attributes:
        left: U_k, (out, k).
        right: V_k, (in, k).
    """

    left: Tensor
    right: Tensor


_KNOWN = WeakTensorKeyDictionary()
"""A decomposition takes a second, and all trials of a process have the same frozen weights."""


@torch.no_grad()
def leading(weight: Tensor, outputs: slice, energy: float) -> Leading:
    """The directions that hold so much of the squared singular values of some rows of a weight (out, in)."""
    known: dict[Any, Leading] = _KNOWN.setdefault(weight, {})
    key = outputs.start, outputs.stop, energy
    if key not in known:
        left, values, right = torch.linalg.svd(weight[outputs].float(), full_matrices=False)
        held = values.square().cumsum(0) / values.square().sum()
        k = int((held < energy).sum()) + 1 if energy > 0 else 0
        known[key] = Leading(left[:, :k].clone(), right[:k].mT.clone())
    return known[key]
