"""Train tiny-dino from nothing, by self-distillation without labels, and write its weights and figures.

    python -m tools.tiny_dino.train

DINO (Caron et al. 2021, arXiv:2104.14294): a student learns to say of one view of an image what a teacher,
the moving average of the student, says of another. The images are drawings in ``FONTS``; the probes that
measure the outcome use ``HELD_OUT_FONTS`` and seeds of their own, and the handwritten digits are never shown.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from math import cos, pi

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor, nn

from tools.tiny_dino.views import GENTLE, WILD
from trainables.backbones.tiny_dino import FIGURES, IMAGE_SIZE, MEAN, STD, WEIGHTS, open_tiny_dino
from trainables.data import SHIPPED, ImageSet, Task
from trainables.data.drawing import FONTS, SYMBOLS, Style, draw

# Upright, centred and clean: pose and noise come from the views alone, so they tell nothing of the image.
_STYLE = Style(rotation=0.0, scale=(1.0, 1.0), shift=0.0, noise=0.0)
_BATCH = 512  # images that are measured at a time


@dataclass(frozen=True)
class Recipe:
    """The training: AdamW on a one-cycle rate, with the schedules of DINO.

    Attributes:
        views: V, wild views of each image, for the student.
        lr: the highest rate.
        warmup: share of the steps that the rate takes to get there.
        outputs: K, the number of prototypes.
        momentum: of the teacher's weights at the start; it goes to 1 along a cosine.
        student_temperature: tau_s.
        teacher_temperature: tau_t, lower: the teacher is the surer of the two.
        spread: weight of the KoLeo regulariser.
    """

    seed: int = 0
    steps: int = 3600
    batch_size: int = 64
    views: int = 2
    lr: float = 1.5e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    outputs: int = 256
    momentum: float = 0.99
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    spread: float = 0.1


class Head(nn.Module):
    """Features (N, D) to logits (N, K): an MLP to unit length, then its cosines with K prototypes.

    The last layer is weight-normed with gains fixed at 1, so its rows are of unit length, and stays as it was
    drawn, as the paper has it for the first epochs: else prototypes gather where the student is unsure. Batch
    norm, an option of the paper, centres what is brought to unit length.
    """

    def __init__(self, features: int, outputs: int, hidden: int = 256, bottleneck: int = 64) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(features, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck, bias=False),
            nn.BatchNorm1d(bottleneck, affine=False),
        )
        self.last = nn.utils.parametrizations.weight_norm(nn.Linear(bottleneck, outputs, bias=False))
        self.last.parametrizations.weight.original0.data.fill_(1)
        self.last.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """Give the cosines, in [-1, 1]."""
        cosines: Tensor = self.last(F.normalize(self.mlp(features), dim=-1))
        return cosines


def balanced(logits: Tensor, rounds: int = 3) -> Tensor:
    """Centre and sharpen: softmax of logits (N, K) under which the prototypes get about N / K images each.

    Sinkhorn-Knopp, as DINOv2 centres (Oquab et al. 2023, arXiv:2304.07193): columns and rows are brought to
    equal sums in turn, rows last. To subtract the mean alone leaves a few prototypes with most images.
    """
    for _ in range(rounds):
        logits = (logits - logits.logsumexp(0)).log_softmax(-1)
    return logits.exp()


def dino_loss(student: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Cross entropy of the student's views with the teacher's view, averaged over views and images.

    H(p_t, p_s) = -sum_k p_t[k] log p_s[k], with p_s = softmax(student / tau_s).

    Args:
        student: (V, N, K) logits of V views an image.
        targets: (N, K) probabilities, as the teacher has them of another view.
        temperature: tau_s.
    """
    return -(targets * (student / temperature).log_softmax(-1)).sum(-1).mean()


def koleo(features: Tensor) -> Tensor:
    """Say how close images lie: -mean_i log min_j |x_i - x_j|, x of unit length (Sablayrolles et al. 2019).

    Args:
        features: (..., N, D); each stack of N by itself.
    """
    unit = F.normalize(features, dim=-1)
    itself = torch.eye(unit.shape[-2], dtype=torch.bool)
    nearest = (unit @ unit.mT).masked_fill(itself, -1).argmax(-1, keepdim=True)
    neighbours = unit.gather(-2, nearest.expand_as(unit))
    return -F.pairwise_distance(unit, neighbours).log().mean()


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher in place: theta_t becomes m theta_t + (1 - m) theta_s."""
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)


def momentum_at(step: int, recipe: Recipe) -> float:
    """The teacher's momentum: from ``recipe.momentum`` at step 0 to 1 at the last, along half a cosine."""
    return 1 - (1 - recipe.momentum) * (1 + cos(pi * step / recipe.steps)) / 2


