"""Where the names of points go on a plot, so that no two lie on each other."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sweeper.report import words
from sweeper.report.points import FRONT, PRE_TRAINED, Points, place
from sweeper.report.view import HEIGHT, WIDTH, Spot, View

LONGEST = 24
#: Half the side of a marker, and the spaces tried between a marker and its name, in pixels.
_MARKER, _GAPS = 6.0, (3.0, 16.0, 32.0, 48.0, 64.0)

_ARROWS = {
    (1, 0): "→",
    (-1, 0): "←",
    (0, 1): "↑",
    (0, -1): "↓",
    (1, 1): "↗",
    (-1, 1): "↖",
    (1, -1): "↘",
    (-1, -1): "↙",
}
_ALONG = 20  # places that are tried on either side along the rim


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
    """A name to be written beside a point: its place and the size of its text, in pixels.

    `beyond` tells in which direction its point lies outside, if it does; then `x` and `y` are on the rim.
    """

    x: float
    y: float
    width: float
    height: float
    beyond: tuple[int, int] = (0, 0)


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
    """At each distance above, below, right, left, then the corners; of what lies outside, along the rim."""
    if any(label.beyond):
        yield from _along_rim(label)
        return
    for gap in _GAPS:
        across = _MARKER + gap + label.width / 2
        up = _MARKER + gap + label.height / 2
        yield from ((0.0, up), (0.0, -up), (across, 0.0), (-across, 0.0))
        yield from ((across, up), (-across, up), (across, -up), (-across, -up))


def _along_rim(label: Label) -> Iterator[Spot]:
    """Just inside the rim, beside each other from where the point would be."""
    right, up = label.beyond
    inwards = (-right * (label.width / 2 + 2), 0.0) if right else (0.0, -up * (label.height / 2 + 2))
    aside = (0.0, label.height + 2) if right else (label.width + 8, 0.0)
    for step in sorted(range(-_ALONG, _ALONG + 1), key=abs):
        yield inwards[0] + step * aside[0] / 2, inwards[1] + step * aside[1] / 2


def _is_free(box: Box, taken: Iterable[Box], area: Box) -> bool:
    return area.holds(box) and not any(box.meets(other) for other in taken)


def _moved(label: Label, shift: Spot) -> Box:
    return _around(label.x + shift[0], label.y + shift[1], label.width, label.height)


def _around(x: float, y: float, width: float, height: float) -> Box:
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


class Name(NamedTuple):
    """A name on the plot.

    Attributes:
        spot: the point that bears it, as (forgetting, ID accuracy); if it lies outside, that on the rim.
        shift: how far the text's centre is from that point, in pixels.
        led: whether a line is needed to tell where it belongs.
    """

    spot: Spot
    text: str
    colour: str
    shift: Spot
    led: bool


def names(shown: Points, view: View, letter: Spot = (7.0, 15.0)) -> list[Name]:
    """The names of the pre-trained point, of each mean and of each baseline at its best, where there is room.

    What lies outside the view is named at its rim, with its figures and an arrow. A baseline on the
    pre-trained point needs no name.

    Args:
        letter: width and height of a letter in pixels.
    """
    bearers = [(place(b.best), words.cut(b.label, LONGEST), b.colour) for b in shown.baselines]
    if shown.pre_trained is not None:
        own = (0.0, shown.pre_trained)
        bearers = [(own, "pre-trained", PRE_TRAINED), *(b for b in bearers if not _same(b[0], own))]
    bearers = [*((mean.place, f"mean of trial {mean.label}", FRONT) for mean in shown.means), *bearers]
    bearers = [(spot, _text(spot, text, view), colour) for spot, text, colour in bearers]
    wanted = [
        Label(*view.to_pixels(view.nearest(spot)), letter[0] * len(text), letter[1], _beyond(spot, view))
        for spot, text, _ in bearers
    ]
    markers = [spot for spot, _, _ in bearers]
    markers += [place(row) for row in (*shown.front, *(r for b in shown.baselines for r in b.runs))]
    markers += [spot for mean in shown.means for spot in mean.spots]
    visible = [view.to_pixels(spot) for spot in dict.fromkeys(markers) if view.holds(spot)]
    found = shifts(wanted, visible, Box(0.0, 0.0, WIDTH, HEIGHT))
    return [
        Name(view.nearest(spot), text, colour, shift, _led(label, shift))
        for (spot, text, colour), label, shift in zip(bearers, wanted, found, strict=True)
        if shift is not None
    ]


def _led(label: Label, shift: Spot) -> bool:
    """Whether a name stands so far from its point that a line leads to it."""
    return not any(label.beyond) and shift not in islice(_places(label), 8)


def _text(spot: Spot, name: str, view: View) -> str:
    """A name; of what lies outside the view with its figures, and an arrow to it."""
    if view.holds(spot):
        return name
    beyond = _beyond(spot, view)
    parts = [f"{name} {spot[1]:.1f} %, {spot[0]:.1f} pp", _ARROWS[beyond]]
    return " ".join(parts if beyond[0] >= 0 else reversed(parts))


def _beyond(spot: Spot, view: View) -> tuple[int, int]:
    """In which direction a spot lies outside the view: right or left, up or down."""
    right, up = ((a > b) - (a < b) for a, b in zip(spot, view.nearest(spot), strict=True))
    return right, up


def _same(one: Spot, other: Spot) -> bool:
    """Whether two points are one at the two decimals that the report shows."""
    return all(round(a, 2) == round(b, 2) for a, b in zip(one, other, strict=True))
