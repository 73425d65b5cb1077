"""What each further active block buys, over the models that the trials of a sweep have left."""

import math

from sweeper.study.front import has_objectives, worth
from sweeper.study.records import SweepRecord, TrialRecord


def by_blocks(record: SweepRecord) -> dict[int, TrialRecord]:
    """The best complete model of the search at each number of active blocks, by rising number.

    The best covers most of the square of ID accuracy and retained accuracy, on validation splits. The budget
    is not asked.
    """
    best: dict[int, TrialRecord] = {}
    for model in record.models:
        if model.state == "complete" and has_objectives(model) and "active_blocks" in model.metrics:
            blocks = int(model.metrics["active_blocks"])
            if blocks not in best or worth(model.metrics) > worth(best[blocks].metrics):
                best[blocks] = model
    return dict(sorted(best.items()))


def enough_blocks(record: SweepRecord) -> int | None:
    """The number of active blocks after which a further one buys less: the knee of the best models' worth.

    Over the numbers n of `by_blocks`, let x be log(n), 0 at the fewest and 1 at the most, and y the worth, 0
    at the fewest and 1 at its highest. The knee is the number with the largest y - x: the maximum distance
    to the chord (Das, 1999). None with fewer than three numbers above zero, or where none is above the chord.
    """
    best = {blocks: worth(model.metrics) for blocks, model in by_blocks(record).items() if blocks}
    if len(best) < 3:
        return None
    low, high = best[min(best)], max(best.values())
    first, last = math.log(min(best)), math.log(max(best))
    above = {
        blocks: (value - low) / ((high - low) or 1.0) - (math.log(blocks) - first) / (last - first)
        for blocks, value in best.items()
    }
    knee = max(above, key=above.__getitem__)
    return knee if above[knee] > 1e-12 else None
