"""Train tiny-clip from nothing, on captioned drawings, and write its weights and figures.

    python -m tools.tiny_clip.train

The drawings show letters, digits and shapes in ``FONTS``; the probes that measure the outcome use
``HELD_OUT_FONTS`` and seeds of their own, and the handwritten digits are never shown.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from math import log

import open_clip
import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from torch import Generator, Tensor

from tools.tiny_clip.captions import captions, write_merges
from trainables.backbones.tiny_clip import FIGURES, IMAGE_SIZE, MEAN, MERGES, STD, WEIGHTS, open_tiny_clip
from trainables.data import SHIPPED, ImageSet, Task
from trainables.data.drawing import FONTS, SYMBOLS, Style, draw

_STYLE = Style(rotation=12.0, scale=(0.8, 1.3), shift=0.12, shear=0.1, noise=0.05, coarse=0.3)
_SHARPEST = log(100)  # bound of the logit scale, as in CLIP


@dataclass(frozen=True)
class Recipe:
    """The training: AdamW on a one-cycle rate.

    Attributes:
        lr: the highest rate.
        warmup: share of the steps that the rate takes to get there.
    """

    seed: int = 0
    steps: int = 2000
    batch_size: int = 128
    lr: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 0.05


def train(model: open_clip.CLIP, tokenizer: SimpleTokenizer, recipe: Recipe) -> list[float]:
    """Train the model in place, each step on new drawings, and give the loss of every step."""
    rng = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(_groups(model, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=recipe.steps, pct_start=recipe.warmup, cycle_momentum=False
    )
    criterion = open_clip.ClipLoss()
    losses: list[float] = []
    model.train()
    for step in range(1, recipe.steps + 1):
        images, tokens = _batch(tokenizer, recipe.batch_size, rng)
        loss = criterion(*model(images, tokens))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, _SHARPEST)
        losses.append(loss.item())
        if step % 100 == 0:
            print(f"step {step} of {recipe.steps}: loss {sum(losses[-100:]) / 100:.3f}", flush=True)
    model.eval()
    return losses


def _groups(model: open_clip.CLIP, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay; gains, biases and the logit scale do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _batch(tokenizer: SimpleTokenizer, size: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """Draw images (N, 3, 32, 32) and the tokens (N, 12) of their captions."""
    symbols = torch.randint(len(SYMBOLS), (size,), generator=rng)
    drawings = draw(symbols, FONTS, _STYLE, IMAGE_SIZE, rng)
    return _normalized(drawings.pixels), tokenizer(captions(drawings, rng))


def _normalized(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


@torch.no_grad()
def zero_shot_accuracy(
    model: open_clip.CLIP, tokenizer: SimpleTokenizer, task: Task, images: ImageSet
) -> float:
    """Give the percentage of images whose class prompts, averaged over the templates, lie nearest."""
    prompts = [template.format(name) for name in task.classes for template in task.templates]
    texts = model.encode_text(tokenizer(prompts), normalize=True)
    classes = F.normalize(texts.view(len(task.classes), len(task.templates), -1).mean(1), dim=-1)
    (pixels,) = images.batches(len(images))
    guesses = (model.encode_image(_normalized(pixels)) @ classes.T).argmax(1)
    return float(100 * (guesses == images.labels).float().mean())


def figures(model: open_clip.CLIP, tokenizer: SimpleTokenizer) -> dict[str, dict[str, float]]:
    """Measure zero-shot accuracy, percent, on the validation and test split of every source."""
    tasks = {source: load(IMAGE_SIZE) for source, load in SHIPPED.items()}
    return {
        source: {
            split: round(zero_shot_accuracy(model, tokenizer, task, getattr(task, split)), 1)
            for split in ("val", "test")
        }
        for source, task in tasks.items()
    }


def main() -> None:
    """Write the merges, train, and write the weights and the figures next to this file."""
    parser = argparse.ArgumentParser(description="Train tiny-clip and write its weights.")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    arguments = parser.parse_args()
    recipe = Recipe(steps=arguments.steps, seed=arguments.seed)

    torch.set_num_threads(1)  # the model is too small to gain from more, and the outcome depends on them
    write_merges(MERGES)
    torch.manual_seed(recipe.seed)
    model, tokenizer = open_tiny_clip(pretrained=False)
    train(model, tokenizer, recipe)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, WEIGHTS)
    reached = {"recipe": asdict(recipe), "zero_shot_percent": figures(model, tokenizer)}
    FIGURES.write_text(json.dumps(reached, indent=2) + "\n")
    print(json.dumps(reached["zero_shot_percent"]))


if __name__ == "__main__":
    main()
