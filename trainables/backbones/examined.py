"""What a forward pass shows of a model: which layers can be adapted, and whether the image tower can be run
in parts."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainables.backbones.backbone import MISFITS, Backbone, reason
from trainables.backbones.forward_pass import Entry, run
from trainables.errors import ProblemError

# Rounding differs with the number of pictures in a pass.
_TOLERANCE = 1e-3


@torch.no_grad()
def examine(backbone: Backbone, *others: Callable[[], object]) -> None:
    """Sets ``feature_size``, and leaves in ``linears`` the layers that a pass calls as modules.

    An adapter anywhere else would never train.

    Args:
        backbone: with all that could be adapted in ``linears``.
        others: passes through its other towers.

    Raises:
        ProblemError: nothing can be adapted, a tower cannot be run, or the layers cannot be run one after the
            other.
    """
    size = backbone.preprocessing.size
    picture = torch.linspace(0, 255, 3 * size * size).view(1, 3, size, size)
    called = _Called(backbone, set(backbone.linears.values()))
    features = backbone(picture)
    if not torch.isfinite(features).all():
        raise ProblemError("pretrained: the weights give features that are no finite numbers; use others")
    for other in others:
        try:
            other()
        except MISFITS as error:
            raise ProblemError(f"name: the text tower cannot be run: {reason(error)}; use another") from None
    called.close()
    backbone.linears = {name: path for name, path in backbone.linears.items() if path in called.paths}
    if not any(name.startswith("image.") for name in backbone.linears):
        raise ProblemError("name: the architecture has no attention or MLP layers that can be adapted")
    backbone.feature_size = features.shape[-1]
    _check_parts(backbone, picture, features)


class _Called:
    """Which linear layers have been called as modules."""

    def __init__(self, model: nn.Module, paths: set[str]) -> None:
        self.paths: set[str] = set()
        modules = dict(model.named_modules())
        self._hooks = [
            modules[path].register_forward_hook(lambda *_, path=path: self.paths.add(path))
            for path in paths
            if isinstance(modules.get(path), nn.Linear)
        ]

    def close(self) -> None:
        """Takes the hooks out."""
        for hook in self._hooks:
            hook.remove()


def _check_parts(backbone: Backbone, picture: Tensor, features: Tensor) -> None:
    """Whether rows that enter at later layers get the features of the whole pass."""
    depth = backbone.depth("image")
    places = sorted({1, depth // 2, depth - 1} - {0})
    try:
        entries = [Entry(0, picture)]
        for place in places:
            entries.append(Entry(place, run(backbone, entries[-1:], place)))
        if len({entry.inputs.shape for entry in entries[1:]}) > 1:
            raise ValueError("the tokens change their number or width")
        parts = run(backbone, entries[1:])
        same = torch.allclose(parts, features.expand_as(parts), rtol=_TOLERANCE, atol=_TOLERANCE)
        why = "" if same else "the features differ"
    except MISFITS as error:
        why = reason(error)
    if why:
        raise ProblemError(
            "name: the layers of this architecture cannot be run one after the other, which training needs "
            f"({why}); use a plain vision transformer, such as a ViT, DeiT, BEiT, EVA or DINO"
        )
