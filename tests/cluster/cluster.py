"""The services of docker-compose.yml as processes of this machine: their commands, environments and checks.

Each has a network namespace and a process namespace of its own, as a container has. So it can be cut off, and
killed with all that it has started. What differs from a container: `_different`, `_here` and `_Database`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import compose_file
from network import Network, network
from postgres import binary

VARIABLES = {
    "POSTGRES_PASSWORD": "sesame-of-postgres",
    "RAY_AUTH_TOKEN": "sesame-of-ray" * 3,
    "SWEEPER_TOKEN": "sesame-of-the-service",
    "WORKER_CPUS": "1",
    "RAY_OBJECT_STORE_MEMORY": "200000000",
}
INSTANCES = {
    "postgres": "postgres",
    "mlflow": "mlflow",
    "head": "head",
    "worker-1": "worker",
    "worker-2": "worker",
    "service": "service",
}
# A process namespace, and shared memory and a folder for Ray of its own, as in a container.
_PRIVATE = 'mkdir -p /tmp/ray && mount --bind "$0" /tmp/ray && mount -t tmpfs tmpfs /dev/shm && exec "$@"'
_ISOLATED = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", _PRIVATE]
_BIN = Path(sys.executable).parent


class Cluster:
    """Instances of services. An instance has the name of its service, or `worker-1`, `worker-2`."""

    def __init__(self, folder: Path, net: Network) -> None:
        self.folder = folder
        self.network = net
        self._file = compose_file.load(VARIABLES)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._database = _Database(folder / "postgres", self._file)
        self._write_secrets()

    def start(self, *names: str) -> None:
        """Starts instances, side by side, and waits until their health checks pass."""
        for name in names:
            command = self._command(name)
            with self._log(name).open("ab") as log:
                self._running[name] = subprocess.Popen(
                    # A process namespace ends with its first process, and everything in it then.
                    [*self.network.inside(name), *_ISOLATED, _made(self.folder / "tmp" / name), *command],
                    env=self.environment(name),
                    cwd=self._directory(name),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
        for name in names:
            self.wait_healthy(name)

    def stop(self, name: str, seconds: float = 60) -> None:
        """`docker stop`: asks an instance to end, and ends it after a while."""
        # The image of PostgreSQL asks for SIGINT, which does not wait for clients to leave.
        self._signal(name, signal.SIGINT if name == "postgres" else signal.SIGTERM)
        try:
            self._running[name].wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(name)

    def kill(self, name: str) -> None:
        """`docker kill`, or the machine lost power."""
        self._signal(name, signal.SIGKILL)
        self._running[name].wait()

    def cut(self, name: str) -> None:
        """Cuts an instance off from the network."""
        self.network.cut(name)

    def heal(self, name: str) -> None:
        """Undoes `cut`."""
        self.network.heal(name)

    def close(self) -> None:
        """Ends everything, the last first."""
        for name in reversed(self._running):
            self.kill(name)

    def wait_end(self, name: str, seconds: float) -> None:
        """Waits until an instance ends by itself, when `restart: unless-stopped` would start it again."""
        self._running[name].wait(seconds)

    def wait_healthy(self, name: str, seconds: float = 150) -> None:
        """Waits until the health check of docker-compose.yml passes."""
        kind, *check = self._service(name)["healthcheck"]["test"]
        assert kind == "CMD", check
        deadline = time.monotonic() + seconds
        while (asked := self.run(name, *check)).returncode:
            ended = self._running[name].poll()
            what = f"{name} (ended: {ended}) is not healthy: {asked.stdout}{self.log(name)[-3000:]}"
            assert ended is None and time.monotonic() < deadline, what
            time.sleep(0.5)

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """`docker compose exec`: runs a command beside an instance, to its end."""
        first = self._first_process(name)
        if first is None:
            return subprocess.CompletedProcess(command, 1, f"{name} does not run")
        where = [f"--target={first}", "--mount", "--net", "--pid", f"--wd={self._directory(name)}"]
        return subprocess.run(
            ["nsenter", *where, *command],
            env=self.environment(name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def log(self, name: str) -> str:
        """What an instance has printed."""
        return self._log(name).read_text(errors="replace")

    def volume(self, target: str) -> Path:
        """Where this machine has what containers see under a path."""
        return Path(self._here(target))

    def environment(self, name: str) -> dict[str, str]:
        """The environment of docker-compose.yml, and nothing of this process's that could lead elsewhere."""
        written = self._service(name).get("environment", {})
        return {key: self._here(str(value)) for key, value in written.items()} | self._different(name)

    def _different(self, name: str) -> dict[str, str]:
        """What the image gives to a container, and this machine has elsewhere."""
        return {
            "PATH": _path(),
            "HOME": os.environ.get("HOME", "/root"),
            "PYTHONUNBUFFERED": "1",
            # The tests have few cores.
            "OMP_NUM_THREADS": "1",
        }

    def _command(self, name: str) -> list[str]:
        if name == "postgres":
            return self._database.command()
        command: list[str] = self._service(name)["command"]
        return [self._here(word) for word in command]

    def _service(self, name: str) -> Mapping[str, Any]:
        service: Mapping[str, Any] = self._file["services"][INSTANCES[name]]
        return service

    def _directory(self, name: str) -> str:
        return _made(Path(self._here(self._service(name).get("working_dir", "/home/sweeper/work"))))

    def _write_secrets(self) -> None:
        """The files that services are given, for the user of the services alone."""
        for source, target in compose_file.secret_files(self._file).items():
            file = Path(self._here(target))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._file["configs"][source]["content"])
            file.chmod(0o400)

    def _here(self, text: str) -> str:
        """A text in which the paths of volumes and of secrets lead into the temporary folder."""
        volumes = {volume for one in self._file["services"].values() for volume in one.get("volumes", ())}
        targets = {volume.removesuffix(":ro").split(":")[-1] for volume in volumes}
        for target in targets | set(compose_file.secret_files(self._file).values()):
            text = re.sub(rf"(?<![\w./]){target}(?![\w.-])", f"{self.folder}/volumes{target}", text)
        return text

    def _log(self, name: str) -> Path:
        return Path(_made(self.folder / "logs")) / f"{name}.log"

    def _signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to the first process of an instance's process namespace."""
        first = self._first_process(name)
        if first is not None:
            os.kill(first, number)

    def _first_process(self, name: str) -> int | None:
        """The first process of an instance's process namespace, by this machine's count; None if it ended."""
        outer = self._running[name].pid
        children = Path(f"/proc/{outer}/task/{outer}/children")
        found = children.read_text().split() if children.exists() else []
        return int(found[0]) if found else None


