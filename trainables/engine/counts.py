"""How many blocks may be open after each step, where a count decides and no price."""

from bisect import bisect_right
from dataclasses import dataclass


def falling_count(done: float, blocks: int, count: int) -> int:
    """Blocks that are open when a share ``done`` of a ramp is over: from ``blocks`` to ``count``.

        b = count + (blocks - count) (1 - done)^3, rounded; ``count`` at the end of the ramp and after it

    Source: AdaLoRA's rank budget (arXiv 2303.10512, equation 12), without its warm-up.
    """
    return count + round((blocks - count) * (1 - min(1.0, done)) ** 3)


@dataclass(frozen=True)
class Fall:
    """One fall from all blocks to a count.

    Attributes:
        blocks: how many are open at the start.
        count: how many are left.
        steps: after which they are; from then on the gates stay as they are.
    """

    blocks: int
    count: int
    steps: int

    def at(self, step: int) -> int:
        """Open blocks after so many steps."""
        return falling_count(step / self.steps, self.blocks, self.count)

    def settled(self, step: int) -> bool:
        """Whether what is closed after so many steps stays closed."""
        return step >= self.steps


@dataclass(frozen=True)
class Path:
    """A training that goes through several counts, and rests at each.

    In the first half of a level the count falls to it, in the second half it rests.

    Attributes:
        counts: of the levels, falling; the first is all blocks.
        ends: the step at which each level ends.
    """

    counts: tuple[int, ...]
    ends: tuple[int, ...]

    def at(self, step: int) -> int:
        """Open blocks after so many steps."""
        level = min(bisect_right(self.ends, step), len(self.ends) - 1)
        if level == 0:
            return self.counts[0]
        start = self.ends[level - 1]
        half = max(1, (self.ends[level] - start) // 2)
        return falling_count((step - start) / half, self.counts[level - 1], self.counts[level])

    def settled(self, step: int) -> bool:
        """Whether what is closed after so many steps stays closed: where the count rests."""
        return self.at(step) in self.counts


def level_ends(steps: int, levels: int, dense: float) -> tuple[int, ...]:
    """The step at which each level of a path ends: the first one takes ``dense`` of all, the others alike.

    Raises:
        ValueError: there are fewer steps than levels need.
    """
    first = max(1, round(dense * steps))
    ends = [first + round((steps - first) * level / (levels - 1)) for level in range(1, levels)]
    if any(end <= start for start, end in zip([first, *ends], ends, strict=False)):
        raise ValueError(f"{levels} counts need {levels} steps of training, and there are {steps}")
    return (first, *ends)
