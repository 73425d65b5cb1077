"""Losses that are multiplied, so that small gradients do not vanish in float16."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.engine.clipping import over

_START, _GROWTH, _BACKOFF, _INTERVAL = 2.0**16, 2.0, 0.5, 2000


class LossScale:
    """`torch.amp.GradScaler`, with its defaults, for each of K members by itself.

    A member whose gradient is not finite makes no step, and its scale is halved; after 2000 steps in a row it
    is doubled. All of it is on the device, which is not waited for.

    Args:
        size: K.
        device: where they train.

    Attributes:
        scale: (K,), what a loss is multiplied by.
        made: (K,), steps in a row.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.scale = torch.full((size,), _START, device=device)
        self.made = torch.zeros(size, device=device)

    @torch.no_grad()
    def unscale(self, gradients: Sequence[Tensor]) -> Tensor:
        """Divides gradients by the scale, in place, and updates it.

        Args:
            gradients: (K, ...) each, or of any shape where K is 1.

        Returns:
            (K,), whether a member's are finite; those that are not are zero now.
        """
        each = [gradient.reshape(len(self.scale), -1).isfinite().all(dim=1) for gradient in gradients]
        finite = torch.stack(each).all(dim=0)
        for gradient in gradients:
            gradient.div_(over(self.scale, gradient)).masked_fill_(~over(finite, gradient), 0)
        self._update(finite)
        return finite

    def _update(self, finite: Tensor) -> None:
        made = torch.where(finite, self.made + 1, 0)
        grows = made == _INTERVAL
        scale = self.scale * torch.where(finite, torch.where(grows, _GROWTH, 1.0), _BACKOFF)
        self.scale.copy_(torch.where(scale.isfinite(), scale, self.scale))
        self.made.copy_(torch.where(grows, 0, made))
