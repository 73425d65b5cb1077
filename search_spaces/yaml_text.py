"""YAML, the part of it that a space needs: text to plain values with their lines, and back.

Plain scalars are read by the core schema of YAML 1.2: `1e-3` is a number, `no` and `2024-01-01` are text.
Tags other than the core ones, anchors and aliases are refused, so a small file cannot become a large one.
"""

import re
import unicodedata
from collections.abc import Hashable
from typing import Any, NamedTuple, cast

import yaml
from yaml.composer import Composer, ComposerError
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from search_spaces.errors import Path, shown

DEEPEST = 32

CORE = "tag:yaml.org,2002:"
NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
INT = re.compile(r"^[-+]?[0-9]+$")
FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


# Spaces of Unicode but for the plain one.
ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")


class Fault(NamedTuple):
    """Something in the text that is no plain value."""

    path: Path
    line: int
    text: str


class Document(NamedTuple):
    """The values of a text, the line of every path in them, and what could not be read."""

    data: Any
    lines: dict[Path, int]
    faults: list[Fault]


class NotYamlError(Exception):
    """The text is not YAML, or more than a space may hold."""

    def __init__(self, line: int, text: str):
        super().__init__(text)
        self.line = line


def read(text: str) -> Document:
    """The text as plain values.

    Raises:
        NotYamlError: see there; what can be read around is a fault of the document instead.
    """
    try:
        node = _Nodes(text).get_single_node()
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYamlError(
            line, "not YAML: a character that no text file should hold; save it as plain text"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if odd := _odd_space(text.split("\n")[:line]):
            raise odd from error
        raise NotYamlError(line, f"not YAML, column {column}: {_problem(error)}") from error
    values = _Values()
    return Document(values.of(node, ()), values.lines, values.faults)


def write(data: Any) -> str:
    """The values as YAML that `read` turns into the same values."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _CoreResolver(BaseResolver):
    """Which plain scalars are null, true or false, and numbers."""


_CoreResolver.add_implicit_resolver(f"{CORE}null", NULL, [*"~nN", ""])
_CoreResolver.add_implicit_resolver(f"{CORE}bool", BOOL, [*"tTfF"])
_CoreResolver.add_implicit_resolver(f"{CORE}int", INT, [*"-+0123456789"])
_CoreResolver.add_implicit_resolver(f"{CORE}float", FLOAT, [*"-+.0123456789"])


class _Nodes(Reader, Scanner, Parser, Composer, _CoreResolver):
    """Composes nodes, but neither aliases nor deep nesting."""

    def __init__(self, text: str):
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _CoreResolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            problem = "anchors (&) and aliases (*) are not used here; write the value out"
            raise ComposerError(None, None, problem, event.start_mark)
        if isinstance(event, yaml.ScalarEvent) and not event.style and ODD_SPACE.search(event.value):
            raise ComposerError(None, None, "an odd space", event.end_mark)  # type: ignore[arg-type]
        if self._depth > DEEPEST:
            raise ComposerError(None, None, "nested too deeply", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes by the rules that `read` reads by."""

    yaml_implicit_resolvers = _CoreResolver.yaml_implicit_resolvers


class _Values:
    """Turns nodes into values; remembers lines and gathers faults."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []

    def of(self, node: yaml.Node | None, path: Path) -> Any:
        if node is None:
            return None
        self.lines.setdefault(path, _line(node))
        kind = node.tag.removeprefix(CORE)
        match node:
            case yaml.MappingNode() if kind == "map":
                return self._mapping(node, path)
            case yaml.SequenceNode() if kind == "seq":
                return [self.of(item, (*path, place)) for place, item in enumerate(node.value)]
            case yaml.ScalarNode() if kind in ("str", "null", "bool", "int", "float"):
                return self._scalar(kind, node, path)
        tag = node.tag.replace(CORE, "!!")
        self._fault(
            path, node, f"the tag {shown(tag)} is not allowed; write plain text, numbers, lists or mappings"
        )
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in data:
                self._fault(
                    here, key_node, f"given twice, first on line {self.lines[here]}; remove one of the two"
                )
                continue
            self.lines[here] = _line(key_node)
            data[key] = self.of(value_node, here)
        return data

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{CORE}str":
            return cast(str, node.value)
        wrong = shown(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        self._fault(path, node, f"{wrong} is not a key; keys are plain text")
        return None

    def _scalar(self, kind: str, node: yaml.ScalarNode, path: Path) -> Hashable:
        text = node.value
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int":
                    return int(text)
                case "float":
                    return float(re.sub(r"\.(inf|nan)$", r"\1", text, flags=re.IGNORECASE))
        except (ValueError, KeyError):
            meaning = "true or false" if kind == "bool" else "a number"
            self._fault(path, node, f"{shown(text)} cannot be read as {meaning}")
            return None
        return cast(str, text)

    def _fault(self, path: Path, node: yaml.Node, text: str) -> None:
        self.faults.append(Fault(path, _line(node), text))


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be read"
    if problem.startswith("but"):
        return f"{error.context}, {problem}"
    return f"{problem}; indent with spaces" if r"'\t'" in problem else problem


def _odd_space(lines: list[str]) -> NotYamlError | None:
    """The last space in the lines that YAML takes for a letter: what is wrong shows only behind it."""
    for number, line in reversed(list(enumerate(lines, start=1))):
        if found := ODD_SPACE.search(line):
            name = unicodedata.name(found[0]).lower()
            place = f"not YAML, column {found.start() + 1}"
            text = f"{place}: a {name}, which only looks like one; type a space, or use quotes"
            return NotYamlError(number, text)
    return None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
