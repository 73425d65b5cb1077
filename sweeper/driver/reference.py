"""The metrics of the untouched pre-trained model, measured once for the same model, data and code."""

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

import trainables
from search_spaces import Space
from sweeper.storage.folders import references
from trainables.engine.measures import Metrics
from trainables.fingerprint import fingerprint
from trainables.problem import Problem

#: That of the `grounds` which may change where a run's numbers hardly do.
CODE = "code and libraries"
_LIBRARIES = ("torch", "torchvision", "timm", "open_clip_torch", "transformers", "pillow")


def known_reference(
    problem: Problem,
    space: Space,
    measure: Callable[[], Metrics],
    say: Callable[[str], None],
    home: Path = Path(),
) -> Mapping[str, float]:
    """What an earlier sweep measured of the same model, pictures, precision and code; else what is now.

    Args:
        say: told before it is measured, which takes as long as the sets are large.
        home: the folder of the sweeps, as in `SweepFolder`.
    """
    file = references(home) / f"{basis(problem, space)}.json"
    if file.exists():
        known: dict[str, float] = json.loads(file.read_text())
        return known
    count = sum(sizes.get(split, 0) for sizes in problem.sizes.values() for split in ("val", "test"))
    say(f"measuring the pre-trained model on {count} pictures ...")
    metrics = measure()
    keep(file, metrics)
    return metrics


def keep(file: Path, found: Mapping[str, Any]) -> None:
    """Writes what another sweep may look for: all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(found))
    partial.rename(file)


def basis(problem: Problem, space: Space) -> str:
    """What is measured on: model, pictures, precision, versions and code, as one short text."""
    measured_on = (
        space.model.dump(),
        _model(problem),
        problem.task.val,
        problem.task.test,
        problem.prompts,
        problem.ood,
        problem.probes,
        space.training.precision,
        _code(),
    )
    return fingerprint(measured_on)


def grounds(problem: Problem) -> dict[str, str]:
    """What all runs of a sweep rest on beside their settings, each as one short text."""
    return {
        "weights": fingerprint(_model(problem)),
        "pictures": fingerprint((problem.task, problem.ood, problem.probes)),
        CODE: fingerprint(_code()),
    }


def _model(problem: Problem) -> tuple[Any, ...]:
    return problem.backbone, tuple(_architecture(problem.backbone))


def _code() -> tuple[Any, ...]:
    files = sorted(Path(trainables.__path__[0]).rglob("*.py"))
    return [_version(library) for library in _LIBRARIES], [file.read_text() for file in files]


def _architecture(model: nn.Module) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What its weights do not say: the kind of every module, and its settings, such as a number of heads."""
    for module in model.modules():
        settings = {k: v for k, v in vars(module).items() if isinstance(v, bool | int | float | str)}
        yield type(module).__qualname__, {**settings, **module._buffers}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
