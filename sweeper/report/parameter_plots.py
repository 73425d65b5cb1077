"""What the parameters do: Optuna's slices and parallel coordinates, in the look of the other plots."""

from collections.abc import Iterator

import optuna
import plotly.graph_objects as go

from sweeper.report.plots import FONT
from sweeper.report.searched import Searched

#: Lines that a browser draws, and a person follows; the latest trials of more.
LINES = 200
_NAMES = {"id_accuracy": "ID accuracy (%)", "forgetting": "forgetting (pp)"}
_COLUMN = 300  # pixels that a parameter needs


def parameter_plots(searched: Searched) -> Iterator[tuple[str, go.Figure]]:
    """Slices, then parallel coordinates, of each objective; each with the id of its place on the page.

    None where fewer than two trials are complete, or none of their parameters could differ.
    """
    names = [name for name in searched.domains if searched.asked_for(name, searched.trials)]
    if len(searched.trials) < 2 or not names:
        return
    for objective, study in searched.studies.items():
        figure = optuna.visualization.plot_slice(study, names, target_name=_NAMES[objective])
        yield f"slice-{objective}", _dressed(figure, len(names))
    few = Searched(searched.domains, searched.trials[-LINES:], searched.number)
    common = few.common  # a line has a value of each
    for objective, study in few.studies.items() if common else ():
        figure = optuna.visualization.plot_parallel_coordinate(study, common, target_name=_NAMES[objective])
        yield f"parallel-{objective}", _dressed(figure, len(common) + 1)


def _dressed(figure: go.Figure, columns: int) -> go.Figure:
    """The figure without a title, its names cut to what fits; a narrow screen scrolls it sideways."""
    figure.update_layout(
        template=go.layout.Template(),
        title=None,
        height=320,
        margin={"l": 64, "r": 16, "t": 32, "b": 56},
        font={"family": FONT, "size": 12, "color": "#1f2328"},
        paper_bgcolor="white",
        plot_bgcolor="white",
        meta={"width": columns * _COLUMN},
    )
    return figure
