"""What the interactive plot tells of the mark that is pointed at; plotly reads some HTML in its strings."""

from collections.abc import Mapping
from html import escape

from sweeper.report import counted, words
from sweeper.report.points import Mean
from sweeper.study.records import SweepRecord, TrialRecord


def of_run(record: SweepRecord, row: TrialRecord, whole: bool = True) -> str:
    """A trial or baseline: its parameters, objectives and open blocks; or its objectives alone."""
    lines = [f"<b>{row.role} {plain(row.label, 60)}</b>"]
    if not whole:
        return "<br>".join([*lines, *_objectives(record, row.metrics)])
    lines += [f"{plain(k, 40)}: {plain(words.setting(v, record), 60)}" for k, v in row.parameters.items()]
    lines += _objectives(record, row.metrics)
    lines.append(f"active blocks: {words.active(record, row)}")
    lines += [plain(name, 40) for name in row.active[:8]]
    if len(row.active) > 8:
        lines.append(f"and {len(row.active) - 8} more")
    if row.state == "pruned":
        lines.append(f"stopped early{f': {plain(row.reason, 60)}' if row.reason else ''}")
    return "<br>".join(lines)


def of_mean(mean: Mean) -> str:
    """The mean of a trial's confirmations, with the half-widths of its intervals."""
    seeds = f"{mean.y.count} {'seed' if mean.y.count == 1 else 'seeds'}"
    lines = [f"<b>trial {plain(mean.label, 60)}</b>, mean of {seeds}"]
    lines.append(f"ID accuracy: {words.interval(mean.y)} %")
    lines.append(f"forgetting: {words.interval(mean.x)} pp")
    lines.append("one seed has no interval" if mean.y.half_width is None else "± 95 % confidence interval")
    return "<br>".join(lines)


def of_curve(record: SweepRecord, row: TrialRecord, point: Mapping[str, float]) -> str:
    """A point of a WiSE-FT curve."""
    lines = [
        f"<b>{row.role} {plain(row.label, 60)}</b>, WiSE-FT a = {point['a']:.4g}",
        *_objectives(record, point),
    ]
    lines.append(f"OOD accuracy (test): {words.figure(point.get('test/ood_accuracy'))} %")
    return "<br>".join(lines)


def plain(text: str, most: int) -> str:
    """Text that plotly shows as it is, cut where it is long."""
    return escape(words.cut(text, most), quote=False)


def _objectives(record: SweepRecord, metrics: Mapping[str, float]) -> list[str]:
    return [
        f"ID accuracy: {counted.accuracy(record, metrics, 'id_accuracy')} %",
        f"forgetting: {words.figure(metrics.get('forgetting'))} pp",
    ]
