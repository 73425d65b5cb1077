"""Trained models, fetched from a service: the same files as from the sweep's own folder, or one message."""

import asyncio
import io
import json
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from conftest import TOKEN, Command, Make
from fastapi import FastAPI, Response
from mlflow import MlflowClient
from prepared import BLOCKS, SPACE, free_port, keep_weights, served, study
from workplace import Workplace

from search_spaces import load_space
from sweeper.api import load
from sweeper.commands.unpack import unpack
from sweeper.errors import UserError
from sweeper.formats import Format
from sweeper.service import command as commands
from sweeper.service import exports, turns
from sweeper.service.app import create_app
from sweeper.service.archive import Archive
from sweeper.service.errors import ServiceError
from sweeper.service.settings import Settings
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage
from sweeper.study.claim import claim
from sweeper.study.sweep_study import SweepStudy
from trainables.export import FORMATS

EXPORTS = Path("service") / "exports"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def settled(found: dict[str, bytes]) -> dict[str, object]:
    """The files; of peft's settings what they mean, as it writes sets of names in any order."""
    config = {name: json.loads(content) for name, content in found.items() if name == "adapter_config.json"}
    for settings in config.values():
        settings["target_modules"] = sorted(settings["target_modules"])
    return {**found, **config}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def writers() -> list[int]:
    """The processes in which this one has models written."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [process.pid] if "export" in process.cmdline() else []
    return found


def test_the_formats_are_those_that_there_are() -> None:
    assert set(Format) == FORMATS.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "trial", "key"),
    [
        ("merged", None, "trial-0000"),
        ("peft", "1", "trial-0001"),
        ("adapter", "3", "trial-0003"),
        ("adapter", "full", "baseline-full"),
    ],
)
def test_the_folder_is_the_one_that_a_local_export_writes(
    form: str, trial: str | None, key: str, server: str, sweep: SweepStudy, command: Command, tmp_path: Path
) -> None:
    keep_weights(sweep, key)
    named = ("--trial", trial) if trial else ()
    ask = ("export", "clip_lambda", "--format", form, *named)
    status, here = command(*ask, "--to", str(tmp_path / "here"))
    assert status == 0, here
    status, there = command(*ask, "--to", str(tmp_path / "new" / "there"), "--server", server)
    assert (status, there) == (0, here.replace(f"{tmp_path}/here", f"{tmp_path}/new/there"))
    assert there.startswith(f"exported {key} as {form}")
    assert settled(files(tmp_path / "new" / "there")) == settled(files(tmp_path / "here"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["there"]
    card = json.loads(
        (tmp_path / "here" / ("adapter.json" if form == "adapter" else "export.json")).read_text()
    )
    assert card["classes"] == [str(digit) for digit in range(10)] or len(card["classes"]) == 10
    if form == "merged":
        assert {"example.py", "head.safetensors", "model.safetensors"} <= files(tmp_path / "here").keys()
    wait_until(lambda: not list(EXPORTS.iterdir()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trial", "17"), "--trial 17: there is none; there are 0, 1, 2, 3, full"),
        (("--trial", "4"), "--trial 4: it is failed; complete are 0, 1, 2, 3, full"),
        (("--trial", "5"), "--trial 5: it is running; complete are 0, 1, 2, 3, full"),
        (("--trial", "1", "--blocks", "2"), "--blocks 2: trial 1 has no such point; it is no path"),
        (("--trial", "1"), "--trial 1: its weights are not here, there is no "),
        (("--format", "zip"), "'zip' is not one of 'peft', 'merged', 'adapter'"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_told_as_a_local_export_tells_it(
    arguments: tuple[str, ...], message: str, server: str, command: Command, tmp_path: Path
) -> None:
    ask = ("export", "clip_lambda", "--to", "mine", "--format", "merged", *arguments)
    here, there = command(*ask), command(*ask, "--server", server)
    assert here == there and here[0] == 2 and message in here[1]
    assert not Path("mine").exists() and not list(tmp_path.glob(".export-*"))


def test_what_a_format_cannot_hold_is_said(server: str, sweep: SweepStudy, command: Command) -> None:
    keep_weights(sweep, "baseline-full")
    ask = ("export", "clip_lambda", "--to", "mine", "--format", "peft", "--trial", "full", "--server", server)
    status, told = command(*ask)
    assert status == 2 and "full has no low-rank updates, which peft needs" in told


def test_a_sweep_without_a_front_or_a_beginning_is_told(server: str, command: Command, place: Path) -> None:
    given = ["sweep=young", "baselines=[]", "search.trials=2"]
    space, folder = load_space(SPACE, given), SweepFolder("young")
    folder.path.mkdir()
    claim(folder, None, print)
    SweepStudy.create(space, BLOCKS, {}, 1, open_storage(None, folder.journal), sweep_id=folder.id)
    (place / "service" / "spaces").mkdir(parents=True)
    (place / "service" / "spaces" / "unborn.yaml").write_text("")
    for name, message in {
        "young": "no trial met the budget, so none is recommended; give --trial: none yet",
        "unborn": "sweep 'unborn' has not begun yet",
        "clip_lamda": "there is no sweep 'clip_lamda'; did you mean 'clip_lambda'?",
    }.items():
        ask = ("export", name, "--to", "mine", "--format", "adapter", "--server", server)
        status, told = command(*ask)
        assert status == 2 and message in told and told.count("\n") == 1


def test_another_sweep_of_the_folders_name_is_not_exported(service: Make, place: Path) -> None:
    """In the database the name is another person's; the folder of the name here is a sweep `mine-1`."""
    url = f"sqlite:///{place}/studies.db"
    study(url=url)
    SweepFolder("clip_lambda").remember(url, "mine-1", "an-id")
    answer = service(storage=url).get("/sweeps/clip_lambda/export?format=merged")
    assert answer.status_code == 409 and "is sweep 'mine-1': export that one" in answer.json()["detail"]


