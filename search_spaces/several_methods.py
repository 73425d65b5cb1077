"""A method that is searched: what its choices share, and what only some of them have."""

from collections.abc import Iterator, Mapping, Sequence

from search_spaces.conditions import with_choice
from search_spaces.errors import Mistake, Path, remedy, shown
from search_spaces.method import METHODS, Method
from search_spaces.part import fields_of
from search_spaces.search import Choices, Domain

NAME = "method.name"
_HERE: Path = ("search", "parameters", NAME)


def methods_of(method: Method, parameters: Mapping[str, Domain]) -> list[Method]:
    """The methods that trials may have: the space's own, or those that are searched."""
    domain = parameters.get(NAME)
    if not isinstance(domain, Choices):
        return [method]
    return [as_method(method, str(name)) for name in domain.choices]


def as_method(method: Method, name: str) -> Method:
    """A method of another name, with the settings of this one that both have, and else its own defaults.

    What is null here says nothing there.
    """
    if name == method.name:
        return method
    known = fields_of(METHODS[name])
    shared = {key: value for key, value in method.dump().items() if key in known and value is not None}
    return METHODS[name].model_validate({**shared, "name": name})


def with_method(parameters: Mapping[str, Domain], name: str) -> dict[str, Domain]:
    """The parameters that a trial of this method can be asked for, without its name."""
    asked = with_choice(parameters, NAME, name)
    return {path: domain for path, domain in asked.items() if path != NAME}


def name_mistakes(method: Method, domain: Domain) -> Iterator[Mistake]:
    """The methods that are searched are some that the budget can hold, the space's own among them."""
    if not isinstance(domain, Choices):
        yield Mistake(_HERE, "is not a number, so it has no range; list methods under choices")
        return
    of_blocks = [name for name, kind in METHODS.items() if "blocks" in kind.model_fields]
    wrong = [(place, name) for place, name in enumerate(domain.choices) if name not in of_blocks]
    for place, name in wrong:
        if name in METHODS:
            text = (
                f"{name} chooses no blocks, so the budget says nothing of it; run it under baselines, there "
                "at several values by each"
            )
        else:
            text = f"unknown value {shown(name)}; {remedy(name, of_blocks, 'allowed:')}"
        yield Mistake((*_HERE, "choices", place), text)
    if method.name not in domain.choices:
        text = f"lacks the space's own {method.name}; add it, or write one of these as method.name"
        yield Mistake((*_HERE, "choices"), text)


def lacking(methods: Sequence[Method], parameters: Mapping[str, Domain]) -> dict[str, list[str]]:
    """The parameters that some methods have, and others that are asked for them have not: the former."""
    found: dict[str, list[str]] = {}
    for path in parameters:
        section, _, key = path.partition(".")
        have: list[str] = [method.name for method in methods if key in fields_of(type(method))]
        asked = [method.name for method in methods if path in with_method(parameters, method.name)]
        if section == "method" and have and not set(asked) <= set(have):
            found[path] = have
    return found


def lacking_mistakes(found: Mapping[str, Sequence[str]]) -> Iterator[Mistake]:
    """What `lacking` has found, each with its remedy."""
    for path, have in found.items():
        names = ", ".join(have)
        text = f"not every method has it; add when: {{method.name: [{names}]}}"
        yield Mistake(("search", "parameters", path), text)
