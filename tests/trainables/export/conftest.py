"""Trials that have ended, on a small CLIP that open_clip knows by name and on a small ViT."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import open_clip
import pytest
import torch
from small_models import CLIP_CONFIG, CLIP_NAME, MODELS, new_vit, random_images
from torch import Generator, Tensor

from search_spaces import Space
from trainables import Problem, Training, measure_reference
from trainables.backbones import TimmBackbone
from trainables.data import Task
from trainables.export import Trained
from trainables.methods.gated import GatedMethod
from trainables.probes import HeadProbe, KnnProbe

MakeSpace = Callable[..., Space]
MakeTrained = Callable[..., Trained]


@pytest.fixture(scope="session", autouse=True)
def known_clip(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Makes the small CLIP's architecture known to open_clip."""
    file = tmp_path_factory.mktemp("configs") / f"{CLIP_NAME}.json"
    file.write_text(json.dumps(CLIP_CONFIG))
    open_clip.add_model_config(file)


@pytest.fixture
def vit_problem(make_space: MakeSpace) -> Problem:
    """As `problem`, on a ViT with a classifier of its own; no text."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = new_vit()
        with torch.no_grad():
            for parameter in vit.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    generator = Generator().manual_seed(1)

    def task() -> Task:
        splits = (random_images(count, generator) for count in (24, 12, 12))
        return Task(("a", "b", "c"), ("a {}",), *splits)

    backbone = TimmBackbone(vit)
    assert backbone.classifier is not None
    unmeasured = Problem(
        backbone=backbone,
        task=task(),
        prompts=None,
        ood={"noisy": random_images(12, generator)},
        probes=(HeadProbe("own", task(), backbone.classifier), KnnProbe("near", task(), k=3)),
    )
    return replace(unmeasured, reference=measure_reference(unmeasured, make_space()))


@pytest.fixture
def make_trained(problem: Problem, vit_problem: Problem, make_space: MakeSpace) -> MakeTrained:
    """Trains on the CLIP or the ViT until something has moved; of gates, every third is then closed."""
    # As open_clip.create_model leaves it on a model.
    problem.backbone.clip.visual.preprocess_cfg = {"size": 16, "interpolation": "bicubic"}

    @torch.enable_grad()
    def make(library: str, name: str, method: dict[str, Any] | None = None, **training: Any) -> Trained:
        own = {"active_blocks": 3} if name in ("random_blocks", "largest_norm") else {}
        layers = {"layers": 1} if name in ("top_k", "block_expansion") else {}
        # An alpha that is not the rank, so that a forgotten scale shows.
        alpha = {"alpha": 12.0} if "alpha" in make_space(name).method else {}
        space = make_space(name, {**own, **layers, **alpha, **(method or {})}, **{"lr": 1e-2, **training})
        trained = Training({"clip": problem, "vit": vit_problem}[library], [space])
        for _ in range(trained.epochs):
            trained.run_epoch()
        if isinstance(trained.learner.method, GatedMethod):
            with torch.no_grad():
                trained.learner.method.gates.scores.fill_(1.0)
                trained.learner.method.gates.scores[:, ::3] = 0.0
        metrics = {**trained.validate()[0], **trained.test()[0]}
        return Trained(trained, MODELS[library], metrics)

    return make


@pytest.fixture
def pixels() -> Tensor:
    return random_images(5, Generator().manual_seed(2)).pixels
