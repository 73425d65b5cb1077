"""Who may do what: people, their roles, and the tokens by which they are known."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from search_spaces.messages import NAME_RULE
from search_spaces.part import Name
from sweeper.errors import UserError

_SHORTEST = 16  # characters of a token in a file: a random one of 16 cannot be guessed


class Role(IntEnum):
    """What a person may do; each role may do all that a lesser one may."""

    READ = 1
    SUBMIT = 2
    ADMIN = 3


@dataclass(frozen=True)
class Person:
    """Someone who asks the service."""

    name: str
    role: Role

    def may_change(self, owner: str | None) -> bool:
        """Whether they may stop and resume a sweep of that owner's; None where nobody is known to own it."""
        return self.role is Role.ADMIN or (self.role is Role.SUBMIT and owner == self.name)


#: Who has SWEEPER_TOKEN.
ADMIN = Person("admin", Role.ADMIN)
#: Whoever asks a service that has no tokens, and so answers on loopback alone.
LOCAL = Person("local", Role.ADMIN)


class People:
    """All who may ask, by their tokens; of the tokens only digests are kept."""

    def __init__(self, tokens: Mapping[str, Person]) -> None:
        self._by_digest = {_digest(token): person for token, person in tokens.items()}

    def __bool__(self) -> bool:
        return bool(self._by_digest)

    def by_token(self, shown: str) -> Person | None:
        """Whose token it is. The time that this takes tells nothing of any token."""
        shown_digest = _digest(shown)
        found = [p for digest, p in self._by_digest.items() if hmac.compare_digest(digest, shown_digest)]
        return found[0] if found else None

    def by_cookie(self, shown: str) -> Person | None:
        """Whose cookie it is, as `cookie` makes it."""
        given = shown.encode("utf-8", "replace")
        found = [p for digest, p in self._by_digest.items() if hmac.compare_digest(_cookie(digest), given)]
        return found[0] if found else None

    @staticmethod
    def cookie(token: str) -> str:
        """What a browser keeps instead of the token, from which the token cannot be told."""
        return _cookie(_digest(token)).decode()


def read_tokens(file: Path) -> dict[str, Person]:
    """The people of a file with a line ``NAME ROLE TOKEN`` each; empty lines and lines with # are left out.

    Raises:
        UserError: the file cannot be read, or a line is not as expected; no token is in the message.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"SWEEPER_TOKENS_FILE: {file} cannot be read: {type(error).__name__}") from None
    tokens: dict[str, Person] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            token, person = _line(line)
            if token in tokens or person.name in {other.name for other in tokens.values()}:
                raise ValueError("its name or its token is there twice")
        except ValueError as error:
            raise UserError(f"SWEEPER_TOKENS_FILE: {file}:{number}: {error}") from None
        tokens[token] = person
    return tokens


def _line(line: str) -> tuple[str, Person]:
    try:
        name, role, token = line.split()
    except ValueError:
        raise ValueError("expects NAME ROLE TOKEN") from None
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise ValueError(f"the name is none: expects {NAME_RULE}") from None
    if role.upper() not in Role.__members__:
        raise ValueError("the role is none: expects read, submit or admin")
    if len(token) < _SHORTEST:
        raise ValueError(f"the token is shorter than {_SHORTEST} characters")
    return token, Person(name, Role[role.upper()])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _cookie(digest: bytes) -> bytes:
    return hmac.new(digest, b"sweeper page", hashlib.sha256).hexdigest().encode()
