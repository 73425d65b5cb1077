"""Pictures in class folders."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from trainables.data.listing import PICTURES, holds_pictures, in_order, picture_files, subfolders
from trainables.data.meant import meant_above, meant_below
from trainables.data.pictures import Listed, file_pictures
from trainables.data.splits import SPELLINGS, WHOLE
from trainables.errors import MissingError, ProblemError, warn
from trainables.sections import DataSet
from trainables.written import expanded

_SPLIT_OF = {word: split for split, words in SPELLINGS.items() for word in words}
_SPLIT_NAME = re.compile(rf"({'|'.join(_SPLIT_OF)})(?:[-_ .]?(?:set|data|images))?")
_SOME = 4  # names that a message gives


@dataclass(frozen=True)
class FolderSet:
    """A folder of class folders, or several of them with the same classes.

    Attributes:
        folders: the folder that holds the class folders of each of the set's own splits; `WHOLE` if one.
        classes: names of the class folders, in the order of their labels.
        where: the path, as the source has it.
    """

    folders: Mapping[str, Path]
    classes: tuple[str, ...]
    where: str

    @property
    def split_names(self) -> Collection[str]:
        """The set's own splits."""
        return self.folders.keys()

    def listed(self, split: str) -> Listed:
        """List the pictures of an own split.

        Raises:
            ProblemError: a class folder has none.
        """
        folder = self.folders[split]
        found = [picture_files(folder / name) for name in self.classes]
        kinds = ", ".join(PICTURES)
        if not any(found):
            raise ProblemError(f"path: {folder} holds no picture at all ({kinds})")
        for name, files in zip(self.classes, found, strict=True):
            if not files:
                raise ProblemError(f"path: {folder / name} holds no picture ({kinds}); {_instead_of(folder)}")
        labels = np.repeat(np.arange(len(found)), [len(files) for files in found])
        return Listed(file_pictures(folder, list(chain.from_iterable(found))), labels)


def open_folder(source: DataSet) -> FolderSet:
    """Look at a folder as torchvision's ImageFolder does, or at its train, val and test folders.

    Raises:
        MissingError: there is no such folder.
        ProblemError: it holds no classes, or only one, or others in another split; or it is not clear which.
    """
    assert source.path is not None
    folders = _split_folders(source.path)
    if source.split is not None and "" not in folders:
        raise ProblemError(f"split: {source.path} has folders for its splits already; remove split")
    classes = {split: _classes(folder) for split, folder in folders.items()}
    first = next(iter(folders))
    for split in folders:
        if differ := sorted(set(classes[split]) ^ set(classes[first])):
            raise ProblemError(
                f"path: {folders[split]} has other class folders than {folders[first]}: {_some(differ)}"
            )
    return FolderSet(folders, classes[first], source.path)


def _split_folders(path: str) -> dict[str, Path]:
    """Find the folder of each own split: in place of the placeholder, or below the path, or the path."""
    whole = Path(expanded(path, "path")).absolute()
    marked = "{split}" in path
    if not marked and not whole.is_dir():
        raise MissingError(f"path: no such folder: {whole}")
    candidates = _spelled_out(str(whole)) if marked else _named_like_splits(whole)
    found = {split: folders for split, folders in candidates.items() if folders}
    for split, (folder, *others) in found.items():
        if others:
            raise ProblemError(
                f"path: {folder} and {others[0]} could both be {split}; rename the one that is not meant"
            )
    if marked and not found:
        above = next(folder for folder in whole.parents if "{split}" not in str(folder))
        names = _some([folder.name for folder in subfolders(above)]) if above.is_dir() else ""
        hint = f"; the folders in {above} are {names}" if names else ""
        raise MissingError(f"path: no such folder: {str(whole).replace('{split}', 'train')}{hint}")
    splits = {split: folders[0] for split, folders in found.items()}
    if splits and not marked:
        _look_beside(whole, splits)
    return splits or {WHOLE[0]: whole}


