"""How important weights are to the loss, by their gradients over the steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

_BETA1, _BETA2 = 0.85, 0.85


class Importance:
    """The smoothed sensitivity of the loss to each weight, times how much that varies.

    At every step::

        I <- |w dL/dw|
        mean <- b1 mean + (1 - b1) I
        deviation <- b2 deviation + (1 - b2) |I - mean|
        score = mean deviation

    Source: AdaLoRA (arXiv 2303.10512, equations 8 to 11), with its b1 = b2 = 0.85.

    Attributes:
        mean: in the shapes of the weights.
        deviation: as well.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = list(weights)
        self.mean = [torch.zeros_like(weight) for weight in weights]
        self.deviation = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def observe(self, gradients: Sequence[Tensor]) -> None:
        """Takes a step's gradients into account, together with the weights as they are."""
        now = torch._foreach_abs(torch._foreach_mul(self._weights, list(gradients)))
        torch._foreach_lerp_(self.mean, now, 1 - _BETA1)
        apart = torch._foreach_abs(torch._foreach_sub(now, self.mean))
        torch._foreach_lerp_(self.deviation, apart, 1 - _BETA2)

    def scores(self) -> list[Tensor]:
        """In the shapes of the weights."""
        return [mean * deviation for mean, deviation in zip(self.mean, self.deviation, strict=True)]
