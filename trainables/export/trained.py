"""A trial at its end, and what every format says of it in JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from trainables.backbones import Backbone
from trainables.engine.training import Training
from trainables.errors import ProblemError
from trainables.export.head import Head
from trainables.fingerprint import fingerprint
from trainables.methods import Method
from trainables.methods.block_method import BlockMethod
from trainables.methods.blocks import Block
from trainables.sections import Model

VERSION = 1
EXPORT_FILE = "export.json"


@dataclass(frozen=True)
class Trained:
    """A trial at its end.

    Attributes:
        training: of the trial alone, with all that it has learned.
        model: the resolved ``model`` section of its space.
        metrics: what was measured of it.
    """

    training: Training
    model: Model
    metrics: Mapping[str, float]

    @property
    def method(self) -> Method:
        """How the backbone is adapted."""
        return self.training.learner.method

    @cached_property
    def head(self) -> Head:
        """The classification head."""
        return Head.of(self.training.learner)

    @property
    def active(self) -> dict[str, Block]:
        """The blocks whose gate is open, by name; empty for a method without blocks."""
        if not isinstance(self.method, BlockMethod):
            return {}
        is_open = self.method.active_blocks()[0]
        pairs = zip(self.method.blocks, self.method.placed, strict=True)
        return {name: block for name, block in pairs if name in is_open}

    def card(self, load: str) -> dict[str, Any]:
        """What every format says of the model; ``load`` is how a person loads it, in Python."""
        space, problem = self.training.spaces[0], self.training.problem
        return {
            "version": VERSION,
            "load": load,
            "model": self.model.dump(),
            "base_sha256": fingerprint(problem.backbone),
            "method": space.method.dump(),
            "training": space.training.dump(),
            "active_blocks": list(self.method.active_blocks()[0]),
            "classes": list(problem.task.classes),
            "templates": list(problem.task.templates),
            "logit_scale": problem.backbone.logit_scale,
            "logits": self.head.formula,
            "metrics": dict(self.metrics),
        }


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors by name, as those libraries expect that read PyTorch's weights from safetensors."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save(plain, {"format": "pt"}))


def save_card(card: Mapping[str, Any], path: Path) -> None:
    """Writes what is said of a model."""
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_card(path: Path) -> dict[str, Any]:
    """What is said of a model.

    Raises:
        ProblemError: it was written by another version.
    """
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if card["version"] != VERSION:
        raise ProblemError(f"it has the format version {card['version']}, this is version {VERSION}")
    return card


def check_base(card: Mapping[str, Any], backbone: Backbone) -> None:
    """Whether the backbone is the one that was trained.

    Raises:
        ProblemError: it has other weights.
    """
    if card["base_sha256"] != fingerprint(backbone):
        model = card["model"]
        raise ProblemError(
            f"it was trained on other weights than the space's model.pretrained; those were "
            f"{model['library']}'s {model['name']}, '{model['pretrained']}'"
        )
