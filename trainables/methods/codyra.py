"""CoDyRA: a price on single ranks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

from trainables.backbones import Backbone
from trainables.methods.ranked import RankedBlock, RankedMethod
from trainables.sections import Codyra as Settings


class PricedBlock(RankedBlock):
    """y = W x + b + (alpha / r) B diag(s) A x        (CoDyRA, arXiv 2412.01004)

    Attributes:
        values: s, (K, r), standard normal, as in the public code; B is zero at the start.
    """

    def draw(self, generators: Sequence[Generator]) -> Tensor:
        """s at the start."""
        drawn = torch.zeros(self.scale.shape)
        for k, (rank, generator) in enumerate(zip(self.ranks, generators, strict=True)):
            drawn[k, :rank].normal_(generator=generator)
        return drawn.to(self.scale.device)


class Codyra(RankedMethod):
    """Low-rank blocks whose ranks pay a price for their scales s.

    After every step s goes towards zero by kappa, and stays zero where it comes to it: the proximal operator
    of kappa |s|, soft thresholding. kappa is zero in the first part of the steps, ``dense``, and from there
    on grows linearly to its value. Source: arXiv 2412.01004; the public code
    (Artificer-AI-Lab/CoDyRA, models/codyra.py), where kappa grows in stages.
    """

    members: Sequence[Settings]
    block = PricedBlock
    linear_in = "up"

    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
        """The backbone with a block in the place of every candidate."""
        fork = super().adapt(backbone, generators)
        self._kappa = torch.zeros(self.size, 1, device=self.values[0].device)
        return fork

    def kept(self) -> Tensor:
        """(K, N, r), whether a rank has a scale."""
        return torch.stack(list(self.values), dim=1) != 0

    def schedule(self, shares: Sequence[float], epochs: int) -> None:
        """Hears how many steps there are."""
        steps = len(shares)
        free = round(self.members[0].dense * steps)
        grown = [max(0, n - free) / max(1, steps - free) for n in range(steps + 1)]
        each = [[share * settings.kappa for settings in self.members] for share in grown]
        self._kappas = torch.tensor(each, device=self._kappa.device)[:, :, None]

    def advance(self, step: int) -> None:
        """Hears how many steps are done: finds the price of the next one."""
        self._kappa.copy_(self._kappas[min(step + 1, len(self._kappas) - 1)])

    @contextmanager
    def updated(self) -> Iterator[None]:
        """Takes the price from the scales that a step has moved."""
        yield
        with torch.no_grad():
            for values in self.values:
                values.copy_(values.sign() * (values.abs() - self._kappa).clamp_min(0))
