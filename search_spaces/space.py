"""A space: everything that a sweep is asked for."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from search_spaces.baseline import Baseline, BaselineRun
from search_spaces.budget import Budget
from search_spaces.checks import Sections, joint_mistakes, unpackable
from search_spaces.confirm import Confirm
from search_spaces.data import Data
from search_spaces.errors import Mistake, SpaceError, line_of, remedy
from search_spaces.limits import Limits, limit_of
from search_spaces.messages import mistakes_of
from search_spaces.method import Method
from search_spaces.model import Model
from search_spaces.part import Name, Part, Scalar, UniqueItems, refuse
from search_spaces.paths import PutError, put
from search_spaces.points import Points
from search_spaces.search import Domain, Search
from search_spaces.settings import Settings
from search_spaces.several_methods import NAME, as_method, methods_of
from search_spaces.training import Resources, Training
from search_spaces.yaml_text import write

Tracker = Literal["mlflow", "tensorboard", "wandb"]

FlatValue = bool | int | float | str


class Space(Part):
    """What is adapted, to what, how, how many blocks may change, and what is searched.

    A space is valid: every searched path is a setting of its method or training and takes every value of
    its range or choices, and so do the settings that baselines change.
    """

    sweep: Name = Field(description="the sweep's name: letters, digits, '_' and '-'")
    model: Model = Field(description="the pre-trained model")
    data: Data = Field(description="what is learned, and what is remembered")
    method: Method = Field(discriminator="name", description="how the model is adapted")
    training: Training = Field(default=Training(), description="the training of a trial")
    budget: Budget = Field(description="how many blocks may be active: active_blocks or active_fraction")
    search: Search = Field(description="what is searched, and how")
    baselines: Annotated[tuple[Baseline, ...], Field(strict=False)] = Field(
        default=(), description="methods that run beside the search"
    )
    confirm: Confirm | None = Field(
        default=None, description="how the best trials are confirmed; null confirms none"
    )
    points: Points = Field(
        default=Points(), description="models with a scaled update, beside those that are trained"
    )
    resources: Resources = Field(default=Resources(), description="what a trial is given")
    tracking: Annotated[tuple[Tracker, ...], Field(strict=False), UniqueItems] = Field(
        default=("mlflow",), description="where runs are kept for comparing, each by its own library"
    )

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        sections = Sections(
            self.method,
            self.training,
            self.budget,
            self.search.parameters.keys(),
            self.search.parameters,
            dict(enumerate(self.baselines)),
            self.search.sampler,
            self.resources.pack,
            self.model.library,
            [probe.dump() for probe in self.data.probes],
            self.search.limits,
            dict(enumerate(self.search.enqueue)),
            self.resources.gpus_per_trial,
        )
        if mistakes := joint_mistakes(sections):
            refuse(*mistakes)
        return self

    def excesses(self, metrics: Mapping[str, float], budget: int) -> list[float]:
        """By how much a model misses its budget of blocks, then each limit; inside them, 0 or less.

        Args:
            metrics: of the validation splits, under the names of a trial's.
            budget: in blocks.
        """
        limits = [limit_of(text).excess(metrics) for text in self.search.limits]
        return [self.budget.excess(int(metrics["active_blocks"]), budget), *limits]

    def feasible(self, metrics: Mapping[str, float], budget: int) -> bool:
        """Whether a model is inside its budget of blocks and all limits; as for `excesses`."""
        return all(excess <= 0 for excess in self.excesses(metrics, budget))

    @property
    def packable(self) -> bool:
        """Whether trials of one method may share a frozen model: so may all methods, and what is searched."""
        searched = [path for path in self.search.parameters if path != NAME]
        return not any(unpackable(method, searched) for method in self.methods)

    @property
    def methods(self) -> list[Method]:
        """The methods that trials may have: the space's own, or those that are searched."""
        return methods_of(self.method, self.search.parameters)

    @property
    def settings(self) -> Settings:
        """What trials may be asked for."""
        return Settings(self.method, self.training, self.search.parameters)

    @property
    def baseline_runs(self) -> tuple[BaselineRun, ...]:
        """The runs that the baselines stand for, in the order of the file."""
        return tuple(run for baseline in self.baselines for run in baseline.runs)

    def to_yaml(self) -> str:
        """The space with all its defaults as the text of a space file."""
        return write(self.dump())

    def flat(self) -> dict[str, FlatValue]:
        """One value for every dotted name but the searched ranges and the baselines, as a tracker takes them.

        Data go by their labels, lists and ``name=amount`` are joined by commas, what is null or an empty
        mapping is left out.
        """
        sections: dict[str, Mapping[str, Any]] = {
            "model": self.model.dump(),
            "data": self.data.labels(),
            "method": _unnested(self.method.dump()),
            "training": self.training.dump(),
            "budget": self.budget.dump(),
            "search": self.search.model_dump(
                mode="json",
                by_alias=True,
                include={"sampler", "trials", "seed", "prune", "limits", "from_"},
            ),
            "confirm": self.confirm.dump() if self.confirm else {},
            "points": self.points.dump(),
            "resources": self.resources.dump(),
        }
        return {
            f"{section}.{key}": _joined(value)
            for section, values in sections.items()
            for key, value in values.items()
            if value not in (None, {}, [])
        }

    def with_values(self, values: Mapping[str, Any]) -> "Space":
        """The space of one trial: with the values at their dotted paths, without baselines and confirmation.

        In mode mask the values settle which blocks are open, so the mode of the trial is search. A trial of
        another method has this one's settings as far as both have them.

        Raises:
            SpaceError: a path does not exist or does not take its value.
        """
        data = self.dump() | {"baselines": [], "confirm": None}
        if self.budget.mode == "mask":
            data["budget"]["mode"] = "search"
        if NAME in values:
            data["method"] = as_method(self.method, values[NAME]).dump()
            _search_nothing(data)  # of which this method might be no part
        return _changed(data, values)

    def for_baseline(self, label: str) -> "Space":
        """The space in which a run of a baseline is the method: its own defaults, its changes, no search.

        A baseline is not held to the budget, so the budget's mode is search and its tolerance 0.

        Args:
            label: as in `BaselineRun.label`.

        Raises:
            SpaceError: no run has the label.
        """
        by_label = {run.label: run for run in self.baseline_runs}
        if label not in by_label:
            offer = remedy(label, list(by_label), "known:") if by_label else "the space has none"
            raise SpaceError([f"no baseline is labelled {label!r}; {offer}"])
        run = by_label[label]
        data = self.dump() | {"method": {"name": run.method}, "baselines": [], "confirm": None, "points": {}}
        data["budget"] |= {"mode": "search", "tolerance": 0}
        _search_nothing(data)
        data["resources"]["pack"] = 1
        return _changed(data, run.changes)


