"""Reading weights from wherever they come: an exported folder, or a checkpoint of another's."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from trainables.backbones import Backbone, is_path, open_backbone
from trainables.errors import ProblemError
from trainables.export import adapter, merged, peft_format, trained
from trainables.export.given import Given
from trainables.sections import Model

# What tells the formats apart: peft's folder may have an export.json too.
_FOLDERS: dict[str, Callable[[Path, Backbone], Given]] = {
    adapter.CARD_FILE: adapter.load_adapter,
    peft_format.CONFIG_FILE: peft_format.load_peft,
    trained.EXPORT_FILE: merged.load_merged,
}


def load_given(path: Path, backbone: Backbone, model: Model) -> Given:
    """The model of a folder that a format's writer has written, or of a checkpoint file.

    Args:
        path: the folder or file.
        backbone: the pre-trained model; it is not changed.
        model: the resolved ``model`` section that it was opened from.

    Raises:
        ProblemError: there is nothing at the path, it cannot be read, or it does not fit the model.
    """
    try:
        if path.is_dir():
            return load_folder(path, backbone)
        if not path.is_file():
            raise ProblemError("there is no such folder or file")
        return _of_file(path, backbone, model)
    except ProblemError as error:
        text = str(error).removeprefix("file: ")
        raise ProblemError(text if str(path) in text else f"{path}: {text}") from error
    except Exception as error:
        # A file from elsewhere can break its reader in any way.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ProblemError(f"{path}: cannot be read as weights of the space's model: {reason}") from error


def load_folder(folder: Path, backbone: Backbone) -> Given:
    """The model of a folder that a format's writer has written, on a backbone as `load_given` takes it.

    Raises:
        ProblemError: the folder is none, or does not fit the backbone.
    """
    return _loader(folder)(folder, backbone)


def _of_file(path: Path, backbone: Backbone, model: Model) -> Given:
    """A checkpoint of the space's architecture, whose pictures are prepared as the space says."""
    tag = "bundled" if is_path(model.pretrained) else model.pretrained
    given = open_backbone(model.library, model.name, tag, str(path), model.img_size)
    theirs, ours = _outputs(given), _outputs(backbone)
    if theirs == ours:
        return Given(given)
    head = f"a head for {theirs} classes" if theirs else "no head"
    note = (
        f"{path} has {head}, the pre-trained model one for {ours}: the checkpoint's backbone is "
        "measured, and "
        "where a probe asks for a head, with the pre-trained one"
    )
    return Given(given, note=note)


def _outputs(backbone: Backbone) -> int:
    """How many classes a model's own classifier has; 0 where there is none."""
    head = backbone.classifier
    return head.out_features if isinstance(head, nn.Linear) else 0


def _loader(folder: Path) -> Callable[[Path, Backbone], Given]:
    for file, load in _FOLDERS.items():
        if (folder / file).is_file():
            return load
    raise ProblemError(
        f"the folder holds none of {', '.join(_FOLDERS)}; give one that `export` or peft has written, "
        "or a checkpoint file"
    )
