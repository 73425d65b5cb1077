"""Files of weights, as others save them: read safely, and if that is not possible, described."""

import argparse
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from timm.models import clean_state_dict
from torch import Tensor

from trainables.backbones.backbone import reason
from trainables.errors import MissingError, ProblemError, unfetched

# Where training scripts keep the weights, in timm's order: averaged ones are what their authors report.
_WRAPPED = ("state_dict_ema", "model_ema", "state_dict", "model")
# What wrappers put before the names of a model's weights: DDP, torch.compile, attributes of other modules.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.")
_ARCHIVES = (".npz", ".npy")
_MOST_KEYS = 6

# The functions by which numpy's numbers and arrays are pickled have no public name.
_numpys: list[Any] = [np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]]
# What training scripts save beside the weights, and runs nothing when it is read.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    *((made, f"numpy.{core}.multiarray.{made.__name__}") for made in _numpys for core in ("core", "_core")),
    np.ndarray,
    np.dtype,
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
    *((PurePosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")),
    *((PureWindowsPath, f"{module}.WindowsPath") for module in ("pathlib", "pathlib._local")),
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
        if pointer := unfetched(self.path):
            raise self.refusal(f"'{self.path}' cannot be read as a checkpoint{pointer}")
        if _is_torch_script(self.path):
            raise self.refusal(
                f"'{self.path}' is a TorchScript archive, as OpenAI publishes CLIP: a program, which is "
                "not run; use "
                f"pretrained: openai, or write its weights to a file: torch.save(torch.jit.load("
                f"'{self.path}', map_location='cpu').state_dict(), 'weights.pt')"
            )

    @property
    def is_archive(self) -> bool:
        """Whether it is of NumPy, as JAX's models are published; their library alone can translate it."""
        return self.path.endswith(_ARCHIVES)

    def state(self) -> dict[str, Tensor]:
        """The weights by name, without the prefixes of wrappers.

        Raises:
            MissingError: there is no such file.
            ProblemError: it cannot be read, or holds something else, or weights of a type that is not used.
        """
        self.check()
        try:
            content = self._content()
        except Exception as error:
            # Its reader can be broken in any way.
            raise self._unreadable(error) from error
        state = _unwrapped(content)
        if not _has_tensors(state):
            raise self.refusal(
                f"'{self.path}' cannot be used as a checkpoint: {_described(content, self.path)}"
            )
        plain: dict[str, Tensor] = clean_state_dict({str(key): value for key, value in state.items()})
        plain = _without_prefix(plain)
        self._check_types(plain)
        return plain

    def _check_types(self, state: Mapping[str, Any]) -> None:
        for key, weight in state.items():
            if not isinstance(weight, Tensor) or weight.dim() < 2 or not key.endswith("weight"):
                continue
            if not weight.dtype.is_floating_point or weight.dtype.itemsize < 2:
                raise self.refusal(
                    f"'{self.path}' is quantised: its {key} is {str(weight.dtype).removeprefix('torch.')}, "
                    "which is no weight without its scale; give the file of 16 or 32 bits that it was made of"
                )

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
        with torch.serialization.safe_globals(_HARMLESS):
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
        under = next((key.removesuffix(missing[0]) for key in extra if key.endswith(f".{missing[0]}")), None)
        hint = f" (it has such under '{under}': save those to a file, without this prefix)" if under else ""
        return f"it lacks {_some(missing)}{hint}"
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


def _unwrapped(content: Any) -> Any:
    """The weights within what a training script saves: under a name that is known, or under the only one."""
    if not isinstance(content, Mapping):
        return content
    states = [key for key, value in content.items() if _has_tensors(value)]
    known = [key for key in _WRAPPED if key in states]
    return content[(known or states)[0]] if known or len(states) == 1 else content


def _without_prefix(state: dict[str, Any]) -> dict[str, Any]:
    """The weights under a wrapper's prefix, without it and what lies beside it, such as heads and losses."""
    while len(found := [each for each in _PREFIXES if any(key.startswith(each) for key in state)]) == 1:
        (prefix,) = found
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return state


def _has_tensors(state: object) -> bool:
    return isinstance(state, Mapping) and any(isinstance(value, Tensor) for value in state.values())


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
    states = [str(key) for key, value in content.items() if _has_tensors(value)]
    if not states:
        return f"it holds {some or 'nothing'}, and no weights"
    best = "teacher" if "teacher" in states else states[0]
    # DINO's training files have the backbone under a prefix, beside a head of its own.
    return (
        f"it holds {some}, not the weights of one model; write those that you mean to a file of their own, "
        f"such as torch.save(torch.load('{path}', weights_only=False)['{best}'], '{best}.pth')"
    )
