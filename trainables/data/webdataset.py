"""WebDataset shards on disk: tar files of pictures and labels, in the layout of CLIP_benchmark or another."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainables.data.names import USUAL_TEMPLATES
from trainables.data.pictures import Listed
from trainables.data.shards import Shards, list_shards
from trainables.data.splits import SPELLINGS, WHOLE
from trainables.errors import MissingError, ProblemError
from trainables.sections import DataSet
from trainables.written import expanded

_CLASS_NAMES = "classnames.txt"
_TEMPLATES = "zeroshot_classification_templates.txt"
_COUNT = "nshards.txt"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class WebDatasetSet:
    """Shards of labelled pictures.

    Attributes:
        shards: of each of the set's own splits; `WHOLE` if it has none.
        classes: the lines of ``classnames.txt``; numbers where there is none.
        templates: the lines of ``zeroshot_classification_templates.txt``, or the usual one.
        where: the path, as the source has it.
    """

    shards: Mapping[str, Shards]
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    where: str

    @property
    def split_names(self) -> Collection[str]:
        """The set's own splits."""
        return self.shards.keys()

    def listed(self, split: str) -> Listed:
        """List the pictures of an own split.

        Raises:
            ProblemError: a shard cannot be read, or a label has no class name.
        """
        listed = list_shards(self.shards[split])
        highest = int(listed.labels.max(initial=-1))
        if highest >= len(self.classes):
            raise ProblemError(
                f"path: {self.where} has the label {highest}, but {_CLASS_NAMES} names "
                f"{len(self.classes)} classes, counted from 0"
            )
        return listed


def open_webdataset(source: DataSet) -> WebDatasetSet:
    """Look at a folder of shards, at its folders for train, val and test, or at a pattern of shards.

    Class names and templates are read from CLIP_benchmark's files beside the shards, or one folder above.

    Raises:
        MissingError: there are no shards, or one of those that are named is not there.
        ProblemError: a file beside the shards cannot be read.
    """
    assert source.path is not None
    shards = _split_shards(source.path)
    if source.split is not None and "" not in shards:
        if len(shards) > 1:
            raise ProblemError(f"split: {source.path} has shards for its splits already; remove split")
        shards = {WHOLE[0]: next(iter(shards.values()))}
    first = next(iter(shards.values()))[0].parent
    templates = tuple(line.replace("{c}", "{}") for line in _lines(first, _TEMPLATES))
    classes = _lines(first, _CLASS_NAMES) or tuple(map(str, range(_classes(shards.values()))))
    return WebDatasetSet(shards, classes, templates or USUAL_TEMPLATES, source.path)


def _split_shards(path: str) -> dict[str, Shards]:
    """The shards of each own split: in place of the placeholder, or below the path, or at the path."""
    whole = str(Path(expanded(path, "path")).absolute())
    marked = "{split}" in whole
    found: dict[str, Shards] = {}
    for split, names in SPELLINGS.items():
        for name in (spelling for word in names for spelling in (word, word.capitalize(), word.upper())):
            shards = _shards(whole.replace("{split}", name) if marked else f"{whole}/{name}")
            if shards and split in found and not shards[0].samefile(found[split][0]):
                raise ProblemError(
                    f"path: {found[split][0]} and {shards[0]} could both be of {split}; rename those that "
                    "are not meant"
                )
            if shards:
                found.setdefault(split, shards)
    if not found and not marked:
        found = _sorted_by_names(_shards(whole))
    if not found:
        raise MissingError(
            f"path: no shards in {whole}; expects a folder of .tar files, folders train and test of them, or "
            "a pattern such as shards/{split}-{000..012}.tar"
        )
    return found


def _sorted_by_names(shards: Shards) -> dict[str, Shards]:
    """The shards of one folder by the split that their names tell of; `WHOLE` if none tells of any."""
    found: dict[str, Shards] = {}
    for shard in shards:
        words = set(re.split(r"[^a-z]+", shard.stem.lower()))
        meant = [split for split, names in SPELLINGS.items() if not words.isdisjoint(names)]
        split = meant[0] if len(meant) == 1 else WHOLE[0]
        found[split] = (*found.get(split, ()), shard)
    if WHOLE[0] in found and len(found) > 1:
        raise ProblemError(
            f"path: the name of {found[WHOLE[0]][0]} does not tell its split, as others beside it do; "
            "move each split's shards into a folder train, val or test"
        )
    return found


def _shards(path: str) -> Shards:
    """The tar files in a folder, or of a pattern; none if there is no such thing.

    Raises:
        MissingError: some of those that ``nshards.txt`` counts or the pattern names are there, others not.
    """
    if path.endswith(".tar"):
        named = tuple(map(Path, _expanded(path)))
        return _all_there(named) if any(shard.exists() for shard in named) else ()
    folder = Path(path)
    if not (folder / _COUNT).is_file():
        return tuple(sorted(shard for shard in folder.glob("*.tar") if not shard.name.startswith(".")))
    count = (folder / _COUNT).read_text(encoding="utf-8").strip()
    if not count.isdecimal():
        raise ProblemError(f"path: {folder / _COUNT} holds no number of shards; write it, or remove the file")
    return _all_there(tuple(folder / f"{number}.tar" for number in range(int(count))))


def _expanded(pattern: str) -> Iterator[str]:
    """The names that a pattern with ranges such as ``{000..012}`` stands for, as long as the first bound."""
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    low, high = found.groups()
    for number in range(int(low), int(high) + 1):
        yield from _expanded(f"{pattern[: found.start()]}{number:0{len(low)}d}{pattern[found.end() :]}")


def _all_there(shards: Shards) -> Shards:
    if missing := [shard for shard in shards if not shard.is_file()]:
        raise MissingError(
            f"path: no such shard: {missing[0]} ({len(missing)} of {len(shards)} are missing); fetch it, or "
            "if a split has fewer shards, give a folder in place of a pattern"
        )
    return shards


def _lines(folder: Path, name: str) -> tuple[str, ...]:
    """The lines of a file in the folder, or above it if it is one of a split; none without it."""
    of_split = any(folder.name.lower() in names for names in SPELLINGS.values())
    for file in (folder / name, folder.parent / name)[: 2 if of_split else 1]:
        if file.is_file():
            try:
                lines = file.read_text(encoding="utf-8-sig").splitlines()
                return tuple(line.strip() for line in lines if line.strip())
            except (OSError, UnicodeDecodeError) as error:
                raise ProblemError(f"path: {file} cannot be read as UTF-8 text: {error}") from error
    return ()


def _classes(splits: Collection[Shards]) -> int:
    """The number of classes that labels tell of."""
    return 1 + max(int(list_shards(shards).labels.max(initial=-1)) for shards in splits)
