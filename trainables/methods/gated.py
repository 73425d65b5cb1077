"""What the methods with learnable gates share: a score for every block, and its price."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Generator, Tensor, nn

from trainables.backbones import Backbone
from trainables.gates import Gates, falling_count
from trainables.methods.block_method import BlockMethod
from trainables.methods.blocks import Block, Gate
from trainables.methods.method import Settings
from trainables.optimizer import PackedSGD


class GatedMethod(BlockMethod):
    """loss = task_loss + lambda * mean_i |s_i|, from the epoch ``free_epochs`` on.

    Scores descend by plain SGD: under Adam the constant gradient of the penalty would be normalised away,
    and lambda with it. A member chooses its blocks in one of three ways:

    - by ``lambda``, which is fixed: the published way.
    - by ``active_blocks``: the open blocks fall from all to so many over the ramp, by `falling_count`. After
      every step all scores are lowered by one amount (`Gates.cut`), which is what a price does; so the task
      alone orders them, and lambda is an outcome. From the end of the ramp on, the gates stay.
    - by ``mask``: these blocks are open from the start, and stay.

    A block that is closed for good costs nothing.
    """

    def adapt(
        self, backbone: Backbone, members: Sequence[Settings], generators: Sequence[Generator]
    ) -> Backbone:
        """The backbone with a gated block in the place of every candidate."""
        self._counts: list[int] = [settings["active_blocks"] or 0 for settings in members]
        self.gates = Gates(
            len(self.blocks),
            initial=[settings["initial_score"] for settings in members],
            threshold=[settings["threshold"] for settings in members],
            price=[
                0.0 if count else settings["lambda"]
                for count, settings in zip(self._counts, members, strict=True)
            ],
            penalty=members[0]["penalty"],
        )
        for k, settings in enumerate(members):
            if settings["mask"] is not None:
                self.gates.fix(k, torch.tensor([name in settings["mask"] for name in self.blocks]))
        self._columns: tuple[Tensor, ...] = ()
        device = next(backbone.parameters()).device
        self.gates.to(device)
        self._paid = torch.zeros(self.size, device=device)
        self._closed_at = torch.zeros(self.size, len(self.blocks), device=device)
        self._score_lr = [settings["score_lr"] for settings in members]
        self._free_epochs = torch.tensor([settings["free_epochs"] for settings in members])
        self._shares, self._epoch_steps, self._step = [0.0], 0, 0
        # Known without asking the device, for it is looked at in every step.
        self._falling = [k for k, count in enumerate(self._counts) if count]
        fork = self.insert(
            backbone,
            lambda linear, outputs, place: self.block(linear, outputs, lambda: self._gate(place), generators),
        )
        self._drop()
        return fork

    @contextmanager
    def entered(self, groups: Sequence[tuple[int, Sequence[int]]]) -> Iterator[None]:
        """As `Method.entered`. The gates are the same in all blocks of a pass, so they are found once."""
        self._columns = self.gates().unbind(dim=1)
        try:
            with super().entered(groups):
                yield
        finally:
            self._columns = ()

    def _gate(self, place: int) -> Tensor:
        return self._columns[place] if self._columns else self.gates()[:, place]

    @abstractmethod
    def block(self, linear: nn.Module, outputs: slice, gate: Gate, generators: Sequence[Generator]) -> Block:
        """The gated block that stands in the place of a layer."""

    def schedule(self, shares: Sequence[float], epochs: int) -> None:
        """Hears which share of its learning rate each step takes, over so many epochs."""
        self._shares = [0.0, *accumulate(shares)]
        self._epoch_steps = len(shares) // epochs

    def advance(self, step: int) -> None:
        """Hears how many steps are done: cuts the scores of members whose count falls, to its end."""
        self._step = step
        for k in self._falling:
            self._lower(k, step / self._horizon(k))
        falling = [k for k in self._falling if step < self._horizon(k)]
        if falling != self._falling:
            self._falling = falling
            self._drop()

    def _lower(self, member: int, done: float) -> None:
        before = self.open()[member].bool()
        count = falling_count(done, len(self.blocks), self._counts[member])
        self._paid[member] += self.gates.cut(member, count)
        closed = before & ~self.open()[member].bool()
        self._closed_at[member].masked_fill_(closed, self._step)
        self.gates.frozen[member] = done >= 1

    def _horizon(self, member: int) -> int:
        """Steps after which a member's gates are what they will be: its ramp's, or all of them."""
        steps = len(self._shares) - 1
        return max(1, round(self.members[member]["ramp"] * steps)) if self._counts[member] else steps

    def _drop(self) -> None:
        """Leaves out of every block the members in which it is closed for good."""
        self.keep(self.open().bool() | ~self.gates.frozen[:, None])

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
        """What the cuts have taken from the scores, and the step at which each block was closed last."""
        return {"paid": self._paid, "closed_at": self._closed_at}

    def closing_order(self) -> list[tuple[str, ...]]:
        """For each member, the blocks that the falling count has closed, the first closed first."""
        return [self._order(k) if count else () for k, count in enumerate(self._counts)]

    def _order(self, member: int) -> tuple[str, ...]:
        closed = (~self.open()[member].bool()).nonzero().flatten().tolist()
        rank = list(zip(self._closed_at[member].tolist(), self.gates.scores[member].tolist(), strict=True))
        return tuple(self.blocks[place] for place in sorted(closed, key=rank.__getitem__))

    @torch.no_grad()
    def gate_metrics(self) -> list[dict[str, float]]:
        """``expected_active_blocks`` at the end; where the count falls, the ``lambda`` that does the same.

        With P = sum over steps of score_lr * share * pull, a price lambda takes lambda P from every score. So
        with the push of the task so far, u = s - s0 + lambda P_now, a score is expected to end at

            s0 - lambda P_end + u P_end / P_now

        The lambda of a falling count is the constant price that would have taken what the cuts took.
        """
        return [
            {"expected_active_blocks": self._expected_active(k)} | self._price(k) for k in range(self.size)
        ]

    def _price(self, member: int) -> dict[str, float]:
        pressure = self._pressure(member)
        return {"lambda": float(self._paid[member]) / pressure} if self._counts[member] and pressure else {}

    def _expected_active(self, member: int) -> int:
        settings, now, active = self.members[member], self._pressure(member), self.open()[member]
        if self._counts[member]:
            return self._counts[member]
        if settings["mask"] is not None or not now:
            return int(active.sum())
        end = self._pressure(member, len(self._shares) - 1)
        start, taken = settings["initial_score"], settings["lambda"] * now
        push = self.gates.scores[member] - start + taken
        # Without a rest, in which rounding could move a score over its threshold, the scores are the end.
        expected = start + (push - taken) * (end / now) if end > now else self.gates.scores[member]
        return int((expected >= settings["threshold"]).sum())

    def _pressure(self, member: int, step: int | None = None) -> float:
        """What a price of 1 takes from each score until a step: by default, until now."""
        settings, horizon = self.members[member], self._horizon(member)
        free = 0 if self._counts[member] else min(settings["free_epochs"] * self._epoch_steps, horizon)
        until = max(free, min(self._step if step is None else step, horizon))
        return float(settings["score_lr"]) * self.gates.pull * (self._shares[until] - self._shares[free])
