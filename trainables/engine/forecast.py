"""What a price takes from scores, and where they are expected to end."""

from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor

from trainables.sections import GatedSettings


class Pressure:
    """What a price of 1 takes from each score of a member: the sum of score_lr * share * pull over the steps.

    Args:
        rate: score_lr, the learning rate of the scores.
        pull: by how much a price of 1 pulls at every score.
        shares: which share of its learning rate each step takes.
        first: steps before the price is asked.
        last: steps after which the scores stay.
    """

    def __init__(self, rate: float, pull: float, shares: Sequence[float], first: int, last: int) -> None:
        self._sums = [0.0, *accumulate(shares)]
        self._strength = rate * pull
        self._last = min(last, len(shares))
        self._first = min(first, self._last)

    def until(self, step: int) -> float:
        """After so many steps."""
        reached = max(self._first, min(step, self._last))
        return self._strength * (self._sums[reached] - self._sums[self._first])

    @property
    def at_the_end(self) -> float:
        """Over the whole training."""
        return self.until(self._last)


def expected_active(scores: Tensor, settings: GatedSettings, now: float, end: float) -> int:
    """How many of a member's scores (N,) are expected to end at their threshold or above it.

    With the pressure P (`Pressure`) and the push of the task so far, u = s - s0 + lambda P_now, a score is
    expected to end at

        s0 - lambda P_end + u P_end / P_now

    Args:
        scores: as they are.
        settings: of the method.
        now: P_now, above zero.
        end: P_end.
    """
    if end > now:  # Else rounding could move a score over its threshold.
        start, taken = settings.initial_score, settings.lambda_ * now
        push = scores - start + taken
        scores = start + (push - taken) * (end / now)
    return int((scores >= settings.threshold).sum())
