"""Packs of a method over one of the tiny models, and random values for what they have learned."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Generator

from search_spaces import Space
from trainables.backbones import Backbone
from trainables.methods import METHODS, Method

MakeSpace = Callable[..., Space]
MakePack = Callable[..., Method]


@pytest.fixture(params=["backbone", "timm_backbone"], ids=["open_clip", "timm"])
def any_backbone(request: pytest.FixtureRequest) -> Backbone:
    """Each library's model in turn."""
    backbone: Backbone = request.getfixturevalue(request.param)
    return backbone


@pytest.fixture
def make_pack(make_space: MakeSpace) -> MakePack:
    """Gives a pack with a member for each of the settings."""

    def make(backbone: Backbone, name: str, *settings: Mapping[str, Any]) -> Method:
        members = [make_space(name, own).method for own in settings]
        generators = [Generator().manual_seed(seed) for seed in range(len(members))]
        return METHODS[name](backbone, members, generators)

    return make


@pytest.fixture
def randomise() -> Callable[[Method], None]:
    """Gives every weight in which the model is linear a random value."""

    @torch.no_grad()
    def fill(method: Method) -> None:
        generator = Generator().manual_seed(3)
        for parameter in method.updates().values():
            parameter.normal_(0, 0.3, generator=generator)

    return fill
