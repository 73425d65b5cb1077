"""Which class of a larger task each class of a data set is."""

from collections.abc import Mapping, Sequence

from timm.data import ImageNetInfo, infer_imagenet_subset

from trainables.data.images import Task
from trainables.errors import ProblemError
from trainables.sections import DataSet


def imagenet_names(ids: Sequence[str]) -> tuple[str, ...] | None:
    """The usual names of ImageNet's 1,000 classes in the order of their WordNet ids, such as n01440764.

    Returns:
        One name an id, as open_clip has them; None unless every id is one of the 1,000.
    """
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    known = dict(zip(ImageNetInfo().label_names(), IMAGENET_CLASSNAMES, strict=True))
    return tuple(known[each] for each in ids) if set(ids) <= known.keys() else None


def places_in_task(theirs: Task, task: Task, source: DataSet) -> list[int] | None:
    """The label in the task of each class of another set; None if the classes are the same, in order.

    They are found by their names, or where two classes share a name, by the data sets' own for them.

    Args:
        source: the other set's resolved source section.

    Raises:
        ProblemError: a class is not in the task; or one of the task is missing, and it is no class subset;
            or names that were given to the set are the task's in another order.
    """
    class_subset = source.class_subset
    if class_subset:
        _refuse_all(theirs, len(task.classes))
    if theirs.classes == task.classes:
        return None
    by_name = len(set(task.classes)) == len(task.classes)
    wanted, known = (theirs.classes, task.classes) if by_name else (theirs.ids, task.ids)
    said = f"the classes are not those of data.id, which has {len(task.classes)}"
    if unknown := sorted(set(wanted) - set(known)):
        missing = [] if class_subset else sorted(set(known) - set(wanted))
        raise ProblemError(f"source: {said}: {_some(sorted(unknown + missing))} differ")
    if len(wanted) == len(known) and source.classes is not None:
        raise ProblemError(f"source: {said}: their order differs")
    if (missing := sorted(set(known) - set(wanted))) and not class_subset:
        raise ProblemError(
            f"source: {said}: {_some(missing)} {'is' if len(missing) == 1 else 'are'} missing; "
            "with class_subset: true answers are among the others only"
        )
    return _places(wanted, {name: place for place, name in enumerate(known)})


def places_in_head(theirs: Task, outputs: int, class_subset: bool) -> list[int] | None:
    """The output of a pre-trained classifier for each class of a data set; None if it is its place.

    ImageNet's classes, those of 1,000 outputs and of timm's larger sets, are known by their WordNet ids.

    Raises:
        ProblemError: there are more outputs than classes, or fewer; for a class subset, a class is not known.
    """
    if class_subset:
        _refuse_all(theirs, outputs)
    subset = infer_imagenet_subset({"num_classes": outputs})
    ids = ImageNetInfo(subset).label_names() if subset else []
    known = {each: place for place, each in enumerate(ids)}
    wanted = theirs.classes if set(theirs.classes) <= known.keys() else theirs.ids
    unknown = [each for each in wanted if each not in known]
    if not unknown and (class_subset or len(wanted) == outputs):
        return _places(wanted, known)
    said = (
        "score: 'head' needs the classes that the model was pre-trained on: its classifier has "
        f"{outputs} outputs, the data {len(theirs.classes)} classes"
    )
    if class_subset:
        raise ProblemError(
            f"{said}, and which these are is known by ImageNet's ids such as n01440764 alone, not by "
            f"{_some(unknown)}; take knn or linear"
        )
    if len(theirs.classes) == outputs:
        return None
    remedy = "take knn or linear" if unknown else "with class_subset: true answers are among those only"
    raise ProblemError(f"{said}; {remedy}")


def _refuse_all(theirs: Task, count: int) -> None:
    """Classes that have a name are counted, whether there are pictures of them or not."""
    if len(theirs.classes) == count:
        raise ProblemError(f"class_subset: the set names all {count} classes; remove it")


def _places(wanted: Sequence[str], known: Mapping[str, int]) -> list[int]:
    return [known[name] for name in wanted]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
