"""The settings of a trial: what may be searched, and what a baseline may change."""

from collections.abc import Iterator, Mapping
from typing import get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from search_spaces.errors import Path, nearest
from search_spaces.messages import causes, plain
from search_spaces.method import Method
from search_spaces.part import Part, fields_of
from search_spaces.paths import below
from search_spaces.search import Domain
from search_spaces.several_methods import NAME, methods_of
from search_spaces.training import Training


class Settings:
    """The fields of a method and of the training under their dotted paths, but for the method's name.

    A section that is itself wrong is None; nothing is said about the paths in it. Where ``parameters`` search
    the method, its name and the fields of all that are searched are among them.
    """

    def __init__(
        self, method: Method | None, training: Training | None, parameters: Mapping[str, Domain] = {}
    ):
        self._method = method.name if method else None
        self._sections: dict[str, Part | None] = {"method": method, "training": training}
        self.fields: dict[str, FieldInfo] = {
            f"{name}.{key}": field
            for name, section in self._sections.items()
            if section is not None
            for key, field in fields_of(type(section)).items()
            if (name, key) != ("method", "name")
        }
        if method and NAME in parameters:
            kinds = [type(each) for each in methods_of(method, parameters)]
            self.fields |= {f"method.{key}": f for kind in kinds for key, f in fields_of(kind).items()}

    def is_whole(self, path: str) -> bool:
        """Whether the setting takes whole numbers only."""
        annotation = self.fields[path].annotation
        return int in (annotation, *get_args(annotation))

    def is_number(self, path: str) -> bool:
        """Whether the setting takes numbers."""
        annotation = self.fields[path].annotation
        return bool({annotation, *get_args(annotation)} & {int, float})

    def why_not(self, path: str) -> str | None:
        """Why a path that is no field cannot stand there; None when its section is itself wrong."""
        section = path.partition(".")[0]
        if section in self._sections:
            if self._sections[section] is None:
                return None
            if path == NAME:
                return "the method cannot be varied here; write a baseline of another method"
            method = f" for the method {self._method}" if section == "method" else ""
            return f"unknown path{method}{self._meant(path) or '; known: ' + ', '.join(self.fields)}"
        return f"only paths that begin with 'method.' or 'training.' may stand here{self._meant(path)}"

    def refusal(self, path: str, value: object) -> str | None:
        """Why the setting cannot take the value by itself, found by putting it there."""
        section, key = path.split(".")
        # A mistake that joins two settings is no mistake of one: checks compare them at their extremes.
        own = [
            text
            for where, text, joins in self._refusals(section, {key: value})
            if where[0] == key and not joins
        ]
        return own[0] if own else None

    def refusals(self, changes: Mapping[str, object]) -> Iterator[tuple[Path, str]]:
        """Every reason why the settings cannot take the changes together, each at its dotted path."""
        for section, part in self._sections.items():
            own = below(section, changes)
            if part is not None and own:
                for where, text, _ in self._refusals(section, own):
                    yield (f"{section}.{where[0]}", *where[1:]), text

    def _refusals(self, section: str, changes: Mapping[str, object]) -> Iterator[tuple[Path, str, bool]]:
        part = self._sections[section]
        assert part is not None
        try:
            type(part).model_validate({**part.dump(), **changes})
        except ValidationError as error:
            for details in causes(error):
                yield details["loc"], plain(details), details["type"] == "mistake"

    def _meant(self, path: str) -> str:
        """A question for the field whose own name is near; a section in front would make all names near."""
        by_name = {field.rpartition(".")[2]: field for field in self.fields}
        meant = nearest(path.rpartition(".")[2], by_name)
        return f"; did you mean {by_name[meant]!r}?" if meant else ""
