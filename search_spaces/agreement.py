"""What a model, a method, an objective and a probe ask of each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from search_spaces.baseline import Baseline, BaselineRun
from search_spaces.conditions import extremes
from search_spaces.data import Probe
from search_spaces.errors import Mistake, Path
from search_spaces.method import METHODS, Method
from search_spaces.paths import below
from search_spaces.search import Domain
from search_spaces.training import Training

_READS_TEXT = {"open_clip": True, "timm": False}
_ASK_FOR_TEXT = ("zero_shot", "retrieval")
_OF_LABELS = ("mixup", "label_smoothing")
_PARTS = "training.accumulate"
_AGREED_ON = (
    "training.objective",
    "training.head",
    "training.head_lr",
    *(f"training.{key}" for key in _OF_LABELS),
    _PARTS,
    "training.neighbors",
    "training.precision",
)


class Disagreement(NamedTuple):
    """A setting that does not go with the others, and what to write instead."""

    path: str
    text: str


class Trial(NamedTuple):
    """What a trial is made of, as far as its parts ask anything of each other; None where that is wrong."""

    library: str | None
    gpus: float | None
    method: Method | None
    training: Training


def disagreements(trial: Trial) -> Iterator[Disagreement]:
    """Whatever about a method and its training does not go with library and GPUs or with each other."""
    library, gpus, method, training = trial
    if method is None:
        return
    if training.precision == "float16" and gpus == 0:
        text = (
            "float16 is many times as slow as float32 on a processor; use bfloat16 or float32, or give a "
            "trial a GPU by resources.gpus_per_trial"
        )
        yield Disagreement("training.precision", text)
    towers: Sequence[str] = getattr(method, "towers", ())
    flyp = training.objective == "flyp"
    if "text" in towers and not flyp:
        yield Disagreement("method.towers", "the text tower is trained by training.objective: flyp only")
    if flyp and method.name in ("linear", "lp_ft"):
        text = f"flyp has no head, which {method.name} trains; use training.objective: cross_entropy with it"
        yield Disagreement("training.objective", text)
    if flyp and training.head is not None:
        yield Disagreement(
            "training.head", "flyp has no head, its text tower names the classes; leave it out"
        )
    if flyp and training.head_lr is not None:
        yield Disagreement("training.head_lr", "flyp has no head that would learn at this rate; leave it out")
    for key in _OF_LABELS:
        if flyp and getattr(training, key):
            text = "flyp pairs pictures with sentences and has no labels that it would change; leave it out"
            yield Disagreement(f"training.{key}", text)
    if flyp and training.accumulate > 1:
        yield Disagreement(_PARTS, "flyp compares all pictures of a step, which has no parts; leave it out")
    if training.neighbors and training.batch_size < 3:
        text = f"training.neighbors has no neighbours to keep among {training.batch_size}; use at least 3"
        yield Disagreement("training.batch_size", text)
    if training.neighbors and training.accumulate > 1:
        text = "training.neighbors looks at all pictures of a step, which has no parts; leave it out"
        yield Disagreement(_PARTS, text)
    if library is None or _READS_TEXT[library]:
        return
    if flyp or training.head == "prompts":
        path, value = ("objective", "flyp") if flyp else ("head", "prompts")
        text = f"{value} needs a text tower, which a {library} model has not; use a CLIP, or leave it out"
        yield Disagreement(f"training.{path}", text)
    if "text" in towers:
        yield Disagreement("method.towers", f"a {library} model has no text tower; use [image]")
    if method.name == "zero_shot":
        text = f"zero_shot needs a text tower, which a {library} model has not; use linear"
        yield Disagreement("method.name", text)


def searched_disagreements(trial: Trial, parameters: Mapping[str, Domain]) -> Iterator[Mistake]:
    """The same for the values that are searched; what the space says without them is not said again."""
    said = {text for _, text in disagreements(trial)}
    for ends in extremes(parameters, _AGREED_ON):
        chosen = {path.split(".")[1]: end.value for path, end in ends.items()}
        try:
            changed = Training.model_validate({**trial.training.dump(), **chosen})
        except ValidationError:
            continue
        for path, text in disagreements(trial._replace(training=changed)):
            if text not in said:
                said.add(text)
                at = path if path in ends else next(iter(ends))
                yield Mistake(("search", "parameters", at, *ends[at].where), text)


def baseline_disagreements(trial: Trial, place: int, baseline: Baseline) -> Iterator[Mistake]:
    """The same for a baseline, which changes a trial of the search; each is said once."""
    found: dict[Mistake, None] = {}
    for run in baseline.runs:
        changed = _with_changes(trial, run)
        for path, text in disagreements(changed) if changed else ():
            found.setdefault(Mistake(_where(place, baseline, path), text))
    yield from found


def probe_disagreements(library: str | None, probes: Sequence[Mapping[str, Any]]) -> Iterator[Mistake]:
    """Probes that ask the model for what it has not."""
    for place, probe in enumerate(probes):
        score = probe.get("score", Probe.model_fields["score"].default)
        here: Path = ("data", "probes", place, "score")
        if library is not None and not _READS_TEXT[library] and score in _ASK_FOR_TEXT:
            text = f"{score} needs a text tower, which a {library} model has not; use knn, linear or head"
            yield Mistake(here, text)
        if library == "open_clip" and score == "head":
            text = "head needs a model with a classifier of its own, which a CLIP has not; use zero_shot"
            yield Mistake(here, text)


def _with_changes(trial: Trial, run: BaselineRun) -> Trial | None:
    try:
        method = METHODS[run.method].model_validate({"name": run.method, **below("method", run.changes)})
        training = Training.model_validate({**trial.training.dump(), **below("training", run.changes)})
    except ValidationError:
        return None
    return trial._replace(method=method, training=training)


def _where(place: int, baseline: Baseline, path: str) -> Path:
    """Where the baseline says it, or else the baseline itself."""
    for key, changes in (("set", baseline.changes), ("each", baseline.each)):
        if path in changes:
            return ("baselines", place, key, path)
    return ("baselines", place)
