"""What is drawn again and again until a sweep ends."""

import time
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console, RenderableType
from rich.live import Live

Look = Callable[[], tuple[RenderableType, bool]]
"""What there is to see now, and whether it stays so."""

_PERIOD = 3.0  # seconds between two looks


def redraw(look: Look, console: Console) -> None:
    """Draws what there is to see every few seconds, until it stays as it is or a person interrupts."""
    shown, over = look()
    with suppress(KeyboardInterrupt), Live(shown, console=console, auto_refresh=False) as live:
        while not over:
            time.sleep(_PERIOD)
            shown, over = look()
            live.update(shown, refresh=True)
