"""Measuring a model that someone gives on the data of a space."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from search_spaces import Space
from sweeper.commands.options import say
from sweeper.driver.pictures import OPENING
from sweeper.driver.reference import known_reference
from sweeper.errors import UserError
from sweeper.report import counted
from trainables.device import device_for, use_threads
from trainables.engine.evaluate import evaluate
from trainables.engine.training import measure_reference
from trainables.export import load_given
from trainables.problem import open_problem

_TITLES = {
    "id_accuracy": "ID accuracy %",
    "ood_accuracy": "OOD accuracy %",
    "retained_accuracy": "retained accuracy %",
    "forgetting": "forgetting pp",
}


def evaluation_table(path: Path, space: Space) -> Table:
    """The model at a path before and after its training, on validation and test splits.

    Raises:
        UserError: the space asks for a GPU, and there is none.
        ProblemError: the space's model or data cannot be had, or what is at the path does not fit them.
    """
    try:
        device = device_for(space.resources.gpus_per_trial)
    except RuntimeError:
        raise UserError(
            "resources.gpus_per_trial: there is no GPU here; measure on the processor by "
            "`--set resources.gpus_per_trial=0`"
        ) from None
    use_threads(space.resources.cpus_per_trial)
    say(OPENING)
    problem = open_problem(space)
    given = load_given(path, problem.backbone, space.model)
    problem, given = problem.to(device), replace(given, backbone=given.backbone.to(device))
    before = known_reference(problem, space, lambda: measure_reference(problem, space), say)
    say("measuring the model that is given ...")
    after = evaluate(replace(problem, reference=before), given, space)
    shifts = [f"ood/{name}" for name in problem.ood]
    probes = [f"probe/{probe.name}" for probe in problem.probes]
    overall = ["ood_accuracy"] if shifts else []
    rows = ["id_accuracy", *shifts, *overall, *probes, "retained_accuracy", "forgetting"]
    means = space.data.labels().get("mean_per_class", ())
    titles = {
        row: _TITLES.get(row, f"{row} %") + (", mean per class" if row in means else "") for row in rows
    }

    def cell(metrics: Mapping[str, float], metric: str) -> str:
        error = counted.error_of(problem.sizes, means, metrics, metric)
        return counted.with_error(metrics.get(metric), error)

    return _table(str(path), given.note, titles, before, after, cell)


def _table(
    title: str,
    note: str | None,
    rows: Mapping[str, str],
    before: Mapping[str, float],
    after: Mapping[str, float],
    cell: Callable[[Mapping[str, float], str], str],
) -> Table:
    caption = "\n".join(filter(None, [note, "± is one standard error, of the number of pictures"]))
    table = Table(title=Text(title), caption=Text(caption), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for column in ("before", "after", "test before", "test after"):
        table.add_column(column, justify="right")
    for row, name in rows.items():
        cells = [cell(metrics, f"{split}{row}") for split in ("", "test/") for metrics in (before, after)]
        table.add_row(Text(name), *cells)
    return table
