"""Disturbs a sweep at random moments until it has ended, and counts what it has then.

python -m benchmarks.soak --trials 300 --seed 0

Real: PostgreSQL, an MLflow server, a results disk (a small tmpfs, so root is needed), short trials that
train. Every now and then the driver is killed, the disk is full for a while, PostgreSQL or MLflow is away
for a while, or the process of a trial is killed. At the end there must be as many trials as asked for, each
complete and in one run of MLflow, with every epoch's metrics once.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import psutil  # type: ignore[import-untyped]
from mlflow import MlflowClient

from tests.postgres import Postgres, free_port, server

REPOSITORY = Path(__file__).parents[1]
RESULT = REPOSITORY / "benchmarks" / "results" / "soak.md"
EPOCHS = 3
AWAY = 8.0  # seconds
SETTINGS = (
    f"training.epochs={EPOCHS}",
    "training.batch_size=64",
    "data.id.limit=300",
    "data.ood=[]",
    "data.probes=[{source: glyphs, limit: 60, score: zero_shot}]",
    "baselines=[]",
    "budget={active_blocks: 32}",
    "resources.pack=1",
    "search.prune=false",
)


class Soak:
    """A sweep and what can be done to it."""

    def __init__(self, folder: Path, postgres: Postgres, trials: int, chance: random.Random) -> None:
        self.folder, self._postgres, self._chance = folder, postgres, chance
        self.study_url, self._mlflow_url = postgres.url, postgres.create_database("mlflow")
        self._port = free_port()
        self.tracking = f"http://127.0.0.1:{self._port}"
        self._trials = trials
        self._mlflow: subprocess.Popen[bytes] | None = None
        self.done: Counter[str] = Counter()
        self.faults: dict[str, Callable[[], None]] = {
            "the driver is killed": self._kill_driver,
            "the disk is full": self._fill_disk,
            "PostgreSQL is away": self._stop_postgres,
            "MLflow is away": self._stop_mlflow,
            "a trial's process is killed": self._kill_worker,
        }

    def run(self, seconds: tuple[float, float]) -> int:
        """Runs the sweep to its end, disturbed at random moments; its exit status."""
        self._start_mlflow()
        self._driver = self._start("run", str(REPOSITORY / "spaces" / "clip_lambda.yaml"), *self._settings())
        while True:
            try:
                return self._driver.wait(timeout=self._chance.uniform(*seconds))
            except subprocess.TimeoutExpired:
                what = self._chance.choice(list(self.faults))
                self.done[what] += 1
                self._note(f"-- {what}")
                self.faults[what]()

    def stop(self) -> None:
        """Ends what was started."""
        for process in (self._driver, self._mlflow):
            if process is not None:
                _kill(process.pid)

    def _settings(self) -> list[str]:
        search = (
            f"search={{sampler: random, trials: {self._trials}, prune: false, "
            "parameters: {training.lr: {low: 1e-4, high: 1e-2, log: true}}}"
        )
        chosen = [part for setting in (search, *SETTINGS) for part in ("--set", setting)]
        return [*chosen, "--name", "soak", "--results", str(self.folder / "disk")]

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"MLFLOW_TRACKING_URI": self.tracking, "OMP_NUM_THREADS": "1"}
        environment["SWEEPER_STORAGE"] = self.study_url  # it has a password
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "sweeper", *arguments],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _note(self, line: str) -> None:
        with (self.folder / "log").open("a") as log:
            log.write(f"{line}\n")

    def _kill_driver(self) -> None:
        _kill(self._driver.pid)
        kept = optuna.get_all_study_names(self.study_url)
        if "soak" in kept:
            self._driver = self._start("resume", "soak")
        else:
            space = str(REPOSITORY / "spaces" / "clip_lambda.yaml")
            self._driver = self._start("run", space, *self._settings())

    def _fill_disk(self) -> None:
        ballast = self.folder / "disk" / "ballast"
        with ballast.open("wb", buffering=0) as file:
            size = 2**20
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2
        time.sleep(AWAY)
        ballast.unlink()

    def _stop_postgres(self) -> None:
        self._postgres.stop()
        time.sleep(AWAY)
        self._postgres.start()

    def _start_mlflow(self) -> None:
        options: dict[str, object] = {"port": self._port}
        options |= {"backend-store-uri": self._mlflow_url, "artifacts-destination": self.folder / "artifacts"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        with (self.folder / "mlflow.log").open("ab") as log:
            self._mlflow = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--workers", "1", *arguments],
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop_mlflow(self) -> None:
        if self._mlflow is not None:
            _kill(self._mlflow.pid)
        time.sleep(AWAY)
        self._start_mlflow()

    def _kill_worker(self) -> None:
        for process in psutil.Process(self._driver.pid).children(recursive=True):
            try:
                if "FineTune" in " ".join(process.cmdline()):
                    process.kill()
                    return
            except psutil.NoSuchProcess:
                continue


def _kill(pid: int) -> None:
    """A process and all that it has started."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    for one in (process, *process.children(recursive=True)):
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait(timeout=30)


