"""The metrics of the untouched pre-trained model, measured once for the same model and data."""

import json
from collections.abc import Callable, Mapping

import torch

from search_spaces import Space
from sweeper.storage.folders import ROOT
from trainables.fingerprint import fingerprint
from trainables.measures import Metrics
from trainables.problem import Problem

FOLDER = ROOT / ".references"


def known_reference(problem: Problem, space: Space, measure: Callable[[], Metrics]) -> Mapping[str, float]:
    """What an earlier sweep has measured on the same weights, pictures and precision; else what is now."""
    measured_on = (
        space.model.dump(),
        problem.backbone,
        problem.task.val,
        problem.task.test,
        problem.prompts,
        problem.ood,
        problem.probes,
        space.training.precision,
        torch.__version__,
    )
    file = FOLDER / f"{fingerprint(measured_on)}.json"
    if file.exists():
        known: dict[str, float] = json.loads(file.read_text())
        return known
    metrics = measure()
    FOLDER.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(metrics))
    partial.rename(file)
    return metrics
