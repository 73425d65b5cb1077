"""What all trials of a sweep share: the frozen backbone and the data."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from trainables.backbones import Backbone, open_clip_backbone
from trainables.data import ImageSet, Task, load_task, shifted
from trainables.probes import PROBES, Probe


@dataclass(frozen=True)
class Problem:
    """A new task to learn, and what must not be forgotten over it.

    Attributes:
        backbone: the frozen pre-trained model.
        task: the in-distribution task.
        prompts: (C, D), unit vectors: the task's classes as the pre-trained model's text tower names them.
        ood: shifted test sets, by label.
        probes: what the pre-trained model knew.
        reference: metrics of the untouched pre-trained model; empty until they have been measured.
    """

    backbone: Backbone
    task: Task
    prompts: Tensor
    ood: Mapping[str, ImageSet]
    probes: tuple[Probe, ...]
    reference: Mapping[str, float] = field(default_factory=dict)

    def to(self, device: str) -> "Problem":
        """The same problem with its model and data on a device."""
        return replace(
            self,
            backbone=copy.deepcopy(self.backbone).to(device),
            task=self.task.to(device),
            prompts=self.prompts.to(device),
            ood={name: images.to(device) for name, images in self.ood.items()},
            probes=tuple(probe.to(device) for probe in self.probes),
        )


def source_label(source: Mapping[str, Any]) -> str:
    """The label of a data source in metrics: its name if it has one, else ``source`` or ``source-shift``."""
    return source["name"] or "-".join(filter(None, (source["source"], source["shift"])))


def open_problem(space: Mapping[str, Any]) -> Problem:
    """Loads the model and the data of a resolved space (the ``model`` and ``data`` sections)."""
    data = space["data"]
    backbone = open_clip_backbone(space["model"]["name"], space["model"]["pretrained"])
    task = _task(data["id"], backbone.image_size)
    return Problem(
        backbone=backbone,
        task=task,
        prompts=backbone.class_embeddings(task.classes, task.templates),
        ood={source_label(s): _task(s, backbone.image_size).test for s in data["ood"]},
        probes=tuple(
            PROBES[s["score"]](source_label(s), _task(s, backbone.image_size), backbone)
            for s in data["probes"]
        ),
    )


def _task(source: Mapping[str, Any], image_size: int) -> Task:
    task = load_task(source["source"], image_size)
    return Task(
        task.classes,
        task.templates,
        *(shifted(split, source["shift"]) for split in (task.train, task.val, task.test)),
    )