class _Database:
    """PostgreSQL's own server, set up as the image's entrypoint does it. It refuses to run as root."""

    def __init__(self, folder: Path, file: Mapping[str, Any]) -> None:
        self.folder = folder
        self._environment: Mapping[str, str] = file["services"]["postgres"]["environment"]
        self._script: str = file["configs"]["databases"]["content"]
        self._password: str = file["configs"]["postgres-password"]["content"]

    def command(self) -> list[str]:
        """The server's command; makes the databases first if there are none."""
        if not self.folder.exists():
            self._initialise()
        sockets = ["-c", "unix_socket_directories=", "-c", "listen_addresses=*"]
        return [*_as_postgres(), "postgres", "-D", str(self.folder), *sockets]

    def _initialise(self) -> None:
        given = self._environment
        self.folder.mkdir()
        shutil.chown(self.folder, "postgres", "postgres")
        with tempfile.NamedTemporaryFile("w") as password:
            password.write(self._password)
            password.flush()
            shutil.chown(password.name, "postgres")
            secret = [
                f"--pwfile={password.name}",
                "--encoding=UTF8",
                "--auth-host=scram-sha-256",
                "--auth-local=trust",
            ]
            self._as("initdb", "-D", ".", "-U", given["POSTGRES_USER"], *secret, "--no-sync")
        with (self.folder / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        single = ("postgres", "--single", "-D", ".", "postgres")
        for statement in (f"CREATE DATABASE {given['POSTGRES_DB']};", self._script):
            self._as(*single, text=statement)

    def _as(self, *command: str, text: str = "") -> None:
        subprocess.run(
            [*_as_postgres(), *command],
            cwd=self.folder,
            env={"PATH": _path()},
            input=text.encode(),
            check=True,
            capture_output=True,
        )


def _as_postgres() -> Sequence[str]:
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _path() -> str:
    """Where programs are: those of this environment, and PostgreSQL's."""
    return os.pathsep.join([str(_BIN), str(Path(binary("postgres")).parent), os.environ["PATH"]])


def missing() -> str:
    """What this machine lacks to run a cluster; empty if nothing."""
    needed = {"root's rights": os.geteuid() == 0, "ip (iproute2)": shutil.which("ip")}
    return ", ".join(name for name, there in needed.items() if not there)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """All services, started as `docker compose up` does, and ended with everything that they have started."""
    folder = Path(tempfile.mkdtemp(prefix="sweeper-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with network(list(INSTANCES)) as net:
            made = Cluster(folder, net)
            try:
                yield made
            finally:
                made.close()
    finally:
        shutil.rmtree(folder)


def _made(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
