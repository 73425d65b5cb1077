"""How a person is told something."""

from rich.console import Console


def say(console: Console, *lines: object) -> None:
    """Prints lines as they are, however long: brackets are no markup, figures get no colour."""
    console.print(*lines, sep="\n", markup=False, highlight=False, soft_wrap=True)
