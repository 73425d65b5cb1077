"""The sweeps of a storage, read as seldom as is enough for people who look on."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from sweeper.errors import UserError
from sweeper.service.errors import ServiceError
from sweeper.storage import folders
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage, shown
from sweeper.study.records import SweepRecord
from sweeper.study.sweep_study import SweepStudy

T = TypeVar("T")

_SECONDS = 1.0  # for which what was read is good
_SHARE = 5.0  # it is good for so many times as long as it took to read
_JOURNALS = "the journals in ./sweeps"
_BROKEN = (SQLAlchemyError, StorageInternalError, OSError)


class Snapshot:
    """A sweep as it stood at one moment, and what has been made of it."""

    def __init__(self, study: SweepStudy, record: SweepRecord) -> None:
        self.study, self.record = study, record
        self._made: dict[Any, Any] = {}

    def once(self, make: Callable[[SweepRecord], T]) -> T:
        """What the function makes of the record, made once."""
        if make not in self._made:
            self._made[make] = make(self.record)
        return cast(T, self._made[make])


class _Reader:
    """Reads one sweep. Who asks while another one reads waits for what that one finds."""

    def __init__(self, name: str, storage: Callable[[], BaseStorage]) -> None:
        self._name, self._storage = name, storage
        self._lock = threading.Lock()
        self._study: SweepStudy | None = None
        self._found: Snapshot | None = None
        self._good_until = 0.0

    def read(self) -> Snapshot | None:
        with self._lock:
            began = time.monotonic()
            if began >= self._good_until:
                self._found = self._look(self._storage())
                now = time.monotonic()
                self._good_until = now + max(_SECONDS, _SHARE * (now - began))
            return self._found

    def _look(self, storage: BaseStorage) -> Snapshot | None:
        study = self._current(storage)
        if study is None:
            return None
        record, before = study.record(), self._found
        # The same figures stay the same snapshot, so that nothing is made of them twice.
        return (
            before
            if before and before.study is study and before.record == record
            else Snapshot(study, record)
        )

    def _current(self, storage: BaseStorage) -> SweepStudy | None:
        """The study; opened anew where the sweep was replaced, or more of its trials were asked for."""
        edition = SweepStudy.edition_of(self._name, storage)
        if edition is None:
            self._study = None
        elif self._study is None or self._study.edition != edition:
            self._study = SweepStudy(self._name, storage)
        return self._study


class Store:
    """All sweeps of SWEEPER_STORAGE; without it those whose folders are in ./sweeps."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._storages: dict[tuple[Any, ...], BaseStorage] = {}
        self._readers: dict[tuple[Any, ...], _Reader] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The sweeps that there are, sorted.

        Raises:
            ServiceError: 503, the storage does not answer.
        """
        if self._url is None:
            return folders.names()
        return self.safely(lambda: SweepStudy.names(self._open(self._url, "")))

    def read(self, name: str) -> Snapshot | None:
        """A sweep as it stands, not older than a second or than five times as long as reading it takes.

        None where the storage has none of the name.

        Raises:
            ServiceError: 503, the storage does not answer.
        """
        return self.safely(lambda: self._reader(name).read() if self._may_have(name) else None)

    def elsewhere(self, name: str) -> str | None:
        """Where its driver keeps a study that is not found here; None where nothing else is noted."""
        note = SweepFolder(name).path / "sweep.json"
        if not note.exists():
            return None
        theirs, ours = json.loads(note.read_text())["storage"], self._url and shown(self._url)
        if theirs == ours:
            return None
        return (
            f"its driver keeps the study in {theirs or _JOURNALS}, this service looks in "
            f"{ours or _JOURNALS}: start Ray's head and the service with one SWEEPER_STORAGE"
        )

    def _may_have(self, name: str) -> bool:
        return self._url is not None or (SweepFolder(name).path / "sweep.json").exists()

    def _reader(self, name: str) -> _Reader:
        folder = SweepFolder(name)
        url, journal = self._url or folder.storage(None), folder.journal
        study = name if self._url else folder.study
        # A journal that was removed and begun anew is another one.
        key = (name, url, journal.stat().st_ino if url is None and journal.exists() else None)
        with self._lock:
            return self._readers.setdefault(key, _Reader(study, lambda: self._open(url, name, *key)))

    def _open(self, url: str | None, name: str, *key: Any) -> BaseStorage:
        place = (url,) if url else key
        with self._lock:
            if place not in self._storages:
                self._storages[place] = open_storage(url, SweepFolder(name).journal)
            return self._storages[place]

    def safely(self, ask: Callable[[], T]) -> T:
        """What is asked of the storage.

        Raises:
            ServiceError: 503, the storage does not answer.
        """
        try:
            return ask()
        except UserError as error:
            raise ServiceError(503, str(error)) from None
        except _BROKEN as error:
            where = shown(self._url) if self._url else "in ./sweeps"
            raise ServiceError(503, f"the storage {where} does not answer ({type(error).__name__})") from None
