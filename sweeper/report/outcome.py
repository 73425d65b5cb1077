"""What a sweep leaves behind: the record and the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search_spaces import longer_name, parse_space
from sweeper.report import write_report
from sweeper.storage.folders import SweepFolder
from sweeper.study.front import recommended
from sweeper.study.records import SweepRecord
from sweeper.study.sweep_study import SweepStudy


@dataclass(frozen=True)
class Outcome:
    """The end of a sweep, or its state so far.

    Attributes:
        page: the report's ``index.html``; None if it could not be written.
        reproduce: the command that trains the recommended trial again; None if no trial met the budget.
        tracking: the trackers that have its runs.
    """

    record: SweepRecord
    page: Path | None
    reproduce: str | None
    tracking: tuple[str, ...] = ()


def write_outcome(study: SweepStudy, folder: SweepFolder) -> Outcome:
    """Writes the report as the sweep stands now."""
    record = study.record()
    best = recommended(record)
    reproduce = None
    if best is not None:
        reproduce = f"python -m sweeper run {_write_recommended(study, folder, best.parameters, best.key)}"
    page = write_report(record, folder.report, recommended_command=reproduce)
    return Outcome(record, page, reproduce, study.space.tracking)


def _write_recommended(
    study: SweepStudy, folder: SweepFolder, values: Mapping[str, object], key: str
) -> Path:
    """A space of one trial, the recommended one, under a name of its own."""
    space = study.space.with_values(values).dump()
    space["sweep"] = longer_name(study.name, key)
    # Nothing is searched, so any sampler will do; the one called budget would miss its price.
    space["search"] |= {"sampler": "tpe", "trials": 1, "parameters": {}, "enqueue": [], "from": []}
    path = folder.report / "recommended.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(parse_space(space).to_yaml())
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
