"""Files of weights, as others save them: read safely, and if that is not possible, described."""

import argparse
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from timm.models import clean_state_dict
from torch import Tensor

from trainables.backbones.backbone import reason
from trainables.errors import MissingError, ProblemError

# Where training scripts keep the weights, in timm's order: averaged ones are what their authors report.
_WRAPPED = ("state_dict_ema", "model_ema", "state_dict", "model")
_MOST_KEYS = 6

# The function by which numpy's numbers are pickled has no public name.
_scalar: Any = np.float64(0).__reduce__()[0]
# What training scripts save beside the weights, and runs nothing when it is read.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    _scalar,
    (_scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
]


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights.

    Attributes:
        path: where it is.
        setting: the setting of a space's ``model`` section that names it, which messages begin with.
    """

    path: str
    setting: str

    def refusal(self, text: str) -> ProblemError:
        """What is wrong with it, to be raised."""
        return ProblemError(f"{self.setting}: {text}")

    def check(self) -> None:
        """Whether it is there, and may hold weights.

        Raises:
            MissingError: there is no such file.
            ProblemError: it is a program.
        """
        if not Path(self.path).is_file():
            raise MissingError(f"{self.setting}: there is no file '{self.path}'")
        if _is_torch_script(self.path):
            raise self.refusal(
                f"'{self.path}' is a TorchScript archive, as OpenAI publishes CLIP: a program, which is "
                "not run; use "
                f"pretrained: openai, or write its weights to a file: torch.save(torch.jit.load("
                f"'{self.path}', map_location='cpu').state_dict(), 'weights.pt')"
            )

    def state(self) -> dict[str, Tensor]:
        """The weights by name, without the prefixes of wrappers.

        Raises:
            MissingError: there is no such file.
            ProblemError: it cannot be read, or holds something else.
        """
        self.check()
        try:
            content = self._content()
        except Exception as error:
            # Its reader can be broken in any way.
            raise self._unreadable(error) from error
        state = content
        for key in _WRAPPED:
            if isinstance(content, dict) and isinstance(content.get(key), Mapping):
                state = content[key]
                break
        if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
            raise self.refusal(
                f"'{self.path}' cannot be used as a checkpoint: {_described(content, self.path)}"
            )
        plain: dict[str, Tensor] = clean_state_dict(dict(state))
        return plain

    def check_fits(self, state: Mapping[str, Tensor], ours: Mapping[str, Tensor], name: str) -> None:
        """Whether a state, which has been read, is one of an architecture.

        Raises:
            ProblemError: it is not.
        """
        if text := misfit(state, ours):
            raise self.refusal(f"the checkpoint is not one of {name}: {text}")

    def _content(self) -> Any:
        if self.path.endswith(".safetensors"):
            return load_file(self.path)
        with harmless_globals():
            return torch.load(self.path, map_location="cpu", weights_only=True)

    def _unreadable(self, error: Exception) -> ProblemError:
        try:
            unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(self.path)
        except Exception:
            unsafe = []
        if not unsafe:
            return self.refusal(f"'{self.path}' cannot be read as a checkpoint: {reason(error)}")
        return self.refusal(
            f"'{self.path}' cannot be read as a checkpoint: beside weights it holds "
            f"{', '.join(sorted(unsafe)[:3])}, "
            "which could run code; if you trust it, load it with torch.load(FILE, weights_only=False), and "
            "save the model's state_dict alone to another file"
        )


def misfit(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> str | None:
    """What keeps weights from being those of an architecture, in short; None where nothing does."""
    missing, extra = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    if missing:
        return f"it lacks {_some(missing)}"
    if extra:
        return f"it has {_some(extra)}, which the model has not"
    for key, tensor in ours.items():
        if not isinstance(theirs[key], Tensor):
            return f"its {key} is no tensor"
        if theirs[key].shape != tensor.shape:
            return f"its {key} is {list(theirs[key].shape)}, the model's {list(tensor.shape)}"
    return None


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{rest}"


@contextmanager
def harmless_globals() -> Iterator[None]:
    """While it lasts, `torch.load` also reads settings and numbers that scripts save beside the weights."""
    with torch.serialization.safe_globals(_HARMLESS):
        yield


def _is_torch_script(path: str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(Path(name).name == "constants.pkl" for name in archive.namelist())


def _described(content: object, path: str) -> str:
    """What a file holds that is no state of one model, and what to do."""
    if not isinstance(content, Mapping):
        return f"it holds {type(content).__name__}, not weights by name"
    keys = [str(key) for key in content]
    some = ", ".join(keys[:_MOST_KEYS]) + (", ..." if len(keys) > _MOST_KEYS else "")
    states = [key for key in keys if isinstance(content[key], Mapping) and any(_tensors(content[key]))]
    if not states:
        return f"it holds {some or 'nothing'}, and no weights"
    best = "teacher" if "teacher" in states else states[0]
    # DINO's training files have the backbone under a prefix, beside a head of its own.
    return (
        f"it holds {some}, not the weights of one model; write those that you mean to a file of their own, "
        "such as torch.save({k.removeprefix('module.').removeprefix('backbone.'): v for k, v in "
        f"torch.load('{path}', weights_only=False)['{best}'].items() if 'head.' not in k}}, '{best}.pth')"
    )


def _tensors(state: Mapping[Any, Any]) -> Iterator[bool]:
    return (isinstance(value, Tensor) for value in state.values())
