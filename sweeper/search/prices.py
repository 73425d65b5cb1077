"""At which price a trial would meet the budget, learned from other trials.

At a given rank the active blocks fall with the price, roughly as a power of it: log(active + 1) is close to a
line in log lambda. Each trial, also one under way, is a point near that line.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# What the line's slope is taken for while few points tell it, and its standard deviation. From the shipped
# CLIP, where it was between -0.9 (rank 16) and -2.6 (rank 1); at lower learning rates it is flatter.
_SLOPE, _SLOPE_DEVIATION = -1.7, 1.0
_STEEPEST, _FLATTEST = -5.0, -0.3
# How far a point may be off the line, in log(active + 1): by chance; where all its other values differ;
# at its first epoch; and for each unit that it is away from what is looked for, for the line is bent.
_NOISE, _OTHER_VALUES, _UNFINISHED, _FAR = 0.15, 0.25, 0.7, 0.5


@dataclass(frozen=True)
class Point:
    """What one trial tells.

    Attributes:
        log_price: log of its lambda.
        active: blocks that are active at its end, as measured or as expected.
        values: its other parameters.
        done: the share of its epochs that it has trained, up to 1.
    """

    log_price: float
    active: int
    values: Mapping[str, Any]
    done: float

    @property
    def height(self) -> float:
        """log(active + 1)."""
        return math.log(self.active + 1)

    def weight(self, target: float, values: Mapping[str, Any]) -> float:
        """1 / variance of its distance to the line, for a trial with such values and height ``target``."""
        differ = sum(self.values.get(name) != value for name, value in values.items()) / max(1, len(values))
        far = _FAR * (self.height - target)
        return math.hypot(_NOISE, _OTHER_VALUES * differ, _UNFINISHED * (1 - self.done), far) ** -2


def budget_interval(
    points: Sequence[Point], fewest: int, most: int, values: Mapping[str, Any]
) -> tuple[float, float]:
    """Ends of log lambda between which ``fewest`` to ``most`` blocks are expected to be active.

    Weighted least squares on the points, with a normal prior on the slope b:

        b = (sum w (x - mean x) (y - mean y) + b0 / d^2) / (sum w (x - mean x)^2 + 1 / d^2)

    There is at least one point.
    """
    ends = math.log(most + 1.5), math.log(fewest + 0.5)
    target = sum(ends) / 2
    x = np.array([point.log_price for point in points])
    y = np.array([point.height for point in points])
    weights = np.array([point.weight(target, values) for point in points])
    mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
    falls = (weights * (x - mean_x) * (y - mean_y)).sum() + _SLOPE / _SLOPE_DEVIATION**2
    slope = falls / ((weights * (x - mean_x) ** 2).sum() + 1 / _SLOPE_DEVIATION**2)
    slope = float(np.clip(slope, _STEEPEST, _FLATTEST))
    lower, upper = (float(mean_x + (end - mean_y) / slope) for end in ends)
    return lower, upper
