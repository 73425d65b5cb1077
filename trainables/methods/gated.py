"""What the methods with learnable gates share: a score for every block, and its price."""

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Generator, Tensor, nn

from trainables.backbones import Backbone
from trainables.engine.counts import Fall, Path, level_ends
from trainables.engine.forecast import Pressure, expected_active
from trainables.engine.gates import Gates
from trainables.engine.optimizer import PackedSGD
from trainables.methods.block_method import BlockMethod
from trainables.methods.blocks import Block, Gate
from trainables.methods.method import Levels
from trainables.sections import GatedSettings


class GatedMethod(BlockMethod):
    """loss = task_loss + lambda * mean_i |s_i|, from the epoch ``free_epochs`` on.

    Scores descend by plain SGD: under Adam the constant gradient of the penalty would be normalised away,
    and lambda with it. A member chooses its blocks in one of four ways:

    - by ``lambda``, which is fixed: the published way.
    - by ``active_blocks``: the open blocks fall from all to so many over the ramp. After every step all
      scores are lowered by one amount (`Gates.cut`), which is what a price does; so the task alone orders
      them, and lambda is an outcome. From the end of the ramp on, the gates stay.
    - by ``path``: the count falls in the same way to one level after the other, and rests at each.
    - by ``mask``: these blocks are open from the start, and stay.

    A block that is closed for good costs nothing.
    """

    members: Sequence[GatedSettings]

    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
        """The backbone with a gated block in the place of every candidate."""
        self.gates = Gates(
            len(self.blocks),
            initial=[settings.initial_score for settings in self.members],
            threshold=[settings.threshold for settings in self.members],
            price=[0.0 if _counts(settings) else settings.lambda_ for settings in self.members],
            penalty=self.members[0].penalty,
        )
        for k, settings in enumerate(self.members):
            if settings.mask is not None:
                self.gates.fix(k, torch.tensor([name in settings.mask for name in self.blocks]))
        self._columns: tuple[Tensor, ...] = ()
        device = next(backbone.parameters()).device
        self.gates.to(device)
        self._paid = torch.zeros(self.size, device=device)
        self._closed_at = torch.zeros(self.size, len(self.blocks), device=device)
        self._score_lr = [settings.score_lr for settings in self.members]
        self._free_epochs = torch.tensor([settings.free_epochs for settings in self.members], device=device)
        self._counts: dict[int, Fall | Path] = {}
        self._pressures: list[Pressure] = []
        self._step = 0
        # Known without asking the device, for it is looked at in every step.
        self._resting: dict[int, int] | None = None
        fork = self.insert(
            backbone,
            lambda linear, outputs, place: self.block(linear, outputs, lambda: self._gate(place), generators),
        )
        self._drop()
        return fork

    @contextmanager
    def entered(self, groups: Sequence[tuple[int, Sequence[int]]]) -> Iterator[None]:
        """As `Method.entered`. The gates are the same in all blocks of a pass, so they are found once."""
        with self._found(self.gates().unbind(dim=1)), super().entered(groups):
            yield

    def again(self) -> AbstractContextManager[None]:
        """As `Method.again`: with the gates that were found in this pass."""
        return self._found(self._columns)

    @contextmanager
    def _found(self, columns: tuple[Tensor, ...]) -> Iterator[None]:
        self._columns = columns
        try:
            yield
        finally:
            self._columns = ()

    def _gate(self, place: int) -> Tensor:
        return self._columns[place] if self._columns else self.gates()[:, place]

    @abstractmethod
    def block(self, linear: nn.Module, outputs: slice, gate: Gate, generators: Sequence[Generator]) -> Block:
        """The gated block that stands in the place of a layer."""

    def levels(self, steps: int) -> Levels:
        """Of a path: the step at which each count ends, and the counts."""
        path = self.members[0].path
        if not path:
            return super().levels(steps)
        counts = tuple(path.counts or ())
        return Levels(level_ends(steps, len(counts), path.dense), counts)

    def schedule(self, shares: Sequence[float], epochs: int) -> None:
        """Hears which share of its learning rate each step takes, over so many epochs."""
        steps = len(shares)
        for k, settings in enumerate(self.members):
            if settings.path:
                self._counts[k] = Path(*reversed(self.levels(steps)))
            elif settings.active_blocks:
                ramp = max(1, round(settings.ramp * steps))
                self._counts[k] = Fall(len(self.blocks), settings.active_blocks, ramp)
        # On the device before the first step, so that none waits for its own.
        none = [-1] * (steps + 1)
        counts = [
            [c.at(n) for n in range(steps + 1)] if (c := self._counts.get(k)) else none
            for k in range(self.size)
        ]
        self._falling = torch.tensor(counts, device=self._paid.device).T
        self._pressures = [self._pressure(k, shares, steps // epochs) for k in range(self.size)]

    def _pressure(self, member: int, shares: Sequence[float], epoch: int) -> Pressure:
        settings, counts = self.members[member], self._counts.get(member)
        free = 0 if counts else settings.free_epochs * epoch
        last = counts.steps if isinstance(counts, Fall) else len(shares)
        return Pressure(settings.score_lr, self.gates.pull, shares, free, last)

    def advance(self, step: int) -> None:
        """Hears how many steps are done: lowers the scores of members whose blocks are counted."""
        self._step = step
        if not all(self._over(k, counts) for k, counts in self._counts.items()):
            self._lower()
        resting = {k: counts.at(step) for k, counts in self._counts.items() if counts.settled(step)}
        if resting != self._resting:
            self._rest(resting)

    def _over(self, member: int, counts: Fall | Path) -> bool:
        """Whether a member's gates have come to stay."""
        return isinstance(counts, Fall) and member in (self._resting or {})

    def _lower(self) -> None:
        """Closes blocks until as many are open as the step has."""
        before = self.open().bool()
        self._paid += self.gates.cut(self._falling[self._step])
        self._closed_at.masked_fill_(before & ~self.open().bool(), self._step)

    def _rest(self, resting: dict[int, int]) -> None:
        """Closes blocks for good where a count rests; after a single fall, the others stay open."""
        self._resting = resting
        for k in resting:
            ends = isinstance(self._counts[k], Fall)
            self.gates.frozen[k] |= True if ends else ~self.open()[k].bool()
        self._drop()

    def _drop(self) -> None:
        """Leaves out of every block the members in which it is closed for good."""
        self.keep(self.open().bool() | ~self.gates.frozen)

    def course(self, epoch: int) -> Hashable:
        """Which blocks are closed for good, and whose scores have a price."""
        return super().course(epoch), tuple(settings.free_epochs <= epoch for settings in self.members)

    def penalty(self, epoch: int) -> Tensor:
        """(K,): the price of the scores, once it is asked."""
        asked = (self._free_epochs <= epoch).to(self.gates.scores)
        return asked * self.gates.penalty()

    def score_optimizers(self) -> list[PackedSGD]:
        """Plain SGD on the scores."""
        return [PackedSGD([self.gates.scores], self._score_lr)]

    def open(self) -> Tensor:
        """(K, N), 1 where a score reaches its threshold."""
        gates: Tensor = self.gates()
        return gates

    def decided(self) -> dict[str, Tensor]:
        """What the cuts have taken from the scores, and the step at which each block was closed last.

        On a path, also which blocks are closed for good.
        """
        decided = {"paid": self._paid, "closed_at": self._closed_at}
        return decided | ({"frozen": self.gates.frozen} if self.members[0].path else {})

    def closing_order(self) -> list[tuple[str, ...]]:
        """For each member, the blocks that a count has closed, the first closed first."""
        return [self._order(k) if k in self._counts else () for k in range(self.size)]

    def _order(self, member: int) -> tuple[str, ...]:
        closed = (~self.open()[member].bool()).nonzero().flatten().tolist()
        rank = list(zip(self._closed_at[member].tolist(), self.gates.scores[member].tolist(), strict=True))
        return tuple(self.blocks[place] for place in sorted(closed, key=rank.__getitem__))

    @torch.no_grad()
    def gate_metrics(self) -> list[dict[str, float]]:
        """``expected_active_blocks`` at the end; where a count falls once, the ``lambda`` that does the same.

        That is the constant price that would have taken from the scores what the cuts took.
        """
        return [self._gate_metrics(k) for k in range(self.size)]

    def _gate_metrics(self, member: int) -> dict[str, float]:
        counts, settings = self._counts.get(member), self.members[member]
        now, end = self._pressures[member].until(self._step), self._pressures[member].at_the_end
        if isinstance(counts, Path):
            return {"expected_active_blocks": counts.counts[-1]}
        if counts:
            price = {"lambda": float(self._paid[member]) / now} if now else {}
            return {"expected_active_blocks": counts.count, **price}
        if settings.mask is not None or not now:
            return {"expected_active_blocks": int(self.open()[member].sum())}
        return {"expected_active_blocks": expected_active(self.gates.scores[member], settings, now, end)}


def _counts(settings: GatedSettings) -> bool:
    """Whether a count decides which blocks are open, and no price."""
    return bool(settings.active_blocks or settings.path)
