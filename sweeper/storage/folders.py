"""The folder of a sweep."""

import difflib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from sweeper.errors import UserError
from sweeper.storage.optuna_storage import located, shown

_SWEEPS = "sweeps"


@dataclass(frozen=True)
class SweepFolder:
    """``sweeps/<name>``: the journal, the checkpoints (unless they are kept elsewhere), the report.

    Its ``sweep.json`` notes where the study is, under which name, and the sweep's id.

    Attributes:
        home: the absolute folder that ``sweeps`` is in; the working folder, unless another is given.
    """

    name: str
    home: Path = field(default_factory=Path.cwd)

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.home / _SWEEPS / self.name

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
        return f"{results}/{self.study}" if results else str(self.path)

    def trial(self, key: str, results: str | None) -> str:
        """Path or URL of a trial's checkpoint."""
        return f"{self.kept(results)}/trials/{key}"

    @property
    def study(self) -> str:
        """The name under which the storage keeps the sweep: another than here if someone else had it."""
        return str(self._note().get("study", self.name))

    @property
    def id(self) -> str | None:
        """The sweep's id; None where none is noted."""
        return self._note().get("id")

    def remember(self, url: str | None, study: str, sweep_id: str) -> None:
        """Notes where the study is kept, under which name, and the sweep's id. A password is left out."""
        self.path.mkdir(parents=True, exist_ok=True)
        note = {"storage": url and shown(url), "study": study, "id": sweep_id}
        (self.path / "sweep.json").write_text(json.dumps(note) + "\n")

    def remembers(self, url: str | None) -> bool:
        """Whether that storage is the one that is noted."""
        note = self._note()
        return bool(note) and note["storage"] == (url and shown(url))

    def _note(self) -> dict[str, Any]:
        file = self.path / "sweep.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def storage(self, given: str | None) -> str | None:
        """URL of the storage that was noted, or as it is given now; None for the journal file.

        Raises:
            UserError: no such sweep, or the noted URL lacks its password.
        """
        if given is not None:
            return given
        note = self._note()
        if not note:
            near = difflib.get_close_matches(self.name, names(self.home), n=1)
            hint = (
                f"; did you mean '{near[0]}'?" if near else "; `python -m sweeper list` shows what there is"
            )
            raise UserError(f"there is no sweep '{self.name}' in {self.home / _SWEEPS}{hint}")
        url: str | None = note["storage"]
        if url is not None and make_url(url).password == "***":
            raise UserError(
                f"the study of sweep '{self.name}' is in {url}: set SWEEPER_STORAGE to it with its password"
            )
        return url and located(url, self.home)


def names(home: Path = Path()) -> list[str]:
    """Names of the sweeps that are kept in a folder; in the working folder, unless another is given."""
    return sorted(note.parent.name for note in home.glob(f"{_SWEEPS}/*/sweep.json"))


def references(home: Path = Path()) -> Path:
    """Where scores of pre-trained models are kept, beside the sweeps."""
    return home / _SWEEPS / ".references"


@contextmanager
def fresh_folder(to: Path) -> Iterator[Path]:
    """A folder to write into, which becomes the one that is asked for when all is written, or nothing does.

    Raises:
        UserError: the folder is in use, or cannot be made.
    """
    if to.is_file() or (to.is_dir() and any(to.iterdir())):
        raise UserError(f"--to {to}: it is in use; name a folder that is not there yet, or an empty one")
    beside = to.absolute().parent
    try:
        beside.mkdir(parents=True, exist_ok=True)
        beside_it = tempfile.TemporaryDirectory(prefix=".export-", dir=beside)
    except OSError as error:
        raise UserError(f"--to {to}: cannot be made: {error.strerror}") from None
    with beside_it as scratch:
        written = Path(scratch) / "written"
        written.mkdir()
        yield written
        written.rename(to)
