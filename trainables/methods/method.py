"""What every way of adapting a backbone offers."""

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, NamedTuple

from torch import Generator, Tensor, nn

from trainables.backbones import KINDS, Backbone
from trainables.engine.optimizer import PackedSGD
from trainables.errors import ProblemError
from trainables.sections import MethodSettings


class Levels(NamedTuple):
    """The runs of a schedule, after each of which there is a finished model.

    Attributes:
        ends: the step at which each ends.
        counts: the blocks that are open then; empty where a method has one run, and no count.
    """

    ends: tuple[int, ...]
    counts: tuple[int, ...] = ()


class Method(nn.Module):
    """A pack of K adapted models over one frozen backbone.

    Every trained tensor has a leading pack axis of length K. A method that trains the backbone's own
    weights cannot share them, has no such axis, and is not packable.

    Args:
        backbone: the pre-trained model; it is not changed.
        members: the method's settings of each member.
        generators: a source of random numbers for each member.

    Attributes:
        packable: whether several members can share one frozen backbone.
        trains_head: whether the classification head is trained too.
        fits_head: whether the head is fitted to the frozen features before the training.
        previews: whether it begins from the gradients of an epoch, before any step.
        phases: how many times the whole schedule is run.
        blocks: names of the blocks that the method may change, in the order of the forward pass.
        adapts_text: whether the text tower is changed.
    """

    packable: ClassVar[bool] = False
    trains_head: ClassVar[bool] = True
    fits_head: ClassVar[bool] = False
    previews: ClassVar[bool] = False
    phases: ClassVar[int] = 1

    def __init__(
        self, backbone: Backbone, members: Sequence[MethodSettings], generators: Sequence[Generator]
    ):
        super().__init__()
        if len(members) > 1 and not self.packable:
            raise ValueError(f"{type(self).__name__} trains one member at a time, got {len(members)}")
        self.size = len(members)
        self.members: Sequence[MethodSettings] = members
        self.adapts_text = "text" in getattr(members[0], "towers", ())
        self.blocks = candidate_blocks(backbone, members[0])
        self.backbone = self.adapt(backbone, generators)

    @abstractmethod
    def adapt(self, backbone: Backbone, generators: Sequence[Generator]) -> Backbone:
        """The backbone with this method's trained parts in it."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (K * N, D) of pixels (K * N, 3, H, W) from 0 to 255, the members one after the other."""
        with self.entered([(0, range(self.size))]):
            features: Tensor = self.backbone(pixels)
        return features

    def entered(self, groups: Sequence[tuple[int, Sequence[int]]]) -> AbstractContextManager[None]:
        """While it lasts, members pass the image tower in groups, each from a layer on.

        Args:
            groups: a layer and the members that enter there, in ascending order of the layers; none after a
                layer that the method has changed for them.
        """
        return nullcontext()

    def again(self) -> AbstractContextManager[None]:
        """While it lasts, a layer of the present pass does what it does now, also when the pass is over."""
        return nullcontext()

    def frozen_layers(self) -> list[int]:
        """For each member, how many of the image tower's first layers it leaves as they were pre-trained."""
        return [0] * self.size

    def measured(self) -> AbstractContextManager[None]:
        """While it lasts, what changes nothing now is left out, also what training may still change."""
        return nullcontext()

    def penalty(self, epoch: int) -> Tensor:
        """What is added to each member's task loss: (K,), zero unless the method has a price.

        ``epoch`` is the number of epochs done.
        """
        return next(self.backbone.parameters()).new_zeros(self.size)

    def course(self, epoch: int) -> Hashable:
        """What the host decides about a step: while it is the same, a recorded step can be replayed.

        ``epoch`` is the number of epochs done.
        """
        return ()

    def levels(self, steps: int) -> Levels:
        """The runs that a training of so many steps has: by default, one.

        Raises:
            ValueError: the steps are too few.
        """
        return Levels((steps,))

    def schedule(self, shares: Sequence[float], epochs: int) -> None:
        """Hears, once, which share of its learning rate each step of the training takes, over its epochs."""

    def advance(self, step: int) -> None:
        """Hears how many steps are done: before the first one of every epoch, and after each."""

    def preview(self) -> AbstractContextManager[None]:
        """While it lasts, the losses of an epoch's batches are differentiated; only where it ``previews``."""
        return nullcontext()

    def updated(self) -> AbstractContextManager[None]:
        """While it lasts, the optimisers move the weights by the gradients of a step."""
        return nullcontext()

    def score_optimizers(self) -> list[PackedSGD]:
        """Optimisers of the parameters that the adapter's optimiser must leave alone."""
        return []

    def block_places(self) -> dict[int, int]:
        """The place of the block of every weight that is of one, by the weight's `id`."""
        return {}

    def open(self) -> Tensor | None:
        """(K, N), 1 where a block is active; None for a method without blocks that can be closed."""
        return None

    def begin_phase(self, generators: Sequence[Generator]) -> None:
        """Prepares the next run of the schedule; only for methods with several phases."""

    def active_blocks(self) -> list[tuple[str, ...]]:
        """Names of each member's active blocks."""
        return [self.blocks] * self.size

    def trained_parameters(self) -> list[int]:
        """How many of the backbone's weights each member trains; of blocks, only active ones count."""
        return [sum(p.numel() for p in self.backbone.parameters() if p.requires_grad)] * self.size

    def decided(self) -> dict[str, Tensor]:
        """What the method has decided while training, by name; each tensor has a leading pack axis."""
        return {}

    def closing_order(self) -> list[tuple[str, ...]]:
        """For each member, the blocks that a falling count has closed, the first closed first."""
        return [()] * self.size

    def gate_metrics(self) -> list[dict[str, float]]:
        """For each member, what learnable gates tell while training; nothing without any."""
        return [{}] * self.size

    def updates(self) -> dict[str, nn.Parameter]:
        """The weights in which the adapted model is linear: scaling their change scales the update."""
        return {name: p for name, p in self.backbone.named_parameters() if p.requires_grad}

    def merged(self, member: int) -> Backbone:
        """One member as a plain backbone, with the updates in its weights."""
        return self.backbone


