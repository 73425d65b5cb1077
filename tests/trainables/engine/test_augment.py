"""Random changes of pictures are torchvision's, and depend on nothing but a picture's own seed."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms import v2

from trainables import Problem, Training
from trainables.data import ImageSet
from trainables.engine.augment import Augmentation, Augmented, mixup
from trainables.engine.batch import Batch

SIZE = 12
ROWS, SEEDS = torch.tensor([3, 0, 3]), torch.tensor([7, 2**62, 11])


@pytest.fixture
def pictures() -> Tensor:
    """(5, 3, 20, 16), uint8, noise."""
    return torch.randint(256, (5, 3, 20, 16), dtype=torch.uint8, generator=Generator().manual_seed(0))


def theirs(transform: v2.Transform, pictures: Tensor) -> Tensor:
    changed = []
    for row, seed in zip(ROWS, SEEDS, strict=True):
        torch.manual_seed(int(seed))
        changed.append(transform(pictures[row]))
    return torch.stack(changed)


@pytest.mark.parametrize(
    ("augmentation", "transform"),
    [
        (
            Augmentation(SIZE, crop=0.3, interpolation="bilinear"),
            v2.RandomResizedCrop(SIZE, (0.3, 1.0), interpolation=v2.InterpolationMode.BILINEAR),
        ),
        # PIL alone has it, and so bicubic takes its place.
        (
            Augmentation(SIZE, crop=0.5, interpolation="lanczos"),
            v2.RandomResizedCrop(SIZE, (0.5, 1.0), interpolation=v2.InterpolationMode.BICUBIC),
        ),
        (Augmentation(SIZE, flip=True), v2.RandomHorizontalFlip()),
        (Augmentation(SIZE, randaugment=9), v2.RandAugment(2, 9)),
        (
            Augmentation(SIZE, crop=0.5, flip=True, randaugment=20),
            v2.Compose(
                [
                    v2.RandomResizedCrop(SIZE, (0.5, 1.0), interpolation=v2.InterpolationMode.BICUBIC),
                    v2.RandomHorizontalFlip(),
                    v2.RandAugment(2, 20),
                ]
            ),
        ),
    ],
)
def test_pictures_are_changed_as_by_torchvision(
    pictures: Tensor, augmentation: Augmentation, transform: v2.Transform
) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    ours = Augmented(pictures, augmentation)[ROWS, SEEDS]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(ours, theirs(transform, pictures))
    assert not torch.equal(ours[0], ours[2])


def test_nothing_to_change_is_said() -> None:
    assert not Augmentation(SIZE)
    assert (
        Augmentation(SIZE, crop=0.9) and Augmentation(SIZE, flip=True) and Augmentation(SIZE, randaugment=1)
    )


def test_each_member_mixes_as_by_torchvision(pictures: Tensor) -> None:
    images = ImageSet(pictures, torch.tensor([0, 2, 1, 1, 0]))
    rows = torch.tensor([[0, 1, 2], [4, 3, 1]])
    batch = Batch(images, rows, mix=mixup(0.4, 3, SEEDS[:2]))
    assert batch.changed
    for row, seed, pixels, labels in zip(
        rows, SEEDS, batch.pixels.unflatten(0, (2, 3)), batch.labels, strict=False
    ):
        torch.manual_seed(int(seed))
        mixed, shares = v2.MixUp(alpha=0.4, num_classes=3)(pictures[row].float(), images.labels[row])
        assert torch.equal(pixels, mixed) and torch.equal(labels, shares)


SETTINGS: dict[str, Any] = {"crop": 0.5, "flip": True, "randaugment": 9, "mixup": 0.3, "label_smoothing": 0.1}


def test_a_members_pictures_do_not_depend_on_its_pack(problem: Problem, make_space: Any) -> None:
    """The packed product of other shapes rounds otherwise, so losses are compared to the fifth digit."""
    spaces = [make_space("lora", seed=seed, **SETTINGS) for seed in (0, 1, 1)]
    packed = Training(problem, spaces).train_epoch()
    alone = [Training(problem, [space]).train_epoch()[0] for space in spaces]
    assert packed.tolist() == pytest.approx([loss.item() for loss in alone], rel=1e-5)
    assert packed[0] != packed[1]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_change_changes_the_training(problem: Problem, make_space: Any, setting: str) -> None:
    plain = Training(problem, [make_space("lora", head="fresh")]).train_epoch()
    changed = Training(
        problem, [make_space("lora", head="fresh", **{setting: SETTINGS[setting]})]
    ).train_epoch()
    assert plain.item() != changed.item() and changed.isfinite().all()


def test_crops_are_cut_from_the_whole_picture(problem: Problem, make_space: Any) -> None:
    """A whole picture of one colour and its square of another: only crops show the whole one's."""
    train = problem.task.train

    class OneColour:
        def __len__(self) -> int:
            return len(train)

        def __getitem__(self, rows: Tensor) -> Tensor:
            raise AssertionError("pictures are cut one by one")

        def picture(self, row: int) -> Tensor:
            return torch.full((3, 40, 30), 7, dtype=torch.uint8)

        def made_ready(self) -> "OneColour":
            return self

    task = replace(problem.task, train=replace(train, whole=OneColour()))
    for crop, colour in ((0.5, True), (1.0, False)):
        training = Training(replace(problem, task=task), [make_space("lora", crop=crop, flip=True)])
        (batch, *_) = training._drawn(1)
        assert (batch.pixels == 7).all() == colour
