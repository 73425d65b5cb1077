"""The plot of what one more block buys."""

from dataclasses import replace

from made_up import BLOCKS, metrics_of, sweep

from sweeper.report.blocks_plot import blocks_plot


def test_every_number_of_blocks_is_drawn_and_ticks_leave_each_other_room() -> None:
    record = sweep()
    every = [
        replace(record.trials[0], key=f"trial-{n:04d}", metrics=metrics_of(50.0 + n, float(n), n))
        for n in range(len(BLOCKS) + 1)
    ]
    figure = blocks_plot(replace(record, trials=tuple(every)))
    assert figure is not None
    best = next(trace for trace in figure.data if trace.name == "search, best")
    assert len(best.x) == len(BLOCKS) + 1
    axis = figure.layout.xaxis
    assert (axis.ticktext[0], axis.ticktext[-1]) == ("0", "32") and axis.tickvals[0] == best.x[0] > 0
    assert all(b >= 1.2 * a for a, b in zip(axis.tickvals, axis.tickvals[1:], strict=False))