def test_a_folder_in_use_is_refused_before_anything_is_asked(command: Command) -> None:
    Path("mine").mkdir()
    Path("mine/note").touch()
    address = f"http://127.0.0.1:{free_port()}"
    ask = ("export", "clip_lambda", "--to", "mine", "--format", "merged", "--server", address)
    status, told = command(*ask)
    assert status == 2 and "--to mine: it is in use" in told
    shutil.rmtree("mine")
    assert command(*ask)[1].startswith(f"no service answers at {address}")


def test_a_wrong_key_gives_nothing(server: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_TOKEN", "guess")
    ask = ("export", "clip_lambda", "--to", "mine", "--format", "merged", "--server", server)
    assert command(*ask) == (2, f"{server} has another token: set SWEEPER_TOKEN to the service's\n")
    assert not Path("mine").exists()


@contextmanager
def broken_off(sent: bytes) -> Iterator[str]:
    """A service that says all of that and ends; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(60)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("sized", [True, False])
def test_a_service_that_stops_in_the_middle_leaves_nothing(
    share: float, sized: bool, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(bytes(range(256)) * 2000)
    archive = b"".join(Archive(tmp_path / "model"))
    head = f"Content-Length: {len(archive)}" if sized else "Connection: close"
    sent = f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + archive[: int(share * len(archive))]
    with broken_off(sent) as address:
        ask = ("export", "any", "--to", "mine", "--format", "merged", "--server", address)
        status, told = command(*ask)
    assert status == 2 and "try again" in told and told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_client_that_hangs_up_while_the_model_is_written_ends_that(
    server: str, sweep: SweepStudy, command: Command, tmp_path: Path
) -> None:
    keep_weights(sweep, "trial-0000")
    address = f"{server}/sweeps/clip_lambda/export?format=merged"
    asking = socket.create_connection(("127.0.0.1", int(server.rpartition(":")[2])))
    asking.sendall(
        f"GET {address.removeprefix(server)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    wait_until(lambda: len(writers()) == 1)
    assert httpx.get(f"{server}/sweeps/clip_lambda", headers=BEARER).status_code == 200
    asking.close()
    wait_until(lambda: not writers() and not list(EXPORTS.iterdir()))
    ask = ("export", "clip_lambda", "--to", "mine", "--format", "adapter", "--server", server)
    assert command(*ask)[0] == 0


def test_a_client_that_hangs_up_while_it_fetches_ends_that(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    with (tmp_path / "large" / "model").open("wb") as file:
        file.truncate(1 << 30)  # more than any socket keeps
    kept = threading.Event()
    left = threading.Event()

    @asynccontextmanager
    async def folder() -> AsyncIterator[Path]:
        kept.set()
        try:
            yield tmp_path / "large"
        finally:
            left.set()

    app = FastAPI()

    @app.get("/model")
    async def model() -> Response:
        return exports.Delivery(folder(), {})

    with served(app) as address:
        with httpx.stream("GET", f"{address}/model") as answer:
            pieces = answer.iter_raw()  # which hangs up once it is no longer held
            next(pieces)
            assert kept.is_set() and not left.is_set()
        assert left.wait(60)


def test_it_is_sent_as_it_is_with_its_size(server: str, sweep: SweepStudy) -> None:
    keep_weights(sweep, "trial-0000")
    address = f"{server}/sweeps/clip_lambda/export"
    given = {"format": "adapter", "trial": "0"}
    answer = httpx.get(address, params=given, headers={**BEARER, "Accept-Encoding": "gzip"}, timeout=120)
    assert answer.headers["content-type"] == "application/x-tar"
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["sweeper-model"] == "trial-0000"
    assert 'filename="clip_lambda-trial-0000-adapter.tar"' in answer.headers["content-disposition"]
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames() == ["adapter.json", "adapter.safetensors"]


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """What the work gives, on a thread of its own: a browser of other tests has a loop on this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def test_only_so_many_are_written_and_kept_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep: SweepStudy
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.01)
    monkeypatch.setattr(exports, "_MOST", 1)

    async def ask() -> None:
        made = exports.Exports(tmp_path, tmp_path / "exports")
        async with made._kept:
            with pytest.raises(ServiceError, match="1 other models are being fetched; try again in a minute"):
                async with made.folder("clip_lambda", "trial-0000", Format.MERGED):
                    raise AssertionError
        async with made._writing:
            with pytest.raises(ServiceError, match="other models are being written; try again in a minute"):
                await made.register("clip_lambda", "trial-0000", "name")
        assert not made._kept.locked() and not (tmp_path / "exports").exists()

    finished(ask())


