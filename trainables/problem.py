"""What all trials of a sweep share: the frozen backbone and the data."""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from torch import Tensor

from trainables.backbones import Backbone, Texts, class_sentences, class_vectors, open_backbone
from trainables.data import ImageSet, Task, is_named, load_task, refuse_unnamed
from trainables.data.matching import places_in_task
from trainables.device import device_for, workers_of
from trainables.errors import ProblemError, at, together
from trainables.probes import PROBES, Probe
from trainables.sections import DataSet, Resources, Space

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """A new task to learn, and what must not be forgotten over it.

    Attributes:
        backbone: the frozen pre-trained model.
        task: the in-distribution task.
        prompts: sentences on the task's classes; None where the model reads no text, or the classes are
            numbers or ids.
        ood: shifted test sets, by label.
        probes: what the pre-trained model knew.
        reference: metrics of the untouched pre-trained model; empty until they have been measured.
        workers: processes that read pictures ahead, where these are not in memory.
    """

    backbone: Backbone
    task: Task
    prompts: Texts | None
    ood: Mapping[str, ImageSet]
    probes: tuple[Probe, ...]
    reference: Mapping[str, float] = field(default_factory=dict)
    workers: int = 0

    @property
    def class_vectors(self) -> Tensor:
        """(C, D), unit vectors: the task's classes as the pre-trained text tower names them."""
        assert self.prompts is not None
        return class_vectors(self.backbone.vectors(self.prompts)[None], len(self.task.templates))[0]

    @property
    def sizes(self) -> dict[str, Mapping[str, int]]:
        """How many pictures each split of each data set has: of ``id``, ``ood/<name>``, ``probe/<name>``."""
        shifted = {f"ood/{name}": {"test": len(images)} for name, images in self.ood.items()}
        probes = {f"probe/{probe.name}": probe.sizes for probe in self.probes}
        return {"id": self.task.sizes, **shifted, **probes}

    @property
    def damaged(self) -> list[str]:
        """What is said of each picture that is left out since it cannot be read, once."""
        sets = [self.task.train, self.task.val, self.task.test, *self.ood.values()]
        sets += [images for probe in self.probes for images in probe.image_sets]
        return list(dict.fromkeys(damaged for images in sets for damaged in images.damaged))

    def placed(self, resources: Resources) -> "Problem":
        """The same problem on the device, and with the processes, of a resolved ``resources`` section."""
        placed = replace(self, workers=workers_of(resources))
        return placed.to(device_for(resources.gpus_per_trial))

    def to(self, device: str) -> "Problem":
        """The same problem with its model and data on a device."""
        return replace(
            self,
            backbone=copy.deepcopy(self.backbone).to(device),
            task=self.task.to(device),
            prompts=self.prompts and self.prompts.to(device),
            ood={name: images.to(device) for name, images in self.ood.items()},
            probes=tuple(probe.to(device) for probe in self.probes),
        )


def open_problem(space: Space, prompted: bool = False) -> Problem:
    """Loads the model and the data of a resolved space (the ``model`` and ``data`` sections).

    Args:
        prompted: whether prompts will be made of the task's classes, where the model reads text.

    Raises:
        ProblemError: whatever cannot be had or does not fit, a line each. It is a `MissingError` if nothing
            is wrong but that weights or data are not on this machine.
    """
    data = space.data
    opening = _Opening()
    settings = space.model.dump()
    backbone = opening.part("model", lambda: open_backbone(**settings))
    if backbone is None:
        # Without the weights, the data can still be looked at.
        backbone = opening.part("model", lambda: open_backbone(**settings, weights=False))
    if backbone is None:
        raise together(opening.errors)
    model = backbone
    task = opening.part("data.id", lambda: load_task(data.id, model.preprocessing))
    if task is not None and prompted and model.reads_text:
        opening.part("data.id", partial(_check_names, data.id, task.classes))
    ood = [
        opening.part(f"data.ood.{place}", partial(_shifted, source, model, task))
        for place, source in enumerate(data.ood)
    ]
    probes = [
        opening.part(f"data.probes.{place}", partial(PROBES[source.score], source.label, source, model))
        for place, source in enumerate(data.probes)
    ]
    if opening.errors or task is None:
        raise together(opening.errors)
    return Problem(
        backbone=model,
        task=task,
        prompts=model.texts(class_sentences(task.classes, task.templates))
        if model.reads_text and is_named(data.id, task.classes)
        else None,
        ood={s.label: images for s, images in zip(data.ood, ood, strict=True) if images is not None},
        probes=tuple(probe for probe in probes if probe is not None),
    )


class _Opening:
    """Opens part after part, and gathers what is wrong with any."""

    def __init__(self) -> None:
        self.errors: list[ProblemError] = []

    def part(self, place: str, load: Callable[[], T]) -> T | None:
        """The part; None if it cannot be had."""
        try:
            with at(place):
                return load()
        except ProblemError as error:
            if str(error) not in map(str, self.errors):
                self.errors.append(error)
            return None


def _check_names(source: DataSet, classes: Sequence[str]) -> None:
    try:
        refuse_unnamed(source, classes)
    except ProblemError as error:
        raise ProblemError(
            f"{error}; or take training.head: fresh, and neither zero_shot nor flyp"
        ) from error


def _shifted(source: DataSet, backbone: Backbone, task: Task | None) -> ImageSet:
    """A shifted test set, which must have the classes of the task, or some if it says so."""
    splits: Collection[str] = ("test",)
    shifted = load_task(source, backbone.preprocessing, splits)
    places = None if task is None else places_in_task(shifted, task, source)
    return shifted.test if places is None else shifted.test.placed(places)
