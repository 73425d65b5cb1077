"""A sweep in MLflow: its runs, and what belongs to its parent run."""

import tempfile
from pathlib import Path

from search_spaces import Space
from sweeper.storage.outages import Patience
from sweeper.study.records import SweepRecord
from sweeper.study.sweep_study import SweepStudy
from sweeper.tracking.projection import view
from sweeper.tracking.runs import SWEEP, Runs, server, tracking_uri
from sweeper.tracking.tracked import End, Opener
from sweeper.tracking.winner import log_winner


class MlflowRuns(Runs):
    """With the space file from the beginning; at the end with the report, the adapters and the winner."""

    elsewhere = " or set MLFLOW_TRACKING_URI"

    @property
    def place(self) -> str:
        """The server, without a password."""
        return server(self._uri)

    def begin(self, space: Space) -> None:
        """See `sweeper.tracking.tracked.Tracked`."""
        self.keep_view(*view(space))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "space.yaml"
            file.write_text(space.to_yaml())
            self.log_artifact(SWEEP, "", file)

    def finish(self, record: SweepRecord, end: End) -> None:
        """See `sweeper.tracking.tracked.Tracked`."""
        for place, path in end.artifacts.items():
            self.log_artifact(SWEEP, place, path)
        self.keep_artifacts(SWEEP, "adapters", record.front)
        if end.winner:
            log_winner(self, *end.winner)


def mlflow_runs(study: SweepStudy, home: Path) -> Opener:
    """Those of a sweep; home as for `tracking_uri`."""
    uri = tracking_uri(home)
    return lambda waiting, given_up: MlflowRuns(
        study.space.sweep, study.identify(), study.predates_ids, uri, Patience(server(uri), waiting, given_up)
    )
