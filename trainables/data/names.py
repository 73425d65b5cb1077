"""What the classes are called, and the sentences that they are put into."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from trainables.data.known_sets import KNOWN_SETS, KnownSet
from trainables.data.listing import is_writable
from trainables.data.matching import imagenet_names
from trainables.errors import MissingError, ProblemError
from trainables.sections import DataSet
from trainables.written import expanded

USUAL_TEMPLATES = ("a photo of a {}.",)

_WNID = re.compile(r"n\d{8}")
# Numbers, class_3, s1, cat_001, hashes; but A320, C-130, 747-400, type 2 are names.
_ID = re.compile(
    r"(?:#|(?i:id|cls|class|label|category)|[a-z]{1,2})?[ _-]*[-+]?\d+(?:[.,]\d+)?"
    r"|.*[^\W\d][ _-]+0\d+|(?=.*\d)(?i:[0-9a-f]{8,})"
)
_CAMEL = re.compile(r"(?:[A-Z][a-z]{2,}){2,}")
_COUNTED = re.compile(r"(?:\d+|n\d{8})[-. ]+(?=[^\W\d])")


def class_names(source: DataSet, ids: Sequence[str]) -> tuple[str, ...]:
    """Give the names that the source asks for, else CLIP_benchmark's, else the set's own as words.

    Raises:
        ProblemError: there are not as many as the set has classes, or in another order; or they cannot be
            read or written.
    """
    named = source.classes
    if named is None:
        return _usual_names(_known(source), ids)
    # Folders called by ImageNet's ids say themselves which of its classes they are, all or some.
    if named == "imagenet" and (by_id := imagenet_names(ids)):
        return by_id
    names = _names_of(named)
    if len(names) != len(ids):
        some = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
        raise ProblemError(f"classes: {len(names)} names are given for the {len(ids)} classes {some}")
    if unwritable := [name for name in names if not is_writable(name)]:
        raise ProblemError(f"classes: {unwritable[0]!r} has control characters; give it without them")
    _refuse_another_order(names, ids)
    if names == KNOWN_SETS["imagenet"].classes and all(map(_WNID.fullmatch, ids)):
        _refuse_other_synsets(ids)
    return names


def refuse_unnamed(source: DataSet, names: Sequence[str]) -> None:
    """Refuse to make sentences of numbers and ids, unless the source gives them as names.

    Raises:
        ProblemError: a class has no name.
    """
    if is_named(source, names):
        return
    number = next(filter(_ID.fullmatch, names))
    of_imagenet = " (classes: imagenet names these)" if all(map(_WNID.fullmatch, names)) else ""
    raise ProblemError(
        f"classes: '{number}' is a number or an id, of which no prompt can be made; give the classes' names "
        f"here, as a list, a file with one a line, or a known data set{of_imagenet}"
    )


def is_named(source: DataSet, names: Sequence[str]) -> bool:
    """Whether the classes have names: some may be numbers only where the source or CLIP_benchmark says so."""
    known = _known(source)
    if source.classes is not None or (known is not None and known.classes is not None):
        return True
    return not any(map(_ID.fullmatch, names))


def sentences(source: DataSet, usual: Sequence[str] = USUAL_TEMPLATES) -> tuple[str, ...]:
    """Give the templates that the source asks for, else CLIP_benchmark's, else the set's own."""
    templates = source.templates
    if templates is None:
        known = _known(source)
        return known.templates if known else tuple(usual)
    if not isinstance(templates, str):
        return tuple(templates)
    if templates == "simple":
        from open_clip.zero_shot_metadata import SIMPLE_IMAGENET_TEMPLATES

        return tuple(template("{}") for template in SIMPLE_IMAGENET_TEMPLATES)
    return KNOWN_SETS[templates].templates


def as_words(names: Sequence[str]) -> tuple[str, ...]:
    """Give names of folders as they are spoken: aquarium_fish, AnnualCrop, 001.Laysan_Albatross.

    Raises:
        ProblemError: two of them are one then.
    """
    words = [re.sub(r"(?<=[a-z])/(?=[a-z])|[_\s]+", " ", name).strip() or name for name in names]
    words = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name) if _CAMEL.fullmatch(name) else name for name in words]
    # A number before every name, as CUB-200 and Stanford Dogs have it.
    bare = [_COUNTED.sub("", name) for name in words]
    if all(map(_COUNTED.match, words)) and len(set(bare)) == len(bare):
        words = bare
    (name, times), *_ = Counter(words).most_common(1) or [("", 0)]
    if times > 1 and len(set(names)) == len(names):
        one, two, *_ = (one for one, spoken in zip(names, words, strict=True) if spoken == name)
        raise ProblemError(f"classes: {one} and {two} are both '{name}' in words; give names here, as a list")
    return tuple(words)


def _usual_names(known: KnownSet | None, ids: Sequence[str]) -> tuple[str, ...]:
    if known and known.classes:
        # Where torchvision has no names, they are as many as the labels that occur.
        if all(name.isdigit() for name in ids) and len(ids) <= len(known.classes):
            return known.classes[: len(ids)]
        if len(ids) == len(known.classes):
            return known.classes
    return as_words(ids)


def _known(source: DataSet) -> KnownSet | None:
    """The known data set that the source is, or whose names it asks for."""
    names = source.classes
    if isinstance(names, str) and names.lower() in KNOWN_SETS:
        return KNOWN_SETS[names.lower()]
    return KNOWN_SETS.get((source.dataset or "").lower()) if source.source == "torchvision" else None


def _names_of(named: str | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(named, str):
        return tuple(named)
    if named.lower() in KNOWN_SETS and (names := KNOWN_SETS[named.lower()].classes):
        return names
    file = Path(expanded(named, "classes"))
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        known = ", ".join(name for name, found in KNOWN_SETS.items() if found.classes)
        raise MissingError(
            f"classes: no such file: {file}; expects a list, a text file with one name a line, or a data set "
            f"of {known}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"classes: {file} cannot be read as UTF-8 text: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def _refuse_another_order(names: Sequence[str], ids: Sequence[str]) -> None:
    """Refuse names that the set's own ids say belong to other classes, or whose order is not clear."""
    places = {_letters(name): place for place, name in enumerate(names)}
    for place, class_id in enumerate(ids):
        if not _letters(class_id):
            continue
        named = places.get(_letters(class_id), place)
        if named != place and _letters(names[place]) != _letters(class_id):
            raise ProblemError(
                f"classes: '{names[place]}' stands where the data have {class_id}; give them in the order of "
                f"the data's classes: {', '.join(ids[:3])}" + (", ..." if len(ids) > 3 else "")
            )
    parts = [re.fullmatch(r"(\D*)(\d+)", class_id) for class_id in ids]
    numbers = [int(part[2]) for part in parts if part]
    if len({part and part[1] for part in parts}) == 1 and numbers != sorted(numbers):
        raise ProblemError(
            f"classes: the data's classes are in the order of text ({', '.join(ids[:3])}, ...), not of their "
            "numbers, so names by number would be mixed up; write the numbers with as many digits each"
        )


def _refuse_other_synsets(ids: Sequence[str]) -> None:
    """Refuse ImageNet's names for other synsets than its 1,000."""
    # Imported here, since few sets are of synsets.
    from timm.data import ImageNetInfo

    for class_id, synset in zip(ids, ImageNetInfo("imagenet-1k").label_names(), strict=True):
        if class_id != synset:
            raise ProblemError(
                f"classes: {class_id} stands where ImageNet-1k has {synset}; give the names as a list"
            )


def _letters(name: str) -> str:
    """A name to compare with others; nothing of a number."""
    return re.sub(r"[\W_]", "", name).casefold() if re.search(r"[^\W\d_]", name) else ""
