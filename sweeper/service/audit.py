"""A line for every change: when, who, what, and of which sweep."""

import json
import logging
from datetime import UTC, datetime

from sweeper.service.people import Person

LOG = logging.getLogger("sweeper.audit")


def show() -> None:
    """Has the lines written to standard error."""
    LOG.addHandler(logging.StreamHandler())
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


def note(person: Person, what: str, sweep: str, job: str | None) -> None:
    """Writes down a change that has been made, as a line of JSON."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": person.name,
        "what": what,
        "sweep": sweep,
        "job": job,
    }
    LOG.info(json.dumps(line))
