"""How a process of the sweeper starts."""

import gc

# Python's own 700 are set for programs that make much garbage.
_ALLOCATIONS = 100_000


def quick_imports() -> None:
    """To be called before the heavy imports: to look for garbage would be a quarter of their time."""
    gc.set_threshold(_ALLOCATIONS)
