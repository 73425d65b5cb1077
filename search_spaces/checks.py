"""The rules that join several sections of a space."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from search_spaces.agreement import (
    Trial,
    baseline_disagreements,
    disagreements,
    probe_disagreements,
    searched_disagreements,
)
from search_spaces.baseline import Baseline, BaselineRun
from search_spaces.budget import Budget
from search_spaces.conditions import condition_mistakes, extremes, is_asked, written
from search_spaces.errors import Mistake, Path, remedy, shown
from search_spaces.gated import Gated, closed_start
from search_spaces.limits import unknown_probes
from search_spaces.method import METHODS, Method
from search_spaces.modes import mode_mistakes, sampler_mistakes
from search_spaces.search import Domain, Range
from search_spaces.settings import Settings
from search_spaces.several_methods import (
    NAME,
    lacking,
    lacking_mistakes,
    methods_of,
    name_mistakes,
    with_method,
)
from search_spaces.training import Training

LARGEST_GRID = 100_000

PACKABLE = frozenset(
    {
        "method.lambda",
        "method.rank",
        "method.rank_fraction",
        "method.orthogonality",
        "method.kappa",
        "method.alpha",
        "method.score_lr",
        "method.active_blocks",
        "method.mask",
        "training.lr",
        "training.head_lr",
        "training.weight_decay",
        "training.spd",
        "training.clip_norm",
        "training.retention",
        "training.neighbors",
        "training.seed",
    }
)
"""The dotted paths that may differ between the trials of one pack."""


class Sections(NamedTuple):
    """The sections that the rules are about; what is itself wrong is None or left out.

    Only ``searched`` has every path that is searched, also those whose domain is wrong.
    """

    method: Method | None
    training: Training | None
    budget: Budget | None
    searched: Collection[str]
    parameters: Mapping[str, Domain]
    baselines: Mapping[int, Baseline]
    sampler: str | None
    pack: int | str | None
    library: str | None
    probes: Sequence[Mapping[str, Any]]
    limits: Sequence[str]
    enqueue: Mapping[int, Mapping[str, Any]]
    gpus: float | None


def joint_mistakes(sections: Sections) -> list[Mistake]:
    """Every mistake that shows only when sections are read together."""
    method, parameters = sections.method, sections.parameters
    found = condition_mistakes(parameters, sections.searched, sections.sampler)
    if method is not None and NAME in parameters:
        found += name_mistakes(method, parameters[NAME])
    if found or (NAME in sections.searched and NAME not in parameters):
        # What trials there are is not known, nor of which methods.
        known = Settings(method, sections.training).fields if NAME in sections.searched else parameters
        plain = {path: domain for path, domain in parameters.items() if path in known and not domain.when}
        sections = sections._replace(parameters=plain)
    settings = Settings(method, sections.training, sections.parameters)
    if sections.sampler == "grid":
        found += _grid(sections.parameters, settings)
    found += _limits(sections)
    found += _enqueued(sections, settings)
    found += _labels(sections.baselines)
    for place, baseline in sections.baselines.items():
        found += _baseline(place, baseline, sections.training)
    found += probe_disagreements(sections.library, sections.probes)
    alone = Settings(method, sections.training)
    unknown = [path for path in sections.parameters if path not in settings.fields]
    found += [mistake for path in unknown for mistake in _unknown(path, alone)]
    methods = methods_of(method, sections.parameters) if method else []
    not_in_all = lacking(methods, sections.parameters)
    found += lacking_mistakes(not_in_all)
    each: Method | None
    for each in methods or (None,):
        found += _of_method(_with_method(sections, each, {*unknown, *not_in_all}))
    return list(dict.fromkeys(found))


def _with_method(sections: Sections, method: Method | None, without: Collection[str]) -> Sections:
    """The sections of the trials that have this method, and its parameters but for some."""
    asked = with_method(sections.parameters, method.name) if method else sections.parameters
    left = {path: domain for path, domain in asked.items() if path not in without}
    searched = [path for path in sections.searched if path in asked or path not in sections.parameters]
    return sections._replace(method=method, parameters=left, searched=searched)


def _of_method(sections: Sections) -> list[Mistake]:
    """The mistakes that hang on the method."""
    settings = Settings(sections.method, sections.training)
    found = [m for path, domain in sections.parameters.items() for m in _parameter(path, domain, settings)]
    if not found:
        found += _closed_start(sections.method, sections.parameters)
    found += _budget(sections)
    found += _pack(sections, settings)
    return found + list(_agreement(sections))


def _agreement(sections: Sections) -> Iterator[Mistake]:
    """Model, method and objective go with each other, for the search and for every baseline."""
    if sections.training is None:
        return
    trial = Trial(sections.library, sections.gpus, sections.method, sections.training)
    for path, text in disagreements(trial):
        yield Mistake(tuple(path.split(".")), text)
    yield from searched_disagreements(trial, sections.parameters)
    for place, baseline in sections.baselines.items():
        yield from baseline_disagreements(trial, place, baseline)


def _budget(sections: Sections) -> Iterator[Mistake]:
    """One thing chooses the open blocks: a price, a count or a mask."""
    budget, method, searched = sections.budget, sections.method, sections.searched
    if budget is not None:
        yield from mode_mistakes(budget, method, sections.sampler, searched)
    if sections.sampler == "budget":
        yield from sampler_mistakes(budget, method, sections.parameters, searched)
    if isinstance(method, Gated) and method.mask is not None and "method.active_blocks" in searched:
        text = "cannot be searched beside method.mask, which names the open blocks; remove one of the two"
        yield Mistake(("search", "parameters", "method.active_blocks"), text)


def _limits(sections: Sections) -> list[Mistake]:
    """A limit on a probe's accuracy is on one that there is; a probe's name may come from its pictures."""
    names = [probe.get("name") for probe in sections.probes]
    return unknown_probes(sections.limits, [str(name) for name in names]) if all(names) else []


def _enqueued(sections: Sections, settings: Settings) -> Iterator[Mistake]:
    """What is tried first is searched, and among what is searched."""
    if sections.sampler == "grid" and sections.enqueue:
        text = "the grid has an order of its own; use another sampler, or leave this out"
        yield Mistake(("search", "enqueue"), text)
    for place, values in sections.enqueue.items():
        for path, value in values.items():
            here: Path = ("search", "enqueue", place, path)
            if path not in sections.searched:
                offer = remedy(path, sorted(sections.searched), "searched are")
                yield Mistake(here, f"is not searched; {offer}")
                continue
            domain = sections.parameters.get(path)
            if domain is None or path not in settings.fields:
                continue
            if not domain.holds(value, settings.is_whole(path)):
                yield Mistake(here, f"{shown(value)} is not among what is searched of it")
            elif not is_asked(domain, values):
                text = (
                    f"is asked for only when {written(domain)}; give this trial that too, or leave this out"
                )
                yield Mistake(here, text)


def unpackable(method: Method, paths: Iterable[str]) -> list[str]:
    """What keeps trials from sharing a pack: the method, and every searched path that no pack may vary."""
    if not method.packable:
        return [f"method {method.name}"]
    return [path for path in paths if path not in PACKABLE]


def _unknown(path: str, settings: Settings) -> Iterator[Mistake]:
    """A parameter is a setting."""
    if text := _several_sweeps(path) or settings.why_not(path):
        yield Mistake(("search", "parameters", path), text)


def _parameter(path: str, domain: Domain, settings: Settings) -> Iterator[Mistake]:
    """Every value of a parameter's domain is one that the setting takes."""
    here: Path = ("search", "parameters", path)
    if path == "method.mask":
        text = "has no range or choices; remove it, and use budget.mode: mask to search which blocks are open"
        yield Mistake(here, text)
        return
    if isinstance(domain, Range) and not settings.is_number(path):
        yield Mistake(here, "is not a number, so it has no range; list its values under choices")
        return
    for place, value in domain.ends():
        if refusal := settings.refusal(path, value):
            yield Mistake((*here, *place), refusal)
    if isinstance(domain, Range) and settings.is_whole(path) and isinstance(domain.step, float):
        yield Mistake((*here, "step"), f"expects a whole number, got {domain.step}")


