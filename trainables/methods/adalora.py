"""AdaLoRA: a budget of ranks, of which the most important stay."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

from trainables.backbones import Backbone
from trainables.engine.counts import falling_count
from trainables.engine.importance import Importance
from trainables.methods.ranked import RankedBlock, RankedMethod
from trainables.sections import Adalora as Settings

_DEVIATION = 0.02  # of P and Q at the start, as in the public code and in peft
_WAIT = 0.2  # share of the ramp in which all ranks stay


class SvdBlock(RankedBlock):
    """y = W x + b + (alpha / r) P diag(s) Q x        (AdaLoRA, arXiv 2303.10512, equation 3)

    Attributes:
        down: Q, (K, r, in), normal.
        up: P, (K, changed, r), normal.
        values: the singular values s, (K, r), zero, so that the block starts as the frozen layer.
    """

    @torch.no_grad()
    def reset(self, generators: Sequence[Generator]) -> None:
        """Draws P and Q."""
        self.down.zero_()
        self.up.zero_()
        for k, (rank, generator) in enumerate(zip(self.ranks, generators, strict=True)):
            down, up = torch.empty(rank, self.in_features), torch.empty(self.changed_features, rank)
            self.down[k, :rank] = down.normal_(0, _DEVIATION, generator=generator)
            self.up[k, :, :rank] = up.normal_(0, _DEVIATION, generator=generator)

    def draw(self, generators: Sequence[Generator]) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.scale)

    def orthogonality(self) -> Tensor:
        """|P^T P - I| + |Q Q^T - I|, Frobenius norms, (K,)."""
        identity = torch.diag_embed((self.scale > 0).float())
        both = (self.up.mT @ self.up - identity, self.down @ self.down.mT - identity)
        return torch.stack([torch.linalg.matrix_norm(apart) for apart in both]).sum(dim=0)


class Adalora(RankedMethod):
    """Low-rank blocks whose ranks fall to a budget, over all blocks together.

        loss = task_loss + orthogonality * mean over all P and Q of |P^T P - I|

    After every step the b ranks with the highest importance stay, and the singular values of the others are
    set to zero::

        importance = score(s_i) + mean_j score(P_ji) + mean_j score(Q_ij)        score: see `Importance`
        b(t) = b_T + (b_0 - b_T) (1 - (t - t_i) / (T - t_f - t_i))^3

    From T - t_f on, the end of the ramp, the ranks are decided. Source: Zhang et al., arXiv 2303.10512,
    equations 4, 7 and 12, in the order of the public code and of peft: importance is seen after the step.

    Attributes:
        stays: (K, N, r), 1 for a rank that stays.
    """

    members: Sequence[Settings]
    block = SvdBlock
    linear_in = "values"
    placed: Sequence[SvdBlock]
    stays: Tensor

    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
        """The backbone with a block of singular triplets in the place of every candidate."""
        fork = super().adapt(backbone, generators)
        self._ranks = torch.stack([block.scale > 0 for block in self.placed], dim=1)
        self.register_buffer("stays", self._ranks.float(), persistent=False)
        self._weights = [p for block in self.placed for p in (block.values, block.down, block.up)]
        self._importance = Importance(self._weights)
        self._price = torch.tensor([s.orthogonality for s in self.members], device=self.stays.device)
        self._decides, self._decided = True, False
        return fork

    def kept(self) -> Tensor:
        """(K, N, r), whether a rank stays."""
        return self.stays > 0

    def penalty(self, epoch: int) -> Tensor:
        """(K,): the price of factors that are not orthogonal."""
        each = torch.stack([block.orthogonality() for block in self.placed])
        return self._price * each.mean(dim=0) / 2

    def schedule(self, shares: Sequence[float], epochs: int) -> None:
        """Hears how many steps there are."""
        self._last = max(1, round(self.members[0].ramp * len(shares)))
        counts = [self._counts(n) for n in range(self._last + 1)]
        self._falling = torch.tensor(counts, device=self.stays.device)[:, :, None]

    def _counts(self, step: int) -> list[int]:
        """How many ranks each member has after so many steps."""
        wait = _WAIT * self._last
        done = max(0.0, step - wait) / (self._last - wait)
        ranks = [settings.rank * len(self.blocks) for settings in self.members]
        lefts = [max(1, round(s.rank_fraction * n)) for s, n in zip(self.members, ranks, strict=True)]
        return [falling_count(done, n, left) for n, left in zip(ranks, lefts, strict=True)]

    def course(self, epoch: int) -> Hashable:
        """Which blocks are closed for good, and whether importance is still looked at."""
        return super().course(epoch), self._decides

    @contextmanager
    def updated(self) -> Iterator[None]:
        """Looks at the gradients, and at the weights that they have moved."""
        gradients = [p.grad for p in self._weights if p.grad is not None] if self._decides else []
        yield
        if gradients:
            self._importance.observe(gradients)

    @torch.no_grad()
    def advance(self, step: int) -> None:
        """Hears how many steps are done: leaves out all ranks but the most important ones."""
        if step <= self._last:
            self._choose(self._falling[step])
        for values, stay in zip(self.values, self.stays.unbind(dim=1), strict=True):
            values.mul_(stay)
        # As in peft, what the last step of the ramp has moved is not looked at any more.
        self._decides = step + 1 < self._last
        if step >= self._last and not self._decided:
            self.keep(self.open())
        self._decided = step >= self._last

    def _choose(self, counts: Tensor) -> None:
        """Keeps so many ranks of each member, counts (K, 1); of equal ones the earlier."""
        scores = iter(self._importance.scores())
        each = [s + q.mean(dim=2) + p.mean(dim=1) for s, q, p in zip(scores, scores, scores, strict=True)]
        ranked = torch.stack(each, dim=1).masked_fill(~self._ranks, -torch.inf).flatten(1)
        order = ranked.argsort(dim=1, descending=True, stable=True)
        stays = (torch.arange(order.shape[1], device=order.device) < counts).float()
        self.stays.copy_(torch.zeros_like(stays).scatter(1, order, stays).view_as(self.stays))

    def decided(self) -> dict[str, Tensor]:
        """Which ranks stay, and what their importance is made of."""
        both = {"mean": self._importance.mean, "deviation": self._importance.deviation}
        of = {f"importance/{name}/{n}": t for name, each in both.items() for n, t in enumerate(each)}
        return {"stays": self.stays, **of}
