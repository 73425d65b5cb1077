"""Pictures in class folders."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from trainables.data.pictures import Listed, file_pictures
from trainables.data.splits import WHOLE
from trainables.errors import MissingError, ProblemError
from trainables.written import expanded

_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class FolderSet:
    """A folder of class folders, or several of them with the same classes.

    Attributes:
        folders: the folder that holds the class folders of each of the set's own splits; `WHOLE` if one.
        classes: names of the class folders, sorted: a class's place is its label.
        where: the path, as the source has it.
    """

    folders: Mapping[str, Path]
    classes: tuple[str, ...]
    where: str

    @property
    def own(self) -> Collection[str]:
        """The set's own splits."""
        return self.folders.keys()

    def listed(self, own: str) -> Listed:
        """List the pictures of an own split.

        Raises:
            ProblemError: a class folder has none.
        """
        folder = self.folders[own]
        labels = {name: label for label, name in enumerate(self.classes)}
        found = make_dataset(str(folder), labels, IMG_EXTENSIONS, allow_empty=True)
        filled = {label for _, label in found}
        bare = [name for name, label in labels.items() if label not in filled]
        kinds = ", ".join(IMG_EXTENSIONS)
        if not found:
            raise ProblemError(f"path: {folder} holds no picture at all ({kinds})")
        if bare:
            raise ProblemError(f"path: {folder / bare[0]} holds no picture ({kinds}); add some or remove it")
        pictures = file_pictures(folder, [file for file, _ in found])
        return Listed(pictures, np.array([label for _, label in found], dtype=np.int64))


def open_folder(source: Mapping[str, Any]) -> FolderSet:
    """Look at a folder as torchvision's ImageFolder does, or at its train, val and test folders.

    Raises:
        MissingError: there is no such folder.
        ProblemError: it holds no classes, or only one, or others in another split.
    """
    folders = _split_folders(source["path"])
    if source["split"] is not None and "" not in folders:
        raise ProblemError(f"split: {source['path']} has folders for its splits already; remove split")
    classes = {own: _class_folders(folder) for own, folder in folders.items()}
    first = next(iter(folders))
    for own in folders:
        if differ := sorted(set(classes[own]) ^ set(classes[first])):
            raise ProblemError(
                f"path: {folders[own]} has other class folders than {folders[first]}: {', '.join(differ[:4])}"
            )
    if not classes[first]:
        raise ProblemError(
            f"path: {folders[first]} has no class folders; expects a folder a class, or train, val and test"
        )
    if len(classes[first]) == 1:
        raise ProblemError(
            f"path: {folders[first]} has one class folder only ({classes[first][0]}); a task has two or more"
        )
    return FolderSet(folders, classes[first], source["path"])


def _split_folders(path: str) -> dict[str, Path]:
    """Find the folder of each own split: in place of the placeholder, or below the path, or the path."""
    whole = Path(expanded(path, "path")).absolute()
    marked = "{split}" in path
    candidates = {
        own: [Path(str(whole).replace("{split}", name)) if marked else whole / name for name in names]
        for own, names in _FOLDERS.items()
    }
    # A class may be called train too: a split's folder is one that has class folders in it.
    found = {
        own: folder
        for own, folders in candidates.items()
        for folder in reversed(folders)
        if folder.is_dir() and (marked or _class_folders(folder))
    }
    if found:
        return found
    if marked or not whole.is_dir():
        raise MissingError(f"path: no such folder: {candidates['train'][0] if marked else whole}")
    return {WHOLE[0]: whole}


def _class_folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(e.name for e in folder.iterdir() if e.is_dir() and not e.name.startswith(".")))
