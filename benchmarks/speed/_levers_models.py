"""What the levers' benchmark trains: models with their data, packs, and the sizes that are measured."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import timm
import torch

from benchmarks._results import REPOSITORY
from search_spaces import Space, load_space
from trainables.backbones import KINDS, TimmBackbone
from trainables.data import ImageSet, Task
from trainables.engine.prefix import Prefix
from trainables.engine.training import Training
from trainables.probes import KnnProbe
from trainables.problem import Problem, open_problem

SPACES = REPOSITORY / "spaces"
BLOCKS, RANK = (1, 2, 4, 8, 32), 8
DRAWS = 8


@dataclass(frozen=True)
class Model:
    """A model with its data, and the space that says how it is trained."""

    name: str
    space: Space
    problem: Problem

    @property
    def names(self) -> tuple[str, ...]:
        """Its blocks, in the order of the forward pass."""
        return self.problem.backbone.block_names(KINDS, ("image",))


def open_tiny() -> Model:
    space = load_space(SPACES / "clip_lambda.yaml", ["baselines=[]"])
    return Model("tiny-clip", space, open_problem(space))


def open_vit(side: int, pictures: int) -> Model:
    """ViT-Tiny with random weights, and pictures of noise in ten classes."""
    space = load_space(SPACES / "dino_lambda.yaml", ["baselines=[]"])
    torch.manual_seed(0)
    size = {"input_size": (3, side, side)}
    vit = timm.create_model("vit_tiny_patch16_224", img_size=side, pretrained_cfg_overlay=size)

    def noise() -> ImageSet:
        pixels = torch.randint(256, (pictures, 3, side, side), dtype=torch.uint8)
        return ImageSet(pixels, torch.arange(pictures) % 10)

    def task() -> Task:
        return Task(tuple("0123456789"), ("a {}",), noise(), noise(), noise())

    problem = Problem(TimmBackbone(vit), task(), None, {}, (KnnProbe("noise", task()),))
    return Model(f"ViT-Tiny, {side} px", space, problem)


@dataclass(frozen=True)
class Cell:
    """What is trained: a pack at a batch size, with so many open blocks.

    Attributes:
        first: which draw of random blocks is that of the first member.
    """

    batch: int
    pack: int
    blocks: int
    placed: str = "last"
    first: int = 0

    def packs(self) -> list["Cell"]:
        """What is measured: of random blocks, as many packs as train every draw once."""
        firsts = range(0, DRAWS, self.pack) if self.placed == "random" else [0]
        return [replace(self, first=first) for first in firsts]

    def masks(self, names: Sequence[str]) -> list[list[str]]:
        """Each member's open blocks, of those that there are."""
        if self.placed == "last":
            return [list(names[-self.blocks :])] * self.pack
        draws = [random.Random((self.first + k) % DRAWS) for k in range(self.pack)]
        return [draw.sample(names, self.blocks) for draw in draws]

    def training(self, model: Model, prefix: Prefix | None) -> Training:
        fixed = {"method.rank": RANK, "training.batch_size": self.batch}
        spaces = [model.space.with_values({**fixed, "method.mask": m}) for m in self.masks(model.names)]
        return Training(model.problem, spaces, prefix)


@dataclass(frozen=True)
class Sizes:
    """What is measured of a model.

    Attributes:
        pictures: as many are trained on in a measurement, or one batch of the pack where that is more.
        placed: how the open blocks are chosen.
        held: pictures in one step of all members, times the open blocks or 8 where there are fewer, at most.
            More does not fit into the memory, which holds for each picture what lies behind the first open
            block, and some layers' results whatever is open.
        kept: batch sizes and packs of which steps are measured that keep their memory.
        trials, sides: against which the growth is measured; the sides are in px.
    """

    packs: Sequence[int]
    batches: Sequence[int]
    pictures: int
    placed: Sequence[str] = ("last", "random")
    blocks: Sequence[int] = BLOCKS
    held: float = math.inf
    kept: Sequence[tuple[int, int]] = ((64, 1), (64, 8), (128, 8))
    trials: Sequence[int] = (4, 8, 16, 32, 64)
    sides: Sequence[int] = (64, 96, 128, 160, 224)

    def cells(self, model: Model, packs: Sequence[int], batches: Sequence[int]) -> list[Cell]:
        """One for each batch, pack that fits and number of blocks; where all are open, there is one place."""
        every = len(model.names)
        return [
            Cell(batch, pack, blocks, placed)
            for placed, batch, pack, blocks in product(self.placed, batches, packs, self.blocks)
            if max(blocks, 8) * batch * pack <= self.held and (placed == self.placed[0] or blocks < every)
        ]


TINY = Sizes((1, 2, 4, 8, 16, 32), (16, 32, 64, 128), 512)
VIT = replace(
    TINY, pictures=64, placed=("last",), held=8192, kept=((16, 1), (16, 8), (64, 1), (128, 1), (128, 2))
)
# Of two random blocks, one may be among the first.
VIT_RANDOM = replace(VIT, packs=(1, 2, 4, 8), placed=("random",), blocks=(2,), held=2048)
SMALL = Sizes((1, 2), (16,), 32, blocks=(1, 2), kept=((16, 2),), trials=(2, 4), sides=(32, 64))
