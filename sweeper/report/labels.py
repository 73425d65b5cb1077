"""Where the names of points go on a plot, so that no two lie on each other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sweeper.report.points import FRONT, PRE_TRAINED, Points, place

LONGEST = 24
#: Half the side of a marker, and the spaces tried between a marker and its name, in pixels.
_MARKER, _GAPS = 6.0, (3.0, 16.0, 32.0, 48.0, 64.0)

Spot = tuple[float, float]


class Box(NamedTuple):
    """A rectangle in pixels; y grows upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "Box") -> bool:
        """Whether the two overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def holds(self, other: "Box") -> bool:
        """Whether the other lies inside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.bottom <= other.bottom and other.top <= self.top


class Label(NamedTuple):
    """A name to be written beside a point: its place and the size of its text, in pixels."""

    x: float
    y: float
    width: float
    height: float


def shifts(labels: Sequence[Label], markers: Iterable[Spot], area: Box) -> list[Spot | None]:
    """How far each name's centre is moved from its point, in pixels; None where there is no room for it.

    One after the other, each name takes the nearest place around its point that is inside the area and free
    of earlier names and of markers. So the first label has the best chance.
    """
    taken = [_around(x, y, 2 * _MARKER, 2 * _MARKER) for x, y in markers]
    found: list[Spot | None] = []
    for label in labels:
        place = next((shift for shift in _places(label) if _is_free(_moved(label, shift), taken, area)), None)
        if place is not None:
            taken.append(_moved(label, place))
        found.append(place)
    return found


def _places(label: Label) -> Iterator[Spot]:
    """At each distance above, below, right, left, then the corners."""
    for gap in _GAPS:
        across = _MARKER + gap + label.width / 2
        up = _MARKER + gap + label.height / 2
        yield from ((0.0, up), (0.0, -up), (across, 0.0), (-across, 0.0))
        yield from ((across, up), (-across, up), (across, -up), (-across, -up))


def _is_free(box: Box, taken: Iterable[Box], area: Box) -> bool:
    return area.holds(box) and not any(box.meets(other) for other in taken)


def _moved(label: Label, shift: Spot) -> Box:
    return _around(label.x + shift[0], label.y + shift[1], label.width, label.height)


def _around(x: float, y: float, width: float, height: float) -> Box:
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


class Name(NamedTuple):
    """A name on the plot.

    Attributes:
        spot: the point that bears it, as (forgetting, ID accuracy).
        shift: how far the text's centre is from that point, in pixels.
        led: whether a line is needed to tell where it belongs.
    """

    spot: Spot
    text: str
    colour: str
    shift: Spot
    led: bool


def names(shown: Points, to_pixels: Callable[[Spot], Spot], area: Box, letter: Spot) -> list[Name]:
    """The names of the pre-trained point, of each mean and of each baseline at its best, where there is room.

    A baseline on the pre-trained point needs no name.

    Args:
        to_pixels: from (forgetting, ID accuracy) to a place in the area.
        letter: width and height of a letter in pixels.
    """
    bearers = [(place(baseline.best), baseline.label, baseline.colour) for baseline in shown.baselines]
    if shown.pre_trained is not None:
        own = (0.0, shown.pre_trained)
        bearers = [(own, "pre-trained", PRE_TRAINED), *(b for b in bearers if not _same(b[0], own))]
    bearers = [*((mean.place, f"mean of trial {mean.label}", FRONT) for mean in shown.means), *bearers]
    wanted = [
        Label(*to_pixels(spot), letter[0] * min(len(text), LONGEST), letter[1]) for spot, text, _ in bearers
    ]
    markers = [spot for spot, _, _ in bearers]
    markers += [place(row) for row in (*shown.front, *(r for b in shown.baselines for r in b.runs))]
    markers += [spot for mean in shown.means for spot in mean.spots]
    found = shifts(wanted, [to_pixels(spot) for spot in dict.fromkeys(markers)], area)
    return [
        Name(*bearer, shift, led=shift not in islice(_places(label), 8))
        for bearer, label, shift in zip(bearers, wanted, found, strict=True)
        if shift is not None
    ]


def _same(one: Spot, other: Spot) -> bool:
    """Whether two points are one at the two decimals that the report shows."""
    return all(round(a, 2) == round(b, 2) for a, b in zip(one, other, strict=True))
