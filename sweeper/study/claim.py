"""A new sweep's place in a storage that others use too."""

from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection

from search_spaces import longer_name
from sweeper.storage.folders import SweepFolder
from sweeper.storage.optuna_storage import open_storage, shown
from sweeper.storage.outages import Waiting
from sweeper.study.sweep_study import new_id

_DIRECTIONS = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]


def claim(folder: SweepFolder, url: str | None, waiting: Waiting) -> None:
    """Settles a new sweep's id and under which name a storage keeps it, and notes both in its folder.

    It is the sweep's own name, unless the storage has a sweep of that name already, which is somebody
    else's: then it is the name and the id. What an earlier start of the same sweep has settled stays.

    Args:
        folder: the sweep's.
        url: of the storage; None for a journal file in the folder, which nobody else has.
        waiting: told what is waited for, and of the other name.
    """
    if folder.remembers(url):
        return
    sweep_id, name = new_id(), folder.name
    if url is not None:
        storage = open_storage(url, folder.journal, waiting)
        try:
            study = storage.create_new_study(_DIRECTIONS, name)
        except DuplicatedStudyError:
            name = longer_name(name, sweep_id)
            study = storage.create_new_study(_DIRECTIONS, name)
            waiting(
                f"{shown(url)} has a sweep '{folder.name}' of another folder: it keeps this one as '{name}'"
            )
        storage.set_study_user_attr(study, "id", sweep_id)
    folder.remember(url, name, sweep_id)
