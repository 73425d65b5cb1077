"""Storages over a real PostgreSQL that is stopped and started again."""

import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from postgres import PASSWORD, Postgres, server
from sqlalchemy import event

from sweeper.errors import UserError
from sweeper.storage.optuna_storage import mend_journal, open_storage, parse_url, shown

NOWHERE = Path("/nowhere/study.journal")
SECRETS = (PASSWORD, "s3cret")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with server() as running:
        yield running


@pytest.fixture
def url(postgres: Postgres, request: pytest.FixtureRequest) -> str:
    """An empty database of the test's own."""
    return postgres.create_database(request.node.name[:60])


class Listener:
    """What a driver is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, sentence: str) -> None:
        self.told.append(sentence)


def away(postgres: Postgres, seconds: float, how: signal.Signals = signal.SIGINT) -> None:
    postgres.stop(how)
    time.sleep(seconds)
    postgres.start()


def break_commit(storage: BaseStorage, postgres: Postgres, statement: str) -> list[str]:
    """Once, the transaction with the statement is committed, but its connection breaks before the answer.

    What is given has two entries when that has been.
    """
    engine = storage._database._backend.engine  # type: ignore[attr-defined]
    seen: list[str] = []

    @event.listens_for(engine, "after_cursor_execute")
    def look(connection, cursor, executed, parameters, context, many):  # type: ignore[no-untyped-def]
        seen.extend([executed] if executed.startswith(statement) and len(seen) < 2 else [])

    commit = engine.dialect.do_commit

    def commit_unseen(connection):  # type: ignore[no-untyped-def]
        commit(connection)
        if len(seen) == 1:
            seen.append("broken")
            driver = connection.dbapi_connection
            with postgres.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (driver.info.backend_pid,))
            driver.execute("SELECT 1")

    engine.dialect.do_commit = commit_unseen
    return seen


@pytest.mark.slow
def test_a_sweep_goes_on_over_restarts(postgres: Postgres, url: str) -> None:
    listener = Listener()
    study = optuna.create_study(storage=open_storage(url, NOWHERE, listener), study_name="s")
    stop = threading.Event()
    told: dict[int, float] = {}

    def drive() -> None:
        while not stop.is_set():
            trial = study.ask()
            value = trial.suggest_float("x", 0, 1)
            trial.set_user_attr("metrics", {"x": value})
            study.tell(trial, value)
            told[trial.number] = value

    with ThreadPoolExecutor(1) as thread:
        driving = thread.submit(drive)
        for how in (signal.SIGINT, signal.SIGQUIT):
            time.sleep(1)
            away(postgres, 3, how)
            before = len(told)
            while len(told) < before + 10 and not driving.done():
                time.sleep(0.1)
        stop.set()
        driving.result()
    kept = optuna.load_study(study_name="s", storage=open_storage(url, NOWHERE)).trials
    assert {t.number: t.value for t in kept if t.state == TrialState.COMPLETE} == told
    assert all(t.user_attrs["metrics"] == {"x": t.value} for t in kept if t.number in told)
    # Created at the moment of a restart, and seen by nobody: one at most for each.
    assert sum(t.state == TrialState.RUNNING for t in kept) <= 2
    shown_url = shown(url)
    assert [s.startswith(f"waiting for {shown_url}: ") for s in listener.told] == [True, False] * 2
    assert listener.told[1] == listener.told[3] == f"{shown_url} is back"
    assert not any(secret in sentence for secret in SECRETS for sentence in listener.told)


def enqueue(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.5})


def tell(study: optuna.Study) -> None:
    study.tell(study.ask(), 1.0)


def suggest(study: optuna.Study) -> None:
    study.ask().suggest_float("x", 0, 1)


def pop(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.5})
    assert study.ask().number == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "statement", "states"),
    [
        (enqueue, "INSERT INTO trial_system_attributes", [TrialState.WAITING]),
        (tell, "UPDATE trials SET state", [TrialState.COMPLETE]),
        (suggest, "INSERT INTO trial_params", [TrialState.RUNNING]),
        (pop, "UPDATE trials SET state", [TrialState.RUNNING]),
    ],
)
def test_what_was_committed_unseen_is_not_done_twice(
    postgres: Postgres,
    url: str,
    act: Callable[[optuna.Study], None],
    statement: str,
    states: list[TrialState],
) -> None:
    storage = open_storage(url, NOWHERE, Listener())
    study = optuna.create_study(storage=storage, study_name="s")
    broken = break_commit(storage, postgres, statement)
    act(study)
    assert len(broken) == 2
    kept = optuna.load_study(study_name="s", storage=open_storage(url, NOWHERE))
    assert [trial.state for trial in kept.trials] == states


@pytest.mark.slow
def test_a_study_that_was_created_unseen_is_the_one(postgres: Postgres, url: str) -> None:
    storage = open_storage(url, NOWHERE, Listener())
    broken = break_commit(storage, postgres, "INSERT INTO study_directions")
    optuna.create_study(storage=storage, study_name="s", directions=["maximize", "minimize"])
    assert len(broken) == 2
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        optuna.create_study(storage=storage, study_name="s")
    broken = break_commit(storage, postgres, "DELETE FROM studies")
    optuna.delete_study(storage=storage, study_name="s")
    assert len(broken) == 2
    assert optuna.get_all_study_names(open_storage(url, NOWHERE)) == []


@pytest.mark.slow
def test_a_database_that_is_away_is_waited_for_only_if_somebody_waits(postgres: Postgres, url: str) -> None:
    storage = open_storage(url, NOWHERE)
    study = optuna.create_study(storage=storage, study_name="s")
    postgres.stop()
    listener = Listener()
    try:
        for use in (lambda: open_storage(url, NOWHERE), study.ask, lambda: study.trials):
            with pytest.raises(UserError, match=r"does not answer: .*refused") as caught:
                use()
            assert not any(secret in str(caught.value) for secret in SECRETS)
        with ThreadPoolExecutor(1) as thread:
            opening = thread.submit(open_storage, url, NOWHERE, listener)
            time.sleep(3)
            assert not opening.done()
            postgres.start()
            opening.result(timeout=30)
    finally:
        postgres.stop()
        postgres.start()
    assert len(listener.told) == 2
    # One that nobody waits with has not been spoilt.
    assert study.ask().number == 0


@pytest.mark.slow
def test_a_mistake_is_no_outage(postgres: Postgres) -> None:
    wrong = postgres.url.replace("s3cret", "wr0ng")
    for mistaken, reason in ((wrong, "authentication failed"), (postgres.url + "x", "does not exist")):
        with pytest.raises(UserError, match=reason) as caught:
            open_storage(mistaken, NOWHERE, Listener())
        assert not any(secret in str(caught.value) for secret in (*SECRETS, "wr0ng"))


@pytest.mark.slow
def test_drivers_may_open_an_empty_database_at_once(url: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        storages = list(threads.map(lambda _: open_storage(url, NOWHERE), range(6)))
    assert all(optuna.get_all_study_names(storage) == [] for storage in storages)


def test_a_url_without_a_driver_gets_the_one_that_is_installed() -> None:
    for written in ("postgres://u:p@h/db", "postgresql://u:p@h/db", "postgresql+psycopg://u:p@h/db"):
        assert parse_url(written).drivername == "postgresql+psycopg"
    assert parse_url("sqlite:///study.db").drivername == "sqlite"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@127.0.0.1:9/db",
        "postgresql+psycopg://127.0.0.1:9/db?user=u&password=s3cret",
        "postgresql://u:s3cret@word@127.0.0.1/db",
        "postgresql://u:p@ss/s3cret@127.0.0.1/db",
        "mysql://u:s3cret@127.0.0.1/db",
        "nonsense s3cret",
    ],
)
def test_a_password_is_not_shown(url: str) -> None:
    with pytest.raises(UserError, match=r"^--storage: ") as caught:
        open_storage(url, NOWHERE)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in shown(url)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Of a study with trials, whose writer was killed in the middle of a line."""
    journal = tmp_path / "study.journal"
    study = optuna.create_study(storage=open_storage(None, journal), study_name="s")
    for value in range(20):
        study.tell(study.ask(), value)
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    return journal