def train(model: VisionTransformer, recipe: Recipe) -> tuple[VisionTransformer, list[float]]:
    """Train a copy of the model, each step on new drawings.

    Returns:
        The teacher's model, in evaluation mode, and the loss of every step.
    """
    rng = torch.Generator().manual_seed(recipe.seed)
    student = nn.Sequential(deepcopy(model), Head(model.num_features, recipe.outputs)).train()
    teacher = deepcopy(student).requires_grad_(False)
    optimizer, schedule = _optimizer(student, recipe)
    losses: list[float] = []
    for step, images in enumerate(_drawings(recipe, rng)):
        targets = balanced(teacher(_normalized(GENTLE(images, rng))) / recipe.teacher_temperature)
        wild = torch.cat([_normalized(WILD(images, rng)) for _ in range(recipe.views)])
        found = student[0](wild)
        logits = student[1](found).unflatten(0, (recipe.views, -1))
        loss = dino_loss(logits, targets, recipe.student_temperature)
        optimizer.zero_grad()
        (loss + recipe.spread * koleo(found.unflatten(0, (recipe.views, -1)))).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        follow(teacher, student, momentum_at(step, recipe))
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} of {recipe.steps}: {_health(losses, targets)}", flush=True)
    return teacher[0].eval(), losses


def _optimizer(
    student: nn.Module, recipe: Recipe
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW: matrices decay; gains and biases do not."""
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=recipe.steps, pct_start=recipe.warmup, cycle_momentum=False
    )
    return optimizer, schedule


def _drawings(recipe: Recipe, rng: Generator) -> Iterator[Tensor]:
    """Draw a batch a step, (N, 3, 32, 32), values in [0, 1]; what is on an image is forgotten at once."""
    for _ in range(recipe.steps):
        symbols = torch.randint(len(SYMBOLS), (recipe.batch_size,), generator=rng)
        yield draw(symbols, FONTS, _STYLE, IMAGE_SIZE, rng).pixels / 255


def _health(losses: list[float], targets: Tensor) -> str:
    """Say the mean loss and the teacher's two entropies, nats, that tell a collapse.

    Of each image: log K when its outputs are all alike. Of their mean: 0 when all images get one output.
    """
    each, mean = torch.special.entr(targets).sum(-1).mean(), torch.special.entr(targets.mean(0)).sum()
    recent = losses[-100:]
    return f"loss {sum(recent) / len(recent):.3f}, entropy {each:.2f} of each, {mean:.2f} of the mean"


def _normalized(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def features(model: VisionTransformer, images: ImageSet) -> Tensor:
    """Give the features (N, D) of the class token."""
    with torch.no_grad():
        return torch.cat([model(batch) for batch in _batches(images)])


def pixels(images: ImageSet) -> Tensor:
    """Give the pixels as they are, (N, 3 H W): what a model must know better than."""
    return torch.cat(list(_batches(images))).flatten(1)


def _batches(images: ImageSet) -> Iterator[Tensor]:
    return (_normalized(batch / 255) for batch in images.batches(_BATCH))


def knn_accuracy(
    bank: Tensor, labels: Tensor, queries: Tensor, truth: Tensor, k: int = 20, temperature: float = 0.07
) -> float:
    """Weighted k-nearest-neighbour accuracy, percent, of DINO: a neighbour votes exp(cosine / temperature).

    Args:
        bank: (M, D) features with labels (M,).
        queries: (N, D) features with true labels (N,).
    """
    cosines, nearest = (F.normalize(queries, dim=-1) @ F.normalize(bank, dim=-1).T).topk(k, dim=-1)
    votes = torch.zeros(len(queries), int(labels.max()) + 1)
    votes.scatter_add_(1, labels[nearest], (cosines / temperature).exp())
    return float(100 * (votes.argmax(1) == truth).float().mean())


def figures(encode: Callable[[ImageSet], Tensor]) -> dict[str, dict[str, float]]:
    """Measure k-NN accuracy, percent, on the validation and test split; the bank is the train split."""
    return {name: _figures(encode, source(IMAGE_SIZE)) for name, source in SHIPPED.items()}


def _figures(encode: Callable[[ImageSet], Tensor], task: Task) -> dict[str, float]:
    bank = encode(task.train)
    return {
        split: round(knn_accuracy(bank, task.train.labels, encode(images), images.labels), 1)
        for split, images in (("val", task.val), ("test", task.test))
    }


def main() -> None:
    """Train, and write the weights and the figures next to this file."""
    parser = argparse.ArgumentParser(description="Train tiny-dino and write its weights.")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    arguments = parser.parse_args()
    recipe = Recipe(steps=arguments.steps, seed=arguments.seed)

    torch.set_num_threads(1)  # the model is too small to gain from more, and the outcome depends on them
    torch.manual_seed(recipe.seed)
    untrained = open_tiny_dino(pretrained=False)
    model, _ = train(untrained, recipe)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, WEIGHTS)
    reached = {
        "trained": figures(partial(features, model)),
        "untrained": figures(partial(features, untrained)),
        "pixels": figures(pixels),
    }
    FIGURES.write_text(json.dumps({"recipe": asdict(recipe), "knn_percent": reached}, indent=2) + "\n")
    print(json.dumps(reached))


if __name__ == "__main__":
    main()
