"""Gradients that are too long, shortened: for each member by itself."""

from collections.abc import Sequence

import torch
from torch import Tensor

_EPSILON = 1e-6


class ClipNorm:
    """Shortens the gradient of each member's weights, all together, to the norm that it may have.

    As `torch.nn.utils.clip_grad_norm_` with the member's weights alone.

    Args:
        weights: with a leading pack axis of length K; any shape where K is 1.
        largest: the norm of each member; None for any.
    """

    def __init__(self, weights: Sequence[Tensor], largest: Sequence[float | None]) -> None:
        self._weights = weights
        self._clips = any(largest)
        device = weights[0].device if weights else None
        self._largest = torch.tensor([norm or torch.inf for norm in largest], device=device)

    @torch.no_grad()
    def __call__(self) -> None:
        """Changes the gradients in place."""
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        if not self._clips or not gradients:
            return
        size = len(self._largest)
        each = [torch.linalg.vector_norm(gradient.reshape(size, -1), dim=1) for gradient in gradients]
        norms = torch.linalg.vector_norm(torch.stack(each), dim=0)
        share = (self._largest / (norms + _EPSILON)).clamp(max=1)
        torch._foreach_mul_(gradients, [over(share, gradient) for gradient in gradients])


def over(values: Tensor, tensor: Tensor) -> Tensor:
    """Values (K,) in a shape that goes with a tensor (K, ...), or with any where K is 1."""
    return values.view(-1, *(1,) * (tensor.ndim - 1)) if len(values) > 1 else values[0]
