"""Writes a report to a folder, each file whole or not at all."""

import json
import math
import os
import secrets
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from sweeper.report.frame import confirmed_frame, curves_frame, front_frame, trials_frame
from sweeper.report.fronts import fronts_latex
from sweeper.report.page import page
from sweeper.report.picture import front_png
from sweeper.study.front import REFERENCE_POINT, hypervolume, on_front, recommended
from sweeper.study.records import SweepRecord, TrialRecord


def write_report(record: SweepRecord, folder: Path, recommended_command: str | None = None) -> Path:
    """Write ``index.html``, ``trials`` as CSV and Parquet, and ``front`` as PNG, JSON, CSV and LaTeX.

    ``confirmed.csv`` is written too where trials are confirmed, ``curves.csv`` where a WiSE-FT curve has been
    measured.

    Each is written under a temporary name in the folder and then renamed, so a reader finds the old file or
    the new one, and two writers do not mix. The page comes last.

    Args:
        folder: made if it is not there.
        recommended_command: the command that trains the recommended trial again, shown on the page.

    Returns:
        The path of ``index.html``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frame = trials_frame(record)
    parquet = BytesIO()
    frame.to_parquet(parquet, index=False)
    write_file(folder / "trials.csv", frame.to_csv(index=False).encode())
    write_file(folder / "trials.parquet", parquet.getvalue())
    for name, table in (("confirmed.csv", confirmed_frame(record)), ("curves.csv", curves_frame(record))):
        if len(table):
            write_file(folder / name, table.to_csv(index=False).encode())
    write_file(folder / "front.json", json.dumps(front_value(record), indent=2, default=str).encode())
    write_file(folder / "front.csv", front_frame(record).to_csv(index=False).encode())
    write_file(folder / "front.tex", fronts_latex([record]).encode())
    write_file(folder / "front.png", front_png(record))
    write_file(folder / "index.html", page(record, recommended_command).encode("utf-8", "backslashreplace"))
    return folder / "index.html"


def front_value(record: SweepRecord) -> dict[str, Any]:
    """The front as plain values, for ``front.json``; figures that are not finite become None.

    Keys: ``sweep``, ``budget`` (active blocks asked for), ``blocks`` (of how many), ``rule``, ``tolerance``
    and ``mode`` (as in `SweepRecord`), ``hypervolume`` and its ``reference_point`` in (ID accuracy, retained
    accuracy) as fractions, ``reference`` (metrics of the untouched model), ``knee`` (a key or None),
    ``front`` (by falling ID accuracy; with its ``curve``, as `TrialRecord.curve`, where one has been
    measured).
    """
    chosen = recommended(record)
    front = on_front(record)
    return {
        "sweep": record.name,
        "budget": record.budget,
        "blocks": len(record.blocks),
        "rule": record.rule,
        "tolerance": record.tolerance,
        "mode": record.mode,
        "hypervolume": hypervolume(record, front),
        "reference_point": {"id_accuracy": REFERENCE_POINT[0], "retained_accuracy": REFERENCE_POINT[1]},
        "reference": _finite(record.reference),
        "knee": None if chosen is None else chosen.key,
        "front": [_front_trial(trial) for trial in front],
    }


def _front_trial(trial: TrialRecord) -> dict[str, Any]:
    value: dict[str, Any] = {
        "key": trial.key,
        "label": trial.label,
        "parameters": _finite(trial.parameters),
        "metrics": _finite(trial.metrics),
        "active": list(trial.active),
    }
    if trial.curve:
        value["curve"] = [_finite(point) for point in trial.curve]
    return value


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def write_file(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
