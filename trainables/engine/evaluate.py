"""Measuring a model that was trained elsewhere, as a trial is measured."""

from dataclasses import replace

from trainables.engine.measures import Metrics
from trainables.engine.training import Training
from trainables.errors import ProblemError
from trainables.export import Given
from trainables.methods.untouched import untouched
from trainables.problem import Problem
from trainables.sections import Space

_OWN_TEXT_TOWER = {"objective": "flyp", "head": None}
_NO_HEAD = {"objective": "cross_entropy", "head": "fresh"}


def evaluate(problem: Problem, given: Given, space: Space) -> Metrics:
    """Metrics on validation and test splits, under the names of a trial's.

    Without a head of its own a CLIP names the task's classes by its text tower; for another model there is
    then no accuracy on the task, and none on the shifted sets.

    Args:
        problem: with the pre-trained model, and its metrics as the reference.
        given: the model to be measured.
        space: with the settings of a training, of which the precision is the measurement's too.

    Raises:
        ProblemError: the given model's head is for other classes than the task's, or it has no head and the
            classes have no names.
    """
    _check_classes(problem, given)
    head, reads_text = given.head, given.backbone.reads_text
    if head is None and reads_text and problem.prompts is None:
        raise ProblemError(
            "data.id.classes: they are numbers or ids, of which no prompt can be made; give the names here"
        )
    settings = head.settings if head else _OWN_TEXT_TOWER if reads_text else _NO_HEAD
    # The text tower is said to be adapted, so that sentences are encoded by the given one.
    untrained = untouched(space, ("image", "text"), **settings)
    measured = Training(replace(problem, backbone=given.backbone), [untrained])
    if head:
        head.put_into(measured.learner.objective)
    metrics = {**measured.validate()[0], **measured.test()[0]}
    named = head is not None or reads_text
    return {name: value for name, value in metrics.items() if named or not _asks_for_classes(name)}


def _asks_for_classes(metric: str) -> bool:
    return metric.removeprefix("test/").startswith(("id_accuracy", "ood"))


def _check_classes(problem: Problem, given: Given) -> None:
    ours, theirs = problem.task.classes, given.classes
    if theirs is None or theirs == ours:
        return
    differ = ", ".join(sorted(set(theirs) ^ set(ours))[:4]) or "their order"
    raise ProblemError(
        f"data.id: it has {len(ours)} classes, the model was trained on {len(theirs)}: {differ} differ; "
        "give the space that it was trained with"
    )
