"""The report as one HTML page that needs nothing but itself."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from sweeper.report import counted, words
from sweeper.report.advice import advice
from sweeper.report.blocks_plot import blocks_plot
from sweeper.report.confidence import OBJECTIVES
from sweeper.report.confirmed import Confirmed, confirmed, verdicts
from sweeper.report.grid import Grid, grids, shares
from sweeper.report.groups import NEAR
from sweeper.report.notable import MOST
from sweeper.report.parameter_plots import LINES, parameter_plots
from sweeper.report.plots import front_plot, hypervolume_plot
from sweeper.report.points import points, spots
from sweeper.report.rows import (
    best_columns,
    best_rows,
    columns,
    confirmed_columns,
    confirmed_rows,
    pre_trained,
    probe_names,
    rows,
)
from sweeper.report.searched import ENOUGH, Searched
from sweeper.study.blocks import enough_blocks
from sweeper.study.front import REFERENCE_POINT, dominating, hypervolume, on_front, recommended
from sweeper.study.records import SweepRecord, TrialRecord


def page(record: SweepRecord, recommended_command: str | None = None) -> str:
    """The page as text.

    Whatever the record holds is shown as text and never runs: the templates escape it, figures travel as
    JSON with markup escaped, and the page's own policy lets no script run but the two it ships, known by
    their hashes, and opens no connection.

    Args:
        recommended_command: the command that trains the recommended trial again.
    """
    return render("page.html.jinja", **_content(record, recommended_command))


def render(template: str, **content: Any) -> str:
    """A page of a template, with its plots and tables."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [get_plotlyjs(), environment.get_template("script.js.jinja").render()]
    return environment.get_template(template).render(
        **content,
        style=Markup(environment.get_template("style.css.jinja").render()),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
    )