@contextmanager
def _disk(folder: Path, trials: int) -> Iterator[None]:
    """A file system of its own at a folder, with room for the checkpoints of so many trials."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={16 + trials}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def count(soak: Soak, trials: int) -> list[str]:
    """What is wrong with what is there at the end; empty where all is as asked."""
    kept = optuna.load_study(study_name="soak", storage=soak.study_url).trials
    wrong = [f"trial {t.number} is {t.state.name}" for t in kept if t.state.name != "COMPLETE"]
    if len(kept) != trials:
        wrong.append(f"{len(kept)} trials of {trials}")
    client = MlflowClient(soak.tracking)
    experiment = client.get_experiment_by_name("soak")
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id], max_results=5000))
    keys = Counter(run.data.tags["key"] for run in runs if run.data.tags["role"] == "trial")
    expected = Counter({f"trial-{number:04d}": 1 for number in range(trials)})
    wrong += [f"{key}: {keys[key]} runs" for key in expected | keys if keys[key] != expected[key]]
    for run in runs:
        if run.data.tags["role"] == "trial":
            history = client.get_metric_history(run.info.run_id, "loss")
            if sorted(metric.step for metric in history) != list(range(1, EPOCHS + 1)):
                wrong.append(f"{run.data.tags['key']}: epochs {[metric.step for metric in history]}")
            if run.info.status != "FINISHED":
                wrong.append(f"{run.data.tags['key']}: {run.info.status}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--between", type=float, nargs=2, default=(20.0, 60.0), help="seconds, from and to")
    chosen = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name, server() as postgres:
        folder = Path(name)
        with _disk(folder / "disk", chosen.trials):
            soak = Soak(folder, postgres, chosen.trials, random.Random(chosen.seed))
            try:
                status = soak.run(tuple(chosen.between))
                wrong = count(soak, chosen.trials) if status == 0 else [f"exit status {status}"]
            finally:
                soak.stop()
                log = (folder / "log").read_text()
    waits = [
        line
        for line in log.splitlines()
        if line.startswith(("--", "waiting", "paused", "goes on")) or line.endswith(" is back")
    ]
    minutes = (time.monotonic() - start) / 60
    report = [
        "# Soak",
        "",
        f"`python -m benchmarks.soak --trials {chosen.trials} --seed {chosen.seed}`, {minutes:.0f} minutes.",
        "",
        *(f"- {what}: {times} times" for what, times in sorted(soak.done.items())),
        "",
        f"**{'; '.join(wrong) or f'All {chosen.trials} trials are complete, each once, every epoch once.'}**",
        "",
        "What the log says of it:",
        "",
        *(f"    {line.replace(str(folder), '.')}" for line in waits),
    ]
    RESULT.write_text("\n".join(report) + "\n")
    print("\n".join(report if not wrong else [*report, log[-6000:]]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
