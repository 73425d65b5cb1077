"""Models that are a matrix each, and random pictures for them; pre-trained models as they are."""

from collections.abc import Callable, Iterator

import pytest
import timm
import torch
from torch import Generator, Tensor

from trainables.backbones import Backbone, Texts, TimmBackbone
from trainables.data import ImageSet, Task
from trainables.engine.encoder import Encoder

SHAPE = (3, 2, 2)
SIZE = 12  # values of a picture

MakeEncoder = Callable[..., Encoder]
MakeTask = Callable[..., Task]


class Matrices:
    """K models, which multiply pixels and text vectors with a matrix."""

    def __init__(self, pictures: Tensor, sentences: Tensor | None = None) -> None:
        self._pictures = pictures
        self._sentences = torch.eye(SIZE) if sentences is None else sentences

    def parts(self, images: ImageSet) -> Iterator[Tensor]:
        return ((part.flatten(1) - 127.5) @ self._pictures for part in images.batches(7))

    def images(self, images: ImageSet) -> Tensor:
        return torch.cat(list(self.parts(images)), dim=1)

    def texts(self, texts: Texts) -> Tensor:
        vectors = texts.vectors
        if vectors is None:  # on another device
            vectors = torch.ones(len(texts.tokens), SIZE, device=texts.tokens.device)
        return (vectors @ self._sentences).expand(len(self._pictures), -1, -1)


class Untouched:
    """A pack of one: the pre-trained model."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    @torch.inference_mode()
    def parts(self, images: ImageSet) -> Iterator[Tensor]:
        for pixels in images.batches(32):
            yield self._backbone(pixels)[None]

    def images(self, images: ImageSet) -> Tensor:
        return torch.cat(list(self.parts(images)), dim=1)

    def texts(self, texts: Texts) -> Tensor:
        return self._backbone.vectors(texts)[None]


@pytest.fixture
def untouched() -> Callable[[Backbone], Encoder]:
    """Gives an encoder of the pre-trained model alone."""
    return Untouched


@pytest.fixture
def timm_backbone() -> TimmBackbone:
    """A vision transformer of random weights, with a classifier of ten classes and without a text tower."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = timm.create_model(
            "vit_tiny_patch16_224",
            num_classes=10,
            img_size=16,
            patch_size=8,
            embed_dim=16,
            depth=1,
            num_heads=2,
            pretrained_cfg_overlay={"input_size": (3, 16, 16)},
        )
        with torch.no_grad():
            for parameter in vit.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return TimmBackbone(vit)


@pytest.fixture
def make_encoder() -> MakeEncoder:
    """Gives K models from the matrices (K, 12, D) for their pictures and (K, 12, D) for their sentences."""
    return Matrices


@pytest.fixture
def make_task() -> MakeTask:
    """Gives a task of random pictures, whose classes differ a little, so that a third is hard to tell."""

    def make(classes: int = 4, train: int = 60, val: int = 40, test: int = 30, seed: int = 0) -> Task:
        generator = Generator().manual_seed(seed)
        centres = 255 * torch.rand(classes, *SHAPE, generator=generator)

        def split(count: int) -> ImageSet:
            labels = torch.arange(count) % classes
            pixels = centres[labels] + 90 * torch.randn(count, *SHAPE, generator=generator)
            return ImageSet(pixels.clamp(0, 255).to(torch.uint8), labels)

        return Task(tuple("abcdefgh"[:classes]), ("a {}",), split(train), split(val), split(test))

    return make
