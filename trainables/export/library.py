"""A backbone's weights and modules as the library that built it has them."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainables.backbones import Backbone
from trainables.backbones.attention import SelfAttention
from trainables.backbones.checkpoints import misfit
from trainables.errors import ProblemError


def plain_path(path: str) -> str:
    """A module's path below the library's model, which a backbone has as its only child."""
    return path.partition(".")[2]


def library_model(backbone: Backbone) -> nn.Module:
    """A copy of the model as its library builds it: attention is `nn.MultiheadAttention` again."""
    (model,) = copy.deepcopy(backbone).children()
    for path, module in list(model.named_modules()):
        if isinstance(module, SelfAttention):
            model.set_submodule(path, _multi_head(module))
    return model.requires_grad_(False).eval()


def _multi_head(attention: SelfAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(attention.proj.in_features, attention.heads, batch_first=True)
    weights = {
        "in_proj_weight": attention.qkv.weight,
        "in_proj_bias": attention.qkv.bias,
        "out_proj.weight": attention.proj.weight,
        "out_proj.bias": attention.proj.bias,
    }
    theirs.load_state_dict(weights)
    return theirs


@torch.no_grad()
def with_state(backbone: Backbone, state: Mapping[str, Tensor], name: str) -> Backbone:
    """A copy of the backbone with all weights from a plain state; ``name`` says what they should be of.

    Raises:
        ProblemError: a weight is missing, left over, or of another shape.
    """
    copied = copy.deepcopy(backbone)
    # The tensors of a state share the memory of the parameters.
    plain = copied.plain_state()
    if text := misfit(state, plain):
        raise ProblemError(f"the checkpoint is not one of {name}: {text}")
    for key, tensor in plain.items():
        tensor.copy_(state[key])
    return copied