def candidate_blocks(backbone: Backbone, settings: MethodSettings) -> tuple[str, ...]:
    """Names of the blocks that settings speak of: by default, every linear layer of the image tower."""
    return backbone.block_names(getattr(settings, "blocks", KINDS), getattr(settings, "towers", ("image",)))


def check_settings(backbone: Backbone, settings: MethodSettings) -> None:
    """Whether a method's settings can be met by the model.

    Raises:
        ProblemError: they ask for a tower, for layers or for blocks that the model has not.
    """
    for tower in getattr(settings, "towers", ()):
        if tower not in backbone.layers:
            raise ProblemError(f"towers: the model has no {tower} tower that can be adapted")
    blocks = candidate_blocks(backbone, settings)
    asked = getattr(settings, "blocks", ())
    if lacking := [kind for kind in asked if not backbone.block_names((kind,), ("image", "text"))]:
        raise ProblemError(
            f"blocks: the model has no {', '.join(lacking)} that can be adapted; its kinds are "
            + ", ".join(_kinds(backbone))
        )
    for key, there in (("layers", backbone.depth("image")), ("active_blocks", len(blocks))):
        if (wanted := getattr(settings, key, None) or 0) > there:
            raise ProblemError(f"{key}: {wanted} are asked for, the model has {there}")
    for name in getattr(settings, "mask", None) or ():
        if name not in blocks:
            raise ProblemError(f"mask: {name!r} is no block of the model; `validate` lists them")


def _kinds(backbone: Backbone) -> list[str]:
    return list(dict.fromkeys(name.rsplit(".", maxsplit=1)[-1] for name in backbone.linears))
