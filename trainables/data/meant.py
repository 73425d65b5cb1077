"""The folder of class folders that was meant, where the path leads one level too high or too low."""

from pathlib import Path

from trainables.data.listing import holds_pictures, subfolders
from trainables.data.splits import SPELLINGS
from trainables.errors import ProblemError

_LEVELS = 3  # looked at below a folder and above it

_SPLITS = frozenset(word for words in SPELLINGS.values() for word in words)


def meant_below(folder: Path) -> Path | None:
    """The folder nearest below one that would do in its place; of several, the first by name."""
    level = [folder]
    for _ in range(_LEVELS):
        level = [inner for outer in level for inner in _inside(outer)]
        if found := next((each for each in level if _would_do(each)), None):
            return found
    return None


def meant_above(folder: Path) -> Path | None:
    """The folder nearest above one that would do in its place; the folder of all splits before one split."""
    above = list(folder.parents[:_LEVELS])
    found = next((each for each in above if _has_classes(each)), None)
    return found.parent if found and found.name.lower() in _SPLITS and _has_splits(found.parent) else found


def _would_do(folder: Path) -> bool:
    return _has_classes(folder) or _has_splits(folder)


def _has_classes(folder: Path) -> bool:
    """Whether pictures lie in two or more of its folders, and none in the folder itself."""
    return not _holds_pictures(folder) and sum(map(_holds_pictures, _inside(folder))) > 1


def _has_splits(folder: Path) -> bool:
    splits = [inner for inner in _inside(folder) if inner.name.lower() in _SPLITS]
    return any(map(_has_classes, splits))


def _inside(folder: Path) -> list[Path]:
    """A folder's folders; of one that cannot be read, none."""
    try:
        return subfolders(folder)
    except ProblemError:
        return []


def _holds_pictures(folder: Path) -> bool:
    try:
        return holds_pictures(folder)
    except ProblemError:
        return False
