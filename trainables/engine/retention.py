"""How far features have gone from the pre-trained model's, on the same pictures."""

import torch
import torch.nn.functional as F
from torch import Tensor

_NEAREST = 8  # pictures of a step that are a picture's neighbours
_TEMPERATURE, _BIAS = 0.1, 10.0  # where SigLIP's begin


def distance(features: Tensor, before: Tensor) -> Tensor:
    """(K,): mean squared distance of unit features (K, B, D).

    After LDIFS (Mukhoti et al., arXiv 2308.13320), which takes the features of several layers; here they are
    the final ones.
    """
    difference = F.normalize(features, dim=-1) - F.normalize(before, dim=-1)
    return difference.square().sum(dim=-1).mean(dim=1)


def neighbor_loss(features: Tensor, before: Tensor) -> Tensor:
    """(K,): how far the nearest neighbours in a batch are from what they were, by features (K, B, D).

    With cosines c of the features and c' of the pre-trained ones, the mean over all pairs i, j != i of::

        log(1 + exp(w (b - c / t)))        w = c' if j is among the nearest of i by c', else -c'

    Source: feature distribution alignment (FDA, arXiv 2505.24088), without its proxies.
    """
    cosines, known = (unit @ unit.mT for unit in (F.normalize(f, dim=-1) for f in (features, before)))
    size = known.shape[1]
    itself = torch.eye(size, dtype=torch.bool, device=known.device)
    nearest = known.masked_fill(itself, -torch.inf).topk(min(_NEAREST, size - 1)).indices
    sides = torch.full_like(known, -1.0).scatter(2, nearest, 1.0)
    each = F.softplus(sides * known * (_BIAS - cosines / _TEMPERATURE))
    return each.masked_fill(itself, 0).sum(dim=(1, 2)) / max(1, size * (size - 1))