def _several_sweeps(path: str) -> str | None:
    """What to do instead of searching a model or data."""
    if path.partition(".")[0] not in ("model", "data"):
        return None
    return (
        "cannot be searched in one sweep, for forgetting is measured against each model's own reference; "
        f"give each value a sweep by `python -m sweeper run SPACE --set {path}=VALUE --name A`, and put "
        "these on one plot by `python -m sweeper report A B`"
    )


def _closed_start(method: Method | None, parameters: Mapping[str, Domain]) -> Iterator[Mistake]:
    """The lowest initial score is not below the highest threshold."""
    if not isinstance(method, Gated):
        return
    fixed = {"method.initial_score": method.initial_score, "method.threshold": method.threshold}
    lowest: tuple[float, float] | None = None
    for chosen in extremes(parameters, fixed):
        score, threshold = (chosen[path].value if path in chosen else value for path, value in fixed.items())
        if score < threshold and (lowest is None or score - threshold < lowest[0] - lowest[1]):
            lowest = score, threshold
    if lowest:
        searched = next(path for path in fixed if path in parameters)
        yield Mistake(("search", "parameters", searched), f"the initial score {closed_start(*lowest)}")


def _grid(parameters: Mapping[str, Domain], settings: Settings) -> Iterator[Mistake]:
    """A grid is finite, and small enough to be listed."""
    points = 1
    for path, domain in parameters.items():
        if path not in settings.fields:
            continue
        count = domain.count(settings.is_whole(path))
        if count is None:
            yield Mistake(("search", "parameters", path), "the grid sampler needs a step or choices here")
        points *= count or 1
    if points > LARGEST_GRID:
        text = (
            f"the grid has {points} points, more than {LARGEST_GRID}; use fewer values, or the sampler random"
        )
        yield Mistake(("search", "sampler"), text)


