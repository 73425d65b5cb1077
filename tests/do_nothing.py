"""Trials that train nothing: what they report is made up of their parameters, at once."""

import math
import random
from collections.abc import Mapping
from typing import Any

from ray import tune

BLOCKS = tuple(f"image.{layer}.{kind}" for layer in range(8) for kind in ("qkv", "proj", "fc1", "fc2"))
REFERENCE = {"id_accuracy": 40.0, "retained_accuracy": 92.0, "forgetting": 0.0}


def metrics(price: float, rank: int) -> dict[str, float]:
    """As many metrics as a trial of spaces/clip_lambda.yaml has; blocks close as a power of the price."""
    chance = random.Random(f"{price} {rank}")
    active = max(0, min(len(BLOCKS), round(2 * (price / (0.7 + 0.05 * rank)) ** -1.6)))
    accuracy = 45 + 10 * math.log(active + rank) + chance.gauss(0, 3)
    forgetting = 0.6 * active + chance.gauss(0, 2)
    known = {"id_accuracy": accuracy, "retained_accuracy": 92 - forgetting, "forgetting": forgetting}
    known |= {"probe/glyphs": 90 - forgetting, "probe/glyph_colors": 94 - forgetting}
    shifts = {f"test/ood/{name}": accuracy - 10 for name in ("inverted", "rotated", "blurred", "noisy")}
    return {
        **known,
        "loss": 2 - accuracy / 50,
        "seconds": 0.0,
        "epoch": 1,
        "active_blocks": active,
        "expected_active_blocks": active,
        "active_fraction": active / len(BLOCKS),
        **{f"test/{name}": value for name, value in known.items()},
        **shifts,
        "test/ood_accuracy": accuracy - 10,
    }


def report(key: str, method: Mapping[str, Any]) -> dict[str, Any]:
    """What `FineTune` reports of a member at its end, whose training had one epoch."""
    last = metrics(method["lambda"], method["rank"])
    epoch = {name: value for name, value in last.items() if not name.startswith("test/")}
    return {
        "key": key,
        "state": "complete",
        "reason": None,
        "metrics": last,
        "epochs": [epoch],
        "active": BLOCKS[: int(last["active_blocks"])],
        "closing_order": (),
        "curve": [],
    }


class DoNothing(tune.Trainable):  # type: ignore[misc]
    """In the place of `FineTune`."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.members = new_config["members"]
        return True

    def step(self) -> dict[str, Any]:
        return {"members": [report(m["key"], m["space"].method.dump()) for m in self.members]}


class PlainDoNothing(tune.Trainable):  # type: ignore[misc]
    """The same for a plain search with Ray Tune: one trial, whose metrics are the result."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.values = new_config
        return True

    def step(self) -> dict[str, Any]:
        return {**metrics(self.values["lambda"], self.values["rank"]), "done": True}
