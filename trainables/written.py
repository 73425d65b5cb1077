"""Paths as a space writes them: which variables are put in, and what messages call the paths."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from trainables.errors import MissingError, ProblemError

ALLOWING = "SWEEPER_EXPAND"
"""The environment's variable in which an operator names, by commas, what may be expanded too."""

_ALWAYS = "SWEEPER_DATA"
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_LOCAL_FOLDER = "local-dir:"  # open_clip's, before the path of a folder
_SECRETS = ("/proc", "/run/secrets")  # a process's environment, a container's secrets: no data


def allowed() -> tuple[str, ...]:
    """Names of the variables that a space may use: who writes one need not be trusted with all others."""
    more = (name.strip() for name in os.environ.get(ALLOWING, "").split(","))
    return (_ALWAYS, *filter(None, more))


def expanded(path: str, setting: str) -> str:
    """Give the path with ``${NAME}`` and a leading ``~`` put in.

    Raises:
        ProblemError: the variable is not an allowed one, whether it is there or not, or the path has a NUL or
            leads to where secrets are; it names the setting.
        MissingError: the variable is allowed, and the environment has none.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in allowed():
            raise ProblemError(
                f"{setting}: ${{{name}}} is not expanded, only {', '.join(allowed())}; give the whole path, "
                f"or have {ALLOWING}={name} set where the sweep runs"
            )
        if name not in os.environ:
            raise MissingError(
                f"{setting}: the environment has no {name}; set it, or give the whole path with --set"
            )
        return os.environ[name]

    place = _VARIABLE.sub(value, path.removeprefix(_LOCAL_FOLDER))
    if "\0" in place:
        raise ProblemError(f"{setting}: {path!r} has a NUL in it; remove it")
    home = Path(place).expanduser() if place.split("/")[0] == "~" else Path(place)
    # Of links that lead to one another Path.resolve makes an error of its own.
    if any(Path(os.path.realpath(home)).is_relative_to(secret) for secret in _SECRETS):
        raise ProblemError(f"{setting}: {path} is below {' or '.join(_SECRETS)}, where no data are")
    return f"{_LOCAL_FOLDER if path.startswith(_LOCAL_FOLDER) else ''}{home}"


@dataclass(frozen=True)
class Spelling:
    """How a section's paths are written.

    Attributes:
        written: for each path as a message may have it, the path as it is written; the longest first.
    """

    written: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, *settings: object) -> "Spelling":
        """Of those settings that are text, which may be paths, and of the folders that they are in."""
        paths = [setting for setting in settings if isinstance(setting, str)]
        found = {long: short for path in paths for long, short in _ways(path)}
        return cls(tuple(sorted(found.items(), key=lambda pair: -len(pair[0]))))

    def restored(self, text: str) -> str:
        """The text with every expanded path as it is written."""
        if not self.written:
            return text
        known = dict(self.written)
        choices = "|".join(re.escape(long) for long in known)
        # A whole path, or the beginning of one; no part of a name.
        return re.sub(rf"(?<![\w./-])(?:{choices})(?![\w-])", lambda found: known[found[0]], text)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Has messages name paths as they are written."""
        try:
            yield
        except ProblemError as error:
            raise type(error)(self.restored(str(error))) from error


def _ways(path: str) -> Iterator[tuple[str, str]]:
    """The path and its folders up to what was expanded: as messages may have them, and as written."""
    written = path.removeprefix(_LOCAL_FOLDER).partition("{split}")[0]
    try:
        filled = Path(expanded(written, ""))
    except ProblemError:
        return
    for long in (filled, filled.absolute()):
        short = PurePath(written)
        while long != short:
            yield str(long), str(short)
            if short.name != long.name or short == short.parent:
                break
            long, short = long.parent, short.parent