def test_a_mended_journal_lacks_only_what_was_half_written(journal: Path) -> None:
    whole = journal.read_bytes()
    file = journal.stat().st_ino
    mend_journal(journal)
    assert journal.read_bytes() == whole[: whole.rfind(b"\n") + 1]
    assert journal.stat().st_ino == file
    kept = optuna.load_study(study_name="s", storage=open_storage(None, journal))
    assert [trial.value for trial in kept.trials] == list(range(20))


def test_mending_writes_nothing_again(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a machine that dies meanwhile loses nothing: no byte of a line that is whole is touched."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("written")

    for name in ("write_bytes", "write_text", "rename", "replace"):
        monkeypatch.setattr(Path, name, refuse)
    before = journal.read_bytes()
    mend_journal(journal)
    assert before.startswith(journal.read_bytes())


def test_a_journal_waits_for_room_on_its_disk(tmp_path: Path) -> None:
    """The limit on the size of a file stands for the size of a disk: a line is cut off in its middle."""
    listener, journal = Listener(), tmp_path / "study.journal"
    study = optuna.create_study(storage=open_storage(None, journal, listener), study_name="s")
    trial, before = study.ask(), journal.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
        with ThreadPoolExecutor(1) as thread:
            writing = thread.submit(trial.set_user_attr, "note", "x" * 100)
            time.sleep(2.5)
            assert not writing.done() and journal.read_bytes() == before
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            writing.result(timeout=10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [sentence.startswith("waiting for ") for sentence in listener.told] == [True, False]
    kept = optuna.load_study(study_name="s", storage=open_storage(None, journal)).trials
    assert kept[0].user_attrs == {"note": "x" * 100}
