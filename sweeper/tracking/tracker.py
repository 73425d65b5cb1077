"""Runs as a tracker keeps them: one a sweep, and one for each that it trains."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sweeper.errors import UserError
from sweeper.study.records import SweepRecord, TrialRecord
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.mlflow_runs import mlflow_runs
from sweeper.tracking.origin import origin
from sweeper.tracking.projection import STATUS, Epochs, run_of_sweep, run_of_trial, until_end
from sweeper.tracking.runs import SWEEP, line
from sweeper.tracking.tracked import End, Opener

History = Callable[[str], Iterable[Mapping[str, float]]]
_PAUSE = 60.0  # seconds before a tracker that refuses is tried again


class Tracker:
    """Keeps the runs in a tracker as the study has them, on a thread of its own: a sweep never waits for it.

    There is one way. `sync` says what the study has now, and what the tracker lacks of it is written: what
    has just been reported as well as what a killed driver, an outage or a refusal has left out.

    Args:
        study: the sweep's, with an id.
        history: gives the epochs of a run that has ended, from its checkpoint.
        say: told, in the tracker's thread, when the tracker is away or refuses, and when it is back.
        source: the space file, where it is known.
        home: as for `sweeper.tracking.runs.tracking_uri`.
        opener: of the tracker; None for MLflow's.
    """

    def __init__(
        self,
        study: SweepStudy,
        history: History,
        say: Callable[[str], None],
        source: Path | None = None,
        home: Path = Path(),
        opener: Opener | None = None,
    ) -> None:
        self._say, self._history = say, history
        self._space, self._name, self._origin = study.space, study.name, origin(source)
        self._record = study.record()
        self._end: End | None = None
        self._given_up, self._tried = threading.Event(), threading.Event()
        self._runs = (opener or mlflow_runs(study, home))(self._waiting, self._given_up)
        self._server = self._runs.place
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
        """Tries the tracker by what a sweep will need, such as a run. A server that is away may be so.

        Raises:
            UserError: it refuses.
        """
        threading.Thread(target=self._work, name="tracker", daemon=True).start()
        self.sync(self._record)
        self._tried.wait()
        if self._refusal:
            self._give_up()
            raise UserError(
                f"{self._server} refuses what a sweep writes: {self._refusal}; no trial has begun; mend it"
                f"{self._runs.elsewhere}, and go on by `python -m sweeper resume {self._space.sweep}`"
            )

    def sync(self, record: SweepRecord, epochs: Mapping[str, Epochs] | None = None) -> None:
        """Has the tracker brought to what the study says.

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
        """Brings the tracker to the end of the sweep, and waits for it, until a person interrupts that.

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
        """Writes all that the tracker lacks; raises what went wrong first, when the rest is written."""
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
        self._runs.begin(self._space)
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
        self._runs.finish(record, end)
        self._write_sweep(record, end.status)


def _now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)