def _spelled_out(whole: str) -> dict[str, list[Path]]:
    """The folders that are there with the words for each split, however they are written, as placeholder."""

    def present(words: Collection[str]) -> Iterator[Path]:
        for word in words:
            for spelling in (word, word.capitalize(), word.upper()):
                folder = Path(whole.replace("{split}", spelling))
                # The name as it is on disk, since some file systems do not tell cases apart.
                if folder.is_dir() and not any(folder.samefile(other) for other in found):
                    found.append(folder)
                    yield folder

    found: list[Path] = []
    return {split: list(present(words)) for split, words in SPELLINGS.items()}


def _named_like_splits(whole: Path) -> dict[str, list[Path]]:
    """The folders named like splits; a class may be called train too, so only those with folders in them."""
    found: dict[str, list[Path]] = {split: [] for split in SPELLINGS}
    for folder in subfolders(whole):
        split = _split_of(folder.name)
        if split is not None and subfolders(folder):
            found[split].append(folder)
    return found


def _split_of(name: str) -> str | None:
    """Which split a folder of this name is."""
    match = _SPLIT_NAME.fullmatch(name.lower())
    return _SPLIT_OF[match[1]] if match else None


def _look_beside(whole: Path, splits: Mapping[str, Path]) -> None:
    """Refuse class folders beside those of splits, and say what else is not used."""
    others = [folder for folder in subfolders(whole) if folder not in splits.values()]
    filled = [folder for folder in others if holds_pictures(folder)]
    classes = [folder.name for folder in filled if _split_of(folder.name) is None]
    if classes:
        names = ", ".join(folder.name for folder in splits.values())
        raise ProblemError(
            f"path: {whole} has folders for splits ({names}) beside class folders ({_some(classes)}); "
            f"give {whole / '{split}'} to use the splits alone"
        )
    for folder in filled:
        warn(f"{folder} holds pictures but no class folders; it is not used")


def _classes(folder: Path) -> tuple[str, ...]:
    """Names of the class folders, in order."""
    inside = subfolders(folder)
    names = in_order([each.name for each in inside])
    if not names:
        raise ProblemError(f"path: {folder} has no class folders; {_folder_above(folder)}")
    if len(names) == 1:
        raise ProblemError(f"path: {folder} has one class folder only ({names[0]}); {_folder_below(folder)}")
    splits = {split for name in names if (split := _split_of(name))}
    if len(splits) > 1:
        raise ProblemError(
            f"path: {folder} has folders named like splits ({_some(names)}) without class folders in them; "
            "expects a folder a class in each"
        )
    shared = _shared_folders(inside)
    if len(shared) > 1:
        splits_inside = any(map(_split_of, shared))
        one = "" if splits_inside else f", such as {inside[0]}, if those are the classes"
        raise ProblemError(
            f"path: all folders in {folder} ({_some(names)}) have the same folders in them "
            f"({_some(shared)}); give the path of one folder of class folders{one}"
        )
    if not any(map(holds_pictures, inside)) and (meant := meant_below(folder)):
        warn(f"the classes of {folder} are {_some(names)}, each with folders in it; did you mean {meant}?")
    return names


def _instead_of(folder: Path) -> str:
    """What to give in place of a folder of which not every folder is a class."""
    if meant := meant_below(folder):
        return f"did you mean {meant}?"
    return "put the class's pictures there, or give a path to a folder in which every folder is a class"


def _folder_above(folder: Path) -> str:
    """What to give in place of a folder without class folders."""
    # Above an empty folder anything may lie.
    if not holds_pictures(folder) or not (meant := meant_above(folder)):
        return "expects a folder a class, or train, val and test"
    return f"its pictures are of one class; did you mean {meant}?"


def _folder_below(folder: Path) -> str:
    """What to give in place of a folder with one folder in it."""
    meant = meant_below(folder)
    return f"did you mean {meant}?" if meant else "a task has two or more"


def _shared_folders(folders: Collection[Path]) -> list[str]:
    """Names of folders that all of these have in them, while none has pictures of its own."""
    if any(holds_pictures(folder) for folder in folders):
        return []
    inside = [{each.name for each in subfolders(folder)} for folder in folders]
    return sorted(set.intersection(*inside))


def _some(names: Collection[str]) -> str:
    """The first of the names."""
    shown = ", ".join(list(names)[:_SOME])
    return f"{shown}, ..." if len(names) > _SOME else shown
