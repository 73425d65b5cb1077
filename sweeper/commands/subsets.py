"""Sets that have only some of the classes, in words."""

from collections.abc import Iterator

from trainables.probes import HeadProbe
from trainables.problem import Problem


def subsets(problem: Problem) -> Iterator[str]:
    """A line for each shifted set or probe whose answers are among some of the classes only."""
    counted = {f"ood {name}": (images, len(problem.task.classes)) for name, images in problem.ood.items()}
    counted |= {
        f"probe {probe.name}": (probe.task.test, probe.outputs(problem.backbone.feature_size))
        for probe in problem.probes
        if isinstance(probe, HeadProbe)
    }
    for name, (images, total) in counted.items():
        if images.answers is not None and len(images.answers) < total:
            yield f"{name}: answers are among {len(images.answers)} of {total} classes"
