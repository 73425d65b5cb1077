"""How many pictures a sweep learns from and is measured on, in words."""

from collections.abc import Iterator, Mapping

from sweeper.report.counted import standard_error
from trainables.data import ImageSet
from trainables.probes import HeadProbe
from trainables.problem import Problem

OPENING = "opening the model and the data ..."
"""What is said before they are opened."""


def pictures(problem: Problem) -> Iterator[str]:
    """A line for each data set: the pictures of its splits, and its classes; and what they can tell apart.

    ::

        pictures of id: train 600, val 200, test 200; 10 classes
        pictures of ood/some: test 200; answers among 2 of 10 classes
        standard error of an ID accuracy of 90 %: 2.1 points on val
    """
    subsets = _subsets(problem)
    for name, sizes in problem.sizes.items():
        splits = ", ".join(f"{split} {count}" for split, count in sizes.items())
        yield f"pictures of {name}: {splits}{subsets.get(name, '')}"
    error = standard_error(90, len(problem.task.val))
    yield f"standard error of an ID accuracy of 90 %: {error:.1f} points on val"


def _subsets(problem: Problem) -> Mapping[str, str]:
    """What is said of the task's classes, and of a set whose answers are among some of the classes only."""
    total = len(problem.task.classes)
    sets: dict[str, tuple[ImageSet, int]] = {
        f"ood/{name}": (images, total) for name, images in problem.ood.items()
    }
    sets |= {
        f"probe/{probe.name}": (probe.task.test, probe.outputs(problem.backbone.feature_size))
        for probe in problem.probes
        if isinstance(probe, HeadProbe)
    }
    some = {
        name: f"; answers among {len(images.answers)} of {all_} classes"
        for name, (images, all_) in sets.items()
        if images.answers is not None and len(images.answers) < all_
    }
    return {"id": f"; {total} classes", **some}
