"""What is shown again and again until a sweep ends."""

import time
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console

Look = Callable[[], tuple[Callable[[], None], bool]]
"""What shows how things stand now, and whether they stay so."""

_PERIOD = 3.0  # seconds between two looks


def redraw(look: Look, console: Console) -> None:
    """Shows how things stand every few seconds, until they stay as they are or a person interrupts."""
    with suppress(KeyboardInterrupt):
        while True:
            show, over = look()
            console.clear()
            show()
            if over:
                return
            time.sleep(_PERIOD)