def _policy(scripts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _content(record: SweepRecord, command: str | None) -> dict[str, Any]:
    front = on_front(record)
    chosen = recommended(record)
    shown, best = columns(record), best_columns(record)
    searched = Searched.of(record)
    figures = _figures(record, searched)
    return {
        "name": record.name,
        "facts": _facts(record),
        "recommended": None if chosen is None else _recommended(record, chosen),
        "enough": enough_blocks(record),
        "better": [] if chosen is None else [row.label for row in dominating(record.baselines, chosen)],
        "ties": counted.ties(record),
        "command": command,
        "no_front": words.no_front(record),
        "figures": figures,
        "advice": advice(record, searched),
        "searched": searched,
        "needed": ENOUGH,
        "lines": LINES,
        **_parameters(searched, figures),
        "hypervolume": words.figure(hypervolume(record, front), 4),
        "reference_hypervolume": _reference_hypervolume(record),
        "reference_point": REFERENCE_POINT,
        "probes": probe_names(record),
        "cards": _cards(record, front, chosen),
        "columns": shown,
        "rows": rows(record, shown),
        "trials": len(record.trials),
        "most": MOST,
        "best_columns": best,
        "best_rows": best_rows(record, best),
        "near": NEAR,
        "curves": any(row.curve for row in (*record.trials, *record.baselines)),
        "closing": words.closing(record),
        "stopped": any(trial.state == "pruned" for trial in record.trials),
        **_confirmed(record),
    }


def _confirmed(record: SweepRecord) -> dict[str, Any]:
    """The table of confirmed trials, what can be said of them, and (label, reason) of runs that failed."""
    found, shown = confirmed(record), confirmed_columns()
    return {
        "confirmed_columns": shown,
        "confirmed_rows": confirmed_rows(record, shown),
        "verdicts": verdicts(found),
        "failed": [(run.label, run.reason or "for no known reason") for one in found for run in one.failed],
        "means": bool(points(record).means),
    }


def _parameters(searched: Searched, figures: Mapping[str, Any]) -> dict[str, Any]:
    """A row a parameter, the most important first; what they explain together; the plots' widths."""
    importances, explained = [], []
    if searched.enough:
        shares = [searched.importances[objective] for objective in OBJECTIVES]
        names = sorted(searched.domains, key=lambda name: -sum(share.get(name, 0.0) for share in shares))
        importances = [[name, *(words.figure(share.get(name)) for share in shares)] for name in names]
        explained = [words.figure(searched.explained[objective]) for objective in OBJECTIVES]
    layouts = {name: figure["layout"] for name, figure in figures.items()}
    wide = {name: layout["meta"]["width"] for name, layout in layouts.items() if "meta" in layout}
    return {"importances": importances, "explained": explained, "parameter_figures": wide}


def _facts(record: SweepRecord) -> list[tuple[str, str]]:
    return [
        ("model", words.model(record)),
        ("ID task", words.task(record)),
        *([("mean per class", ", ".join(per_class))] if (per_class := words.means_per_class(record)) else []),
        *([("counted on", numbers)] if (numbers := counted.pictures(record)) else []),
        ("budget", words.budget(record)),
        ("mode", words.mode(record.mode, record.budget)),
        ("progress", words.counts(record)),
        *([("left out", words.damaged(record))] if record.damaged else []),
    ]


def _recommended(record: SweepRecord, trial: TrialRecord) -> dict[str, Any]:
    return {
        "label": trial.label,
        "figures": [
            ("ID accuracy", f"{counted.accuracy(record, trial.metrics, 'id_accuracy')} %"),
            ("forgetting", f"{words.figure(trial.metrics.get('forgetting'))} pp"),
            ("active blocks", words.active(record, trial)),
        ],
        "parameters": [(name, words.setting(value, record)) for name, value in trial.parameters.items()],
        "active": trial.active,
        "confirmed": next((_means(one) for one in confirmed(record) if one.trial is trial), ""),
    }


def _means(one: Confirmed) -> str:
    """The recommended trial's means in a sentence; empty while there is no interval."""
    accuracy, forgetting = one.interval("id_accuracy"), one.interval("forgetting")
    if len(one.finished) < 2:
        return ""
    return (
        f"Trained again with {len(one.finished)} other seeds: ID accuracy {words.interval(accuracy)} %, "
        f"forgetting {words.interval(forgetting)} pp (mean and 95 % confidence interval)."
    )


def _figures(record: SweepRecord, searched: Searched) -> dict[str, Any]:
    """The plots that have something to show, by the id of the place where they are drawn."""
    shown = points(record)
    figures: dict[str, Any] = {}
    if spots(shown):
        figures["front-plot"] = json.loads(front_plot(record).to_json())
    if (blocks := blocks_plot(record)) is not None:
        figures["blocks-plot"] = json.loads(blocks.to_json())
    if any(trial.feasible for trial in record.trials):
        figures["hypervolume-plot"] = json.loads(hypervolume_plot(record).to_json())
    for name, figure in parameter_plots(searched):
        figures[name] = json.loads(figure.to_json())
    return figures


def _reference_hypervolume(record: SweepRecord) -> str | None:
    """Hypervolume of the pre-trained model alone, where it has been measured."""
    if "id_accuracy" not in record.reference or "retained_accuracy" not in record.reference:
        return None
    return words.figure(hypervolume(record, [pre_trained(record.reference)]), 4)


def _cards(record: SweepRecord, front: list[TrialRecord], chosen: TrialRecord | None) -> list[dict[str, Any]]:
    """One card a front trial; before them, where there are several, how often each block is active."""
    cards = [
        {
            "title": f"trial {trial.label}",
            "knee": trial is chosen,
            "note": f"{words.figure(trial.metrics.get('id_accuracy'))} %, "
            f"{words.figure(trial.metrics.get('forgetting'))} pp, {words.active(record, trial)} active",
            "grids": _grids(record, [trial]),
            "closing_order": words.short_blocks(record, trial.closing_order),
        }
        for trial in front
    ]
    if len(front) < 2:
        return cards
    summary = {
        "title": f"all {len(front)} trials of the front",
        "knee": False,
        "note": "share of trials",
        "closing_order": [],
    }
    return [{**summary, "grids": _grids(record, front)}, *cards]


def _grids(record: SweepRecord, trials: list[TrialRecord]) -> list[Grid]:
    return grids(record.blocks, shares(record.blocks, [trial.active for trial in trials]))