def examine(data: Mapping[str, Any]) -> Space | list[Mistake]:
    """The space that the values describe, or every mistake that they hold."""
    try:
        return Space.model_validate(dict(data))
    except ValidationError as error:
        mistakes = mistakes_of(error, Space)
    joint = joint_mistakes(_sound_sections(data))
    return mistakes + [mistake for mistake in joint if mistake not in mistakes]


def parse_space(data: Mapping[str, Any]) -> Space:
    """The space of a dump.

    Raises:
        SpaceError: the values describe none; one line a mistake.
    """
    if not isinstance(data, Mapping):
        raise SpaceError(["a space is a mapping of its sections"])
    found = examine(data)
    if isinstance(found, Space):
        return found
    raise SpaceError([line_of(mistake) for mistake in found])


def json_schema() -> dict[str, Any]:
    """The JSON schema of a space file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Space.model_json_schema()


def _unnested(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section with what is a mapping in it under dotted names."""
    return {
        f"{key}.{name}" if name else key: part
        for key, value in section.items()
        for name, part in (value.items() if isinstance(value, dict) else [("", value)])
    }


def _joined(value: Any) -> FlatValue:
    """A value as one scalar."""
    parts = [f"{name}={amount:g}" for name, amount in value.items()] if isinstance(value, dict) else value
    return ",".join(map(str, parts)) if isinstance(parts, list) else parts


def _search_nothing(data: dict[str, Any]) -> None:
    data["search"] |= {"parameters": {}, "enqueue": []}
    if data["search"]["sampler"] == "budget":  # it needs a price to look for
        data["search"]["sampler"] = Search.model_fields["sampler"].default


def _changed(data: dict[str, Any], values: Mapping[str, Any]) -> Space:
    mistakes = []
    for path, value in values.items():
        try:
            put(data, path, value)
        except PutError as refusal:
            mistakes.append(refusal.mistake)
    if mistakes:
        raise SpaceError([line_of(mistake) for mistake in mistakes])
    return parse_space(data)


def _sound_sections(data: Mapping[str, Any]) -> Sections:
    """The sections that are right by themselves, so that a mistake in one hides none in the others."""
    search = _mapping(data.get("search"))
    parameters = {path: _sound(Domain, value) for path, value in _mapping(search.get("parameters")).items()}
    enqueued = [_sound(dict[str, Scalar], values) for values in _listed(search.get("enqueue"))]
    baselines = {place: _sound(Baseline, value) for place, value in enumerate(_listed(data.get("baselines")))}
    return Sections(
        _sound(Annotated[Method, Field(discriminator="name")], data.get("method")),
        _sound(Training, data.get("training", {})),
        _sound(Budget, data.get("budget")),
        [str(path) for path in parameters],
        {str(path): domain for path, domain in parameters.items() if domain is not None},
        {place: baseline for place, baseline in baselines.items() if baseline is not None},
        search.get("sampler") if isinstance(search.get("sampler"), str) else None,
        _sound(Resources, data.get("resources", {}), "pack"),
        _sound(Model, data.get("model"), "library"),
        [probe for probe in _listed(_mapping(data.get("data")).get("probes")) if isinstance(probe, Mapping)],
        _sound(Limits, search.get("limits", ())) or (),
        {place: values for place, values in enumerate(enqueued) if values is not None},
        _sound(Resources, data.get("resources", {}), "gpus_per_trial"),
    )


def _sound(kind: Any, value: object, attribute: str | None = None) -> Any:
    try:
        found = TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return None
    return getattr(found, attribute) if attribute else found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
