"""MLflow: one experiment a sweep name, one parent run a sweep, one nested run for all that is trained."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.errors import UserError
from sweeper.storage.outages import Patience
from sweeper.study.records import SweepRecord, TrialRecord
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.origin import origin
from sweeper.tracking.projection import STATUS, Epochs, run_of_sweep, run_of_trial, until_end, view
from sweeper.tracking.runs import SWEEP, Runs, line, server, tracking_uri
from sweeper.tracking.winner import log_winner

History = Callable[[str], Iterable[Mapping[str, float]]]
_PAUSE = 60.0  # seconds before an MLflow that refuses is tried again


@dataclass(frozen=True)
class End:
    """How a sweep ends.

    Attributes:
        status: of the parent run.
        artifacts: files or folders by their place in the parent run.
        winner: the recommended trial and the folder of its adapter; None where there is none.
    """

    status: str
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    winner: tuple[TrialRecord, Path] | None = None


class Tracker:
    """Keeps the runs in MLflow as the study has them, on a thread of its own: a sweep never waits for it.

    There is one way. `sync` says what the study has now, and what MLflow lacks of it is written: what has
    just been reported as well as what a killed driver, an outage or a refusal has left out.

    Args:
        study: the sweep's, with an id.
        history: gives the epochs of a run that has ended, from its checkpoint.
        say: told, in the tracker's thread, when MLflow is away or refuses, and when it is back.
        source: the space file, where it is known.
        home: as for `tracking_uri`.
    """

    def __init__(
        self,
        study: SweepStudy,
        history: History,
        say: Callable[[str], None],
        source: Path | None = None,
        home: Path = Path(),
    ) -> None:
        uri = tracking_uri(home)
        self._server, self._say, self._history = server(uri), say, history
        self._space, self._name, self._origin = study.space, study.name, origin(source)
        self._record = study.record()
        self._end: End | None = None
        self._given_up, self._tried = threading.Event(), threading.Event()
        patience = Patience(self._server, self._waiting, self._given_up)
        self._runs = Runs(study.space.sweep, study.identify(), study.predates_ids, uri, patience)
        self._began = _now()
        self._open = False
        self._epochs: dict[str, list[Mapping[str, float]]] = {}
        self._settled: set[str] = set()
        self._front: frozenset[str] = frozenset()
        self._refusal: str | None = None
        self._again_at = 0.0
        self._changed = threading.Condition()
        self._asked = self._done = 0

    def open(self) -> None:
        """Tries MLflow by what a sweep will need: a run, and a file beside it. One that is away may be so.

        Raises:
            UserError: it refuses.
        """
        threading.Thread(target=self._work, name="mlflow", daemon=True).start()
        self.sync(self._record)
        self._tried.wait()
        if self._refusal:
            self._give_up()
            raise UserError(
                f"{self._server} refuses what a sweep writes: {self._refusal}; no trial has begun; mend it "
                f"or set MLFLOW_TRACKING_URI, and go on by `python -m sweeper resume {self._space.sweep}`"
            )

    def sync(self, record: SweepRecord, epochs: Mapping[str, Epochs] | None = None) -> None:
        """Has MLflow brought to what the study says.

        Args:
            record: of the sweep as it stands.
            epochs: of runs that this driver trains, with those that are new; empty for one that begins.
        """
        with self._changed:
            for key, new in (epochs or {}).items():
                known = self._epochs.setdefault(key, [])
                last = known[-1]["epoch"] if known else 0
                known.extend(epoch for epoch in new if epoch["epoch"] > last)
            self._record = record
            self._asked += 1
            self._changed.notify_all()

    def flush(self) -> None:
        """Waits until all has been written, or refused."""
        with self._changed:
            goal = self._asked
            self._changed.wait_for(lambda: self._done >= goal)

    def close(self, record: SweepRecord, end: End) -> None:
        """Brings MLflow to the end of the sweep, and waits for it, until a person interrupts that.

        What it has not taken is said in one line; the next `resume` writes it.
        """
        self._end = end
        self.sync(record)
        try:
            self.flush()
        except KeyboardInterrupt:
            self._refusal = self._refusal or "the wait for it was interrupted"
        self._give_up()
        if self._refusal:
            self._say(
                f"{self._server} lacks some of the sweep: {self._refusal}; "
                f"`python -m sweeper resume {self._space.sweep}` writes it"
            )

    def _give_up(self) -> None:
        """Ends the thread, also where it waits."""
        self._given_up.set()
        with self._changed:
            self._changed.notify_all()

    def _waiting(self, sentence: str) -> None:
        self._tried.set()
        self._say(sentence)

    def _work(self) -> None:
        while not self._given_up.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._asked > self._done or self._given_up.is_set())
                goal, record, end = self._asked, self._record, self._end
            if not self._given_up.is_set() and (end or time.monotonic() >= self._again_at):
                self._try(record, end)
            with self._changed:
                self._done = goal
                self._changed.notify_all()

    def _try(self, record: SweepRecord, end: End | None) -> None:
        try:
            self._write(record, end)
        except Exception as error:
            self._refused(error, ending=end is not None)
        else:
            if self._refusal:
                self._say(f"{self._server} takes what is written again")
            self._refusal, self._again_at = None, 0.0
        self._tried.set()

    def _refused(self, error: Exception, ending: bool) -> None:
        """All is looked up anew before the next try: a run, or all of them, may have been deleted."""
        news = self._tried.is_set() and not self._refusal and not ending and not self._given_up.is_set()
        self._refusal = line(error)
        self._open, self._again_at = False, time.monotonic() + _PAUSE
        if news:
            self._say(
                f"{self._server} refuses: {self._refusal}; the sweep goes on, and what is missing there is "
                "written when it takes it again"
            )

    def _write(self, record: SweepRecord, end: End | None) -> None:
        """Writes all that MLflow lacks; raises what went wrong first, when the rest is written."""
        if not self._open:
            self._begin(record)
        parent = self._runs.known[SWEEP].run_id
        front = frozenset(record.front)
        self._settled -= front ^ self._front
        self._front = front
        failed, ended = None, False
        for trial in record.runs:
            if trial.key in self._settled or not (trial.state in STATUS or trial.key in self._epochs):
                continue
            try:
                self._write_trial(trial, record, parent)
                ended = ended or trial.state in STATUS
            except Exception as error:
                failed = failed or error
        if failed:
            raise failed
        if end:
            self._finish(record, end)
        elif ended:
            self._write_sweep(record, "RUNNING")

    def _begin(self, record: SweepRecord) -> None:
        self._runs.open()
        self._settled.clear()
        known = self._runs.known.get(SWEEP)
        self._origin = {n: v for n, v in self._origin.items() if not known or n not in known.tags}
        self._write_sweep(record, "RUNNING")
        self._runs.keep_view(*view(self._space))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "space.yaml"
            file.write_text(self._space.to_yaml())
            self._runs.log_artifact(SWEEP, "", file)
        self._open = True
        self._tried.set()

    def _write_trial(self, trial: TrialRecord, record: SweepRecord, parent: str) -> None:
        known, over = self._runs.known.get(trial.key), trial.state in STATUS
        with self._changed:
            epochs = list(self._epochs.get(trial.key, ()))
        in_step = known and known.described and known.status == STATUS.get(trial.state)
        if over and not in_step and not epochs:
            epochs = list(self._history(trial.key))
        if over:
            epochs = list(until_end(trial, epochs))
        wanted = run_of_trial(trial, record, self._space, parent, epochs, known)
        self._runs.write(trial.key, wanted)
        if over:
            self._settled.add(trial.key)
            with self._changed:
                self._epochs.pop(trial.key, None)

    def _write_sweep(self, record: SweepRecord, status: str) -> None:
        wanted = run_of_sweep(record, self._space, self._origin, status, self._began, _now())
        self._runs.write(SWEEP, wanted)

    def _finish(self, record: SweepRecord, end: End) -> None:
        for place, path in end.artifacts.items():
            self._runs.log_artifact(SWEEP, place, path)
        self._runs.keep_artifacts(SWEEP, "adapters", record.front)
        if end.winner:
            log_winner(self._runs, *end.winner)
        self._write_sweep(record, end.status)


def _now() -> int:
    """Milliseconds, as MLflow counts time."""
    return int(time.time() * 1000)
