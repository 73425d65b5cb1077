"""A sweep's end for good."""

import shutil

from pyarrow.fs import FileSystem

from sweeper.errors import UserError
from sweeper.storage.folders import SweepFolder
from sweeper.storage.lock import only_driver
from sweeper.storage.results import is_there
from sweeper.study.sweep_study import open_study


def delete(name: str, yes: bool, storage: str | None) -> str:
    """Deletes a sweep's study, its checkpoints and report, wherever they are kept; what there is to say.

    Args:
        name: of the sweep.
        yes: whether it is meant.
        storage: as for `SweepFolder.storage`.

    Raises:
        UserError: no such sweep, it is running, or it is not meant.
    """
    folder = SweepFolder(name)
    url = folder.storage(storage)
    with only_driver(folder.study, folder.path, url):
        study = open_study(folder, url)
        places = [str(folder.path), *([folder.kept(study.results)] if study.results else [])]
        ended = f"{len(study.record().trials)} trials, {', '.join(places)}"
        if not yes:
            raise UserError(f"this would delete sweep '{name}' for good ({ended}); do it by --yes")
        for place in places[1:]:
            if is_there(place):
                system, path = FileSystem.from_uri(place)
                system.delete_dir(path)
        study.delete()
        # Last, so that what was cut off can be done again.
        shutil.rmtree(folder.path)
    return f"deleted sweep '{name}' ({ended}); its experiment in MLflow is still there"
