"""Which weights learn at which rate, and which of them decay: the parameter groups of a pack's optimiser."""

from collections.abc import Iterator, Sequence

from torch import nn

from trainables.engine.learner import Learner
from trainables.engine.optimizer import Packed, PackedAdamW, PackedSGD
from trainables.sections import Schedule

_MOMENTUM = 0.9
_HEAD = "objective."


def make_optimizers(learner: Learner, trainings: Sequence[Schedule]) -> list[Packed]:
    """An optimiser for each group of weights; they and the scores' are all that move.

    The head has a rate of its own where ``head_lr`` names one. Biases, gains and whatever the model's library
    lists in ``no_weight_decay`` do not decay, as in timm's `param_groups_weight_decay`.

    Args:
        learner: whose weights they are.
        trainings: the resolved ``training`` section of each member.
    """
    scores = {id(p) for optimizer in learner.method.score_optimizers() for p in optimizer.parameters}
    exempt = set(_exempt(learner))
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, weight in learner.trained().items():
        if id(weight) not in scores:
            is_head = name.startswith(_HEAD)
            dimensions = weight.ndim - (is_head or learner.method.packable)  # without the pack axis
            decays = dimensions > 1 and not name.endswith(".bias") and name not in exempt
            groups.setdefault((is_head, decays), []).append(weight)
    places = learner.method.block_places()
    return [
        _optimizer(
            weights,
            [(is_head and training.head_lr) or training.lr for training in trainings],
            [training.weight_decay if decays else 0.0 for training in trainings],
            [places[id(weight)] for weight in weights] if id(weights[0]) in places else None,
            trainings[0].optimizer,
        )
        for (is_head, decays), weights in groups.items()
    ]


def _exempt(learner: Learner) -> Iterator[str]:
    """Names of the weights that the model's library keeps from decaying."""
    for path, module in learner.named_modules():
        if callable(listed := getattr(module, "no_weight_decay", None)):
            yield from (f"{path}.{name}" for name in listed())


def _optimizer(
    weights: Sequence[nn.Parameter],
    lr: Sequence[float],
    decay: Sequence[float],
    blocks: Sequence[int] | None,
    kind: str,
) -> Packed:
    if kind == "sgd":
        return PackedSGD(weights, lr, decay, _MOMENTUM, blocks)
    return PackedAdamW(weights, lr, decay, blocks)