def test_what_a_service_that_was_killed_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "exports" / "tmpx" / "model").mkdir(parents=True)
    exports.Exports(tmp_path, tmp_path / "exports")
    assert not (tmp_path / "exports").exists()


def test_a_command_of_the_service_asks_no_service(
    sweep: SweepStudy, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_SERVER", f"http://127.0.0.1:{free_port()}")
    done, said = finished(commands.run(place, "list"))
    assert done and said.startswith("clip_lambda: ")


NAMES = ("plain", "a/b/c", "x" * 150, "é/ü " + "y" * 90, "empty", "block")


def test_an_archive_is_one_to_tar_and_to_unpack(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    sizes = dict(zip(NAMES, (1, 511, 513, 3 << 20, 0, 512), strict=True))
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(i % 251 for i in range(size)))
    packed = Archive(folder)
    whole = b"".join(packed)
    assert len(whole) == packed.size
    (tmp_path / "gnu").mkdir()
    subprocess.run(["tar", "xf", "-", "-C", tmp_path / "gnu"], input=whole, check=True)
    (tmp_path / "ours").mkdir()
    unpack(iter([whole[i : i + 7000] for i in range(0, len(whole), 7000)]), tmp_path / "ours")
    assert files(tmp_path / "ours") == files(tmp_path / "gnu") == files(folder)


def hostile(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    good = tarfile.TarInfo("good")
    return good.tobuf() + member.tobuf() + bytes(1024)


@pytest.mark.parametrize(
    "sent",
    [
        hostile("/etc/planted"),
        hostile("../planted"),
        hostile("a/../../planted"),
        hostile("link", tarfile.SYMTYPE, "/etc"),
        hostile("link", tarfile.LNKTYPE, "/etc/passwd"),
        hostile("device", tarfile.CHRTYPE),
        hostile("pipe", tarfile.FIFOTYPE),
        hostile("good"),
        hostile("good/below"),
        b"<html>no archive</html>" * 100,
        b"",
    ],
)
def test_nothing_but_plain_files_of_the_folder_is_unpacked(sent: bytes, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with pytest.raises(UserError):
        unpack(iter([sent]), tmp_path / "to")
    assert {path.name for path in tmp_path.rglob("*")} <= {"to", "good"}
    assert (tmp_path / "to").is_dir()


PATH = (
    "training.epochs=2",
    "data.id.limit=300",
    "training.batch_size=64",
    "data.ood=[]",
    "baselines=[]",
    "budget={active_blocks: 4, mode: path}",
    "method.path={counts: [32, 4]}",
    "points={scale: [0.5]}",
    "search={trials: 1, parameters: {training.lr: {choices: [4e-3]}}}",
)


@pytest.mark.slow
def test_each_point_of_a_path_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    place = Workplace(tmp_path)
    place.sweeper("run", str(SPACE), *(part for override in PATH for part in ("--set", override)))
    points = [model.key for model in load("clip_lambda").record.models]
    assert len(points) == 3 and any("scale" in key for key in points)
    with served(create_app(Settings())) as address:
        asked = [("--trial", key) for key in points] + [("--blocks", "32"), ("--trial", "0", "--blocks", "4")]
        for number, which in enumerate(asked):
            here, there = tmp_path / f"here{number}", tmp_path / f"there{number}"
            ask = ("export", "clip_lambda", "--format", "adapter", *which, "--to")
            status, told = command(*ask, str(here))
            assert status == 0, told
            assert command(*ask, str(there), "--server", address) == (0, told.replace("here", "there"))
            assert files(here) == files(there)
        ask = ("export", "clip_lambda", "--format", "adapter", "--blocks", "3", "--to", str(tmp_path / "x"))
        here_told, there_told = command(*ask), command(*ask, "--server", address)
        assert here_told == there_told and "it has points at 32, 4" in here_told[1]


@pytest.mark.slow
def test_a_model_is_registered_by_its_owner_where_the_service_has_mlflow(
    finished: Workplace, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.chdir(finished.folder)
    uri = finished.environment["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with served(create_app(Settings())) as address:
        ask = ("export", "clip_lambda", "--server", address, "--trial", "0", "--register")
        status, told = command(*ask, "by a service")
        assert (status, told) == (0, "registered trial-0000 as version 1 of by a service\n")
        assert "version 2 of by a service" in command(*ask, "by a service")[1]
        status, told = command(*ask, "a:b")
        assert status == 2 and told.startswith("--register a:b: ")
    (version, _) = MlflowClient(uri).search_model_versions("name = 'by a service'")
    assert version.status == "READY"


@pytest.mark.slow
def test_a_real_sweep_is_fetched_and_names_pictures(
    finished: Workplace, monkeypatch: pytest.MonkeyPatch, command: Command, tmp_path: Path
) -> None:
    monkeypatch.chdir(finished.folder)
    with served(create_app(Settings())) as address:
        for form in Format:
            ask = ("export", "clip_lambda", "--format", form, "--to")
            assert command(*ask, str(tmp_path / "here" / form))[0] == 0
            assert command(*ask, str(tmp_path / "there" / form), "--server", address)[0] == 0
    for form in Format:
        here, there = files(tmp_path / "here" / form), files(tmp_path / "there" / form)
        assert here and settled(here) == settled(there)
