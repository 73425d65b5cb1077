"""The front as a table for the terminal."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from sweeper.report import words
from sweeper.report.frame import parameter_names
from sweeper.report.groups import Group, groups
from sweeper.study.front import on_front, recommended
from sweeper.study.records import SweepRecord, TrialRecord


def front_table(record: SweepRecord) -> Table:
    """The front by falling ID accuracy with its knee marked, then the baselines and the pre-trained model.

    A baseline of several runs has one line, its best run, whose settings stand under the parameters.

    ID accuracy and test accuracies in percent, forgetting in percentage points, active blocks of all blocks.
    """
    shown = [*record.trials, *record.baselines]
    parameters = parameter_names(shown)
    title = Text(f"{record.name}: the front, {words.budget(record)}")
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("trial", no_wrap=True)
    for parameter, name in zip(parameters, words.short(parameters), strict=True):
        _add_column(table, name, [words.setting(row.parameters.get(parameter), record) for row in shown])
    for name in words.closing(record):
        _add_column(table, name)
    for name in ("ID acc %", "forgetting pp", "active", "test acc %", "OOD acc %"):
        _add_column(table, name)
    if per_class := words.means_per_class(record):
        table.caption = Text(f"mean per class, not top-1: {', '.join(per_class)}")
    chosen = recommended(record)
    for trial in on_front(record):
        knee = chosen is not None and trial.key == chosen.key
        name = f"{trial.label} (knee)" if knee else trial.label
        table.add_row(*_cells(record, name, trial, parameters), style="bold" if knee else None)
    table.add_section()
    for group in groups(record.baselines):
        table.add_row(*_cells(record, _name(group), group.best or group.runs[-1], parameters))
    table.add_section()
    table.add_row(*_pre_trained(record, len(parameters) + len(words.closing(record))), style="dim")
    return table


def _add_column(table: Table, name: str, cells: Sequence[str] = ()) -> None:
    """A column wide enough for its longest word or cell, up to a limit: a number is not broken in two."""
    longest = max(map(len, [*name.split(), *cells]), default=0)
    table.add_column(Text(name), justify="right", overflow="fold", min_width=min(longest, 12))


def _name(group: Group) -> str:
    """A baseline by its label; of how many runs it is the best, or how far it is."""
    if group.best is None:
        under_way = any(run.state == "running" for run in group.runs)
        return f"{group.label} ({'running' if under_way else words.state(group.runs[-1])})"
    return group.label if len(group.runs) == 1 else f"{group.label}, best of {len(group.measured)}"


def _cells(record: SweepRecord, name: str, row: TrialRecord, parameters: Sequence[str]) -> list[Text]:
    metrics = row.metrics
    cells = [
        name,
        *(words.setting(row.parameters.get(parameter), record) for parameter in parameters),
        *(words.setting(metrics.get(name)) for name in words.closing(record).values()),
        words.figure(metrics.get("id_accuracy")),
        words.figure(metrics.get("forgetting")),
        words.active(record, row),
        words.figure(metrics.get("test/id_accuracy")),
        words.figure(metrics.get("test/ood_accuracy")),
    ]
    return [Text(cell) for cell in cells]


def _pre_trained(record: SweepRecord, parameters: int) -> list[Text]:
    reference = record.reference
    cells = [
        "pre-trained",
        *[words.UNKNOWN] * parameters,
        words.figure(reference.get("id_accuracy")),
        words.figure(0.0),
        words.UNKNOWN,
        words.figure(reference.get("test/id_accuracy")),
        words.figure(reference.get("test/ood_accuracy")),
    ]
    return [Text(cell) for cell in cells]
