"""Parameters that only some trials are asked for: those whose ``when`` holds."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from search_spaces.errors import Mistake, Path, remedy, shown
from search_spaces.search import Choices, Domain, is_among
from search_spaces.yaml_text import write

LAST = "method.lambda"
"""The price: what it has to be to meet the budget depends on all other values."""


class End(NamedTuple):
    """A value that bounds others of its parameter, and where it stands below it."""

    where: Path
    value: Any


def is_asked(domain: Domain, values: Mapping[str, Any]) -> bool:
    """Whether a trial is asked for a parameter.

    Args:
        values: of the parameters that the trial has been asked for; what it is not asked for meets nothing.
    """
    return all(path in values and is_among(values[path], known) for path, known in domain.when.items())


def in_order(parameters: Mapping[str, Domain]) -> list[str]:
    """The paths in the order in which a trial is asked for them: as in the file, but what others hang on
    before these, and the price after all on which it does not bear."""
    order: dict[str, None] = {}

    def visit(path: str) -> None:
        if path in parameters and path not in order:
            for condition in parameters[path].when:
                visit(condition)
            order[path] = None

    for path in sorted(parameters, key=lambda path: path == LAST):
        visit(path)
    return list(order)


def extremes(parameters: Mapping[str, Domain], paths: Iterable[str]) -> Iterator[dict[str, End]]:
    """Every combination of the ends of some parameters that a trial can have, each as far as it is asked."""
    wanted = [path for path in paths if path in parameters]
    order = [path for path in in_order(parameters) if path in {*wanted, *_hung_on(parameters, wanted)}]

    def from_place(place: int, chosen: dict[str, End]) -> Iterator[dict[str, End]]:
        if place == len(order):
            yield {path: chosen[path] for path in wanted if path in chosen}
            return
        domain = parameters[path := order[place]]
        if not is_asked(domain, {known: end.value for known, end in chosen.items()}):
            yield from from_place(place + 1, chosen)
            return
        for end in domain.ends():
            yield from from_place(place + 1, {**chosen, path: End(*end)})

    yield from from_place(0, {})


def with_choice(parameters: Mapping[str, Domain], path: str, value: object) -> dict[str, Domain]:
    """The parameters that a trial with this choice can be asked for."""
    return {
        name: domain
        for name, domain in parameters.items()
        if path not in (needed := _needs(parameters, name)) or is_among(value, needed[path])
    }


def written(domain: Domain) -> str:
    """The conditions of a parameter, as a sentence has them: ``method.name is lora or codyra``."""
    conditions = (f"{path} is {' or '.join(map(_value, known))}" for path, known in domain.when.items())
    return " and ".join(conditions)


def condition_mistakes(
    parameters: Mapping[str, Domain], searched: Iterable[str], sampler: str | None
) -> list[Mistake]:
    """What is wrong with the conditions of a space."""
    conditional = [path for path, domain in parameters.items() if domain.when]
    found = [m for path in conditional for m in _names(path, parameters, sorted(searched))]
    if not found:
        found = list(_cycles(parameters)) or [m for path in conditional for m in _never(path, parameters)]
    for path in conditional[:1]:
        if text := _refused_by(sampler):
            found.append(Mistake((*_place(path), "when"), text))
    if sampler == "budget" and LAST in conditional:
        text = "the sampler budget looks for this price in every trial; use tpe, or leave this out"
        found.append(Mistake((*_place(LAST), "when"), text))
    return found


def _refused_by(sampler: str | None) -> str | None:
    if sampler == "grid":
        return "the grid has every value beside every other; use the sampler tpe or random, or leave this out"
    if sampler in ("gp", "nsga2"):
        return (
            f"{sampler} learns of parameters that all trials have, and would draw this one at random; "
            "use the sampler tpe, or leave this out"
        )
    return None


def _names(path: str, parameters: Mapping[str, Domain], searched: list[str]) -> Iterator[Mistake]:
    """A condition names another parameter that has choices, and some of these."""
    for condition, values in parameters[path].when.items():
        here: Path = (*_place(path), "when", condition)
        domain = parameters.get(condition)
        if condition == path:
            yield Mistake(here, "is the parameter itself; name another one, or leave this out")
        elif condition not in searched:
            offer = remedy(condition, [name for name in searched if name != path], "searched are")
            yield Mistake(here, f"is not searched, so it has one value in all trials; {offer}")
        elif isinstance(domain, Choices):
            for value in values:
                if not domain.holds(value, whole=False):
                    choices = ", ".join(map(_value, domain.choices))
                    yield Mistake(here, f"{_value(value)} is not among its choices, {choices}")
        elif domain is not None:
            yield Mistake(here, "has a range, and a condition needs choices; list its values under choices")


def _cycles(parameters: Mapping[str, Domain]) -> Iterator[Mistake]:
    """No parameter hangs on itself by way of others; a ring is said once."""
    said: set[str] = set()
    for path in parameters:
        ring = _ring(parameters, [path])
        if ring and not said & set(ring):
            said |= set(ring)
            way = " -> ".join(ring)
            text = f"hangs on itself ({way}), so no trial would be asked for it; leave one of these out"
            yield Mistake((*_place(path), "when"), text)


def _ring(parameters: Mapping[str, Domain], way: list[str]) -> list[str] | None:
    """The way back to its first parameter, if there is one."""
    for condition in parameters[way[-1]].when if way[-1] in parameters else ():
        if condition == way[0]:
            return [*way, condition]
        if condition not in way and (ring := _ring(parameters, [*way, condition])):
            return ring
    return None


def _never(path: str, parameters: Mapping[str, Domain]) -> Iterator[Mistake]:
    """What the conditions of a parameter ask of others does not contradict what these are asked for."""
    for needed, values in _needs(parameters, path).items():
        if not values:
            text = f"never holds: what it names is asked for at other values of {needed} only; change one"
            yield Mistake((*_place(path), "when"), text)


def _needs(parameters: Mapping[str, Domain], path: str) -> dict[str, tuple[Any, ...]]:
    """For each parameter that a trial's being asked hangs on, the values with which it is.

    Conditions are joined by and, so the values of each can be told by themselves.
    """
    needs: dict[str, tuple[Any, ...]] = {}
    for name in (path, *_hung_on(parameters, [path])):
        for condition, values in parameters[name].when.items():
            needs[condition] = tuple(v for v in needs.get(condition, values) if is_among(v, values))
    return needs


def _hung_on(parameters: Mapping[str, Domain], paths: Iterable[str]) -> list[str]:
    """The parameters that conditions of these name, and theirs."""
    found: dict[str, None] = {}
    new = list(paths)
    while new:
        new = [
            condition
            for path in new
            for condition in parameters[path].when
            if condition in parameters and condition not in found
        ]
        found |= dict.fromkeys(new)
    return list(found)


def _place(path: str) -> Path:
    return ("search", "parameters", path)


def _value(value: object) -> str:
    """A value as it is written under choices: text in quotes where it would be read as something else."""
    if isinstance(value, str):
        return write(value).splitlines()[0]
    return "null" if value is None else shown(value)
