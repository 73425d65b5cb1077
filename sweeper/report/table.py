"""The front as a table for the terminal."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from sweeper.report import counted, words
from sweeper.report.frame import parameter_names
from sweeper.report.groups import Group, groups
from sweeper.study.front import dominating, on_front, recommended
from sweeper.study.records import SweepRecord, TrialRecord


def front_table(record: SweepRecord) -> Table:
    """The front by falling ID accuracy with its knee marked, then the baselines and the pre-trained model.

    A baseline of several runs has one line, its best run, whose settings stand under the parameters.

    ID accuracy and test accuracies in percent, forgetting in percentage points, active blocks of all blocks.
    """
    shown = [*record.trials, *record.baselines]
    parameters = parameter_names(record, shown)
    title = Text(f"{record.name}: the front, {words.budget(record)}")
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("trial", no_wrap=True)
    for parameter, name in zip(parameters, words.short(parameters), strict=True):
        _add_column(table, name, [words.setting(row.parameters.get(parameter), record) for row in shown])
    for name in words.closing(record):
        _add_column(table, name)
    cells = [counted.accuracy(record, row.metrics, "id_accuracy") for row in shown]
    for name in ("ID acc %", "forgetting pp", "active", "test acc %", "OOD acc %"):
        _add_column(table, name, cells if name.endswith("acc %") else ())
    if caption := _caption(record):
        table.caption, table.caption_justify = Text(caption), "left"
    chosen = recommended(record)
    for trial in on_front(record):
        knee = chosen is not None and trial.key == chosen.key
        name = trial.label + (f" from {trial.comes_from}" if trial.comes_from else "")
        name += " (knee)" if knee else ""
        table.add_row(*_cells(record, name, trial, parameters), style="bold" if knee else None)
    table.add_section()
    for group in groups(record.baselines):
        table.add_row(*_cells(record, _name(group), group.best or group.runs[-1], parameters))
    table.add_section()
    table.add_row(*_pre_trained(record, len(parameters) + len(words.closing(record))), style="dim")
    return table


def _caption(record: SweepRecord) -> str:
    """What is to be known of the accuracies, a line each."""
    per_class = words.means_per_class(record)
    lines = [
        f"mean per class, not top-1: {', '.join(per_class)}" if per_class else "",
        counted.pictures(record),
        _as_good(record),
        counted.ties(record),
    ]
    return "\n".join(filter(None, lines))


def _as_good(record: SweepRecord) -> str:
    """Which baselines do at least as well as the recommended trial on both objectives, better on one."""
    chosen = recommended(record)
    labels = [row.label for row in dominating(record.baselines, chosen)] if chosen else []
    return f"at least as good as the knee on both objectives: {', '.join(labels)}" if labels else ""


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
        counted.accuracy(record, metrics, "id_accuracy"),
        words.figure(metrics.get("forgetting")),
        words.active(record, row),
        counted.accuracy(record, metrics, "test/id_accuracy"),
        counted.accuracy(record, metrics, "test/ood_accuracy"),
    ]
    return [Text(cell) for cell in cells]


def _pre_trained(record: SweepRecord, parameters: int) -> list[Text]:
    reference = record.reference
    cells = [
        "pre-trained",
        *[words.UNKNOWN] * parameters,
        counted.accuracy(record, reference, "id_accuracy"),
        words.figure(0.0),
        words.UNKNOWN,
        counted.accuracy(record, reference, "test/id_accuracy"),
        counted.accuracy(record, reference, "test/ood_accuracy"),
    ]
    return [Text(cell) for cell in cells]
