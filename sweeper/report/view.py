"""Which part of the plane of forgetting and ID accuracy a plot shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.report.points import Points, place, spots

Spot = tuple[float, float]
Range = tuple[float, float]

#: About what the axes span on a page of usual width, in pixels.
WIDTH, HEIGHT = 1055.0, 410.0
_MARGIN = 0.075  # of what is shown, on either side
#: How far a view of the front reaches beyond it, in its own extents: the front is a fifth of it at least.
_REACH = 2.0
_LEAST = 2.0  # percentage points that a front extends over, also one of a single point


@dataclass(frozen=True)
class View:
    """Ranges of forgetting (x, percentage points) and of ID accuracy (y, percent)."""

    x: Range
    y: Range

    @classmethod
    def around(cls, shown: Sequence[Spot]) -> "View":
        """What holds all spots, with a margin; at least one spot."""
        x, y = (_with_margin([spot[axis] for spot in shown]) for axis in (0, 1))
        return cls(x, y)

    def holds(self, spot: Spot) -> bool:
        """Whether a spot is shown."""
        return self.nearest(spot) == spot

    def nearest(self, spot: Spot) -> Spot:
        """The spot of the view that is nearest to any spot."""
        x, y = (min(max(value, low), high) for value, (low, high) in zip(spot, (self.x, self.y), strict=True))
        return x, y

    def to_pixels(self, spot: Spot) -> Spot:
        """Where a spot is drawn, in pixels from the lower left corner."""
        return _share(spot[0], self.x) * WIDTH, _share(spot[1], self.y) * HEIGHT


def everything(shown: Points) -> View:
    """A view of all that has been measured; of the unit square where nothing has."""
    return View.around(spots(shown) or [(0.0, 0.0)])


def near_front(shown: Points) -> View | None:
    """A view of the front and of what lies around it; None where there is no front.

    Nor is there one where it would be of everything, or of less than half.
    """
    if not shown.front:
        return None
    front = [place(row) for row in shown.front] + [spot for mean in shown.means for spot in mean.spots]
    limits = View(*(_reach([spot[axis] for spot in front]) for axis in (0, 1)))
    every = spots(shown)
    near = [spot for spot in every if limits.holds(spot)]
    return View.around(near) if len(every) / 2 <= len(near) < len(every) else None


def _reach(values: Sequence[float]) -> Range:
    low, high = min(values), max(values)
    extent = max(high - low, _LEAST)
    return low - _REACH * extent, high + _REACH * extent


def _with_margin(values: Sequence[float]) -> Range:
    margin = _MARGIN * (max(values) - min(values)) or 1.0
    return min(values) - margin, max(values) + margin


def _share(value: float, within: Range) -> float:
    return (value - within[0]) / (within[1] - within[0])
