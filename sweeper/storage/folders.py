"""The folder of a sweep."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from sweeper.errors import UserError
from sweeper.storage.optuna_storage import shown

ROOT = Path("sweeps")


@dataclass(frozen=True)
class SweepFolder:
    """``sweeps/<name>``: the journal, the checkpoints (unless they are kept elsewhere), the report."""

    name: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return (ROOT / self.name).absolute()

    @property
    def journal(self) -> Path:
        """Optuna's journal file, if the study is kept here."""
        return self.path / "study.journal"

    @property
    def report(self) -> Path:
        """Where the report is written."""
        return self.path / "report"

    def kept(self, results: str | None) -> str:
        """Path or URL under which checkpoints are: in the folder, or where the sweep's results are kept."""
        return f"{results}/{self.name}" if results else str(self.path)

    def trial(self, key: str, results: str | None) -> str:
        """Path or URL of a trial's checkpoint."""
        return f"{self.kept(results)}/trials/{key}"

    def remember_storage(self, url: str | None) -> None:
        """Notes where the study is kept. A password is left out."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "sweep.json").write_text(json.dumps({"storage": url and shown(url)}) + "\n")

    def storage(self, given: str | None) -> str | None:
        """URL of the storage that was noted, or as it is given now; None for the journal file.

        Raises:
            UserError: no such sweep, or the noted URL lacks its password.
        """
        if given is not None:
            return given
        note = self.path / "sweep.json"
        if not note.exists():
            near = difflib.get_close_matches(self.name, names(), n=1)
            hint = (
                f"; did you mean '{near[0]}'?" if near else "; `python -m sweeper list` shows what there is"
            )
            raise UserError(f"there is no sweep '{self.name}' in {ROOT.absolute()}{hint}")
        url: str | None = json.loads(note.read_text())["storage"]
        if url is not None and make_url(url).password == "***":
            raise UserError(
                f"the study of sweep '{self.name}' is in {url}: set SWEEPER_STORAGE to it with its password"
            )
        return url


def names() -> list[str]:
    """Names of the sweeps in this working directory."""
    return sorted(note.parent.name for note in ROOT.glob("*/sweep.json"))