def _pack(sections: Sections, settings: Settings) -> Iterator[Mistake]:
    """Trials that share a pack differ only in what a pack may vary."""
    if sections.method is None or not isinstance(sections.pack, int) or sections.pack == 1:
        return
    searched = [path for path in sections.parameters if path in settings.fields]
    if reasons := unpackable(sections.method, searched):
        text = f"{sections.pack} trials cannot share one model with {', '.join(reasons)}; use pack: 1 or auto"
        yield Mistake(("resources", "pack"), text)


def _labels(baselines: Mapping[int, Baseline]) -> Iterator[Mistake]:
    """No two baselines share a label, neither as they are written nor in their runs."""
    seen: set[str] = set()
    for place, baseline in baselines.items():
        written = [baseline.label] if baseline.each else []
        for label in (*written, *(run.label for run in baseline.runs)):
            if label in seen:
                text = f"the label {label!r} is used twice; give one of the two another label"
                yield Mistake(("baselines", place), text)
                break
            seen.add(label)


def _baseline(place: int, baseline: Baseline, training: Training | None) -> Iterator[Mistake]:
    """The settings of a baseline are known, and take what each of its runs gives them."""
    settings = Settings(METHODS[baseline.method].model_validate({"name": baseline.method}), training)
    for key, paths in (("set", baseline.changes), ("each", baseline.each)):
        for path in paths:
            if path not in settings.fields and (text := settings.why_not(path)):
                yield Mistake(("baselines", place, key, path), text)
    # Runs share most of their settings: what is wrong with one of those is said once.
    yield from dict.fromkeys(m for run in baseline.runs for m in _run(place, baseline, run, settings))


def _run(place: int, baseline: Baseline, run: BaselineRun, settings: Settings) -> Iterator[Mistake]:
    known = {path: value for path, value in run.changes.items() if path in settings.fields}
    for (path, *inside), text in settings.refusals(known):
        if path in baseline.each:
            position = baseline.each[str(path)].index(run.varied[str(path)])
            yield Mistake(("baselines", place, "each", path, position), text)
        else:
            yield Mistake(("baselines", place, "set", path, *inside), text)
