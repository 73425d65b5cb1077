"""Whose a sweep is: a word beside the spaces that were handed in."""

from pathlib import Path


class Owners:
    """The names of those who have submitted sweeps, a file a sweep."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, sweep: str) -> str | None:
        """Who owns a sweep; None where it was not submitted here."""
        try:
            return (self._folder / sweep).read_text().strip() or None
        except FileNotFoundError:
            return None

    def note(self, sweep: str, owner: str) -> None:
        """Notes whose a sweep is."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / sweep).write_text(f"{owner}\n")
