"""How long and how fast a trial trains, and on what."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from search_spaces.errors import Mistake, shown
from search_spaces.part import Part, Seed, mistaken, refuse


class Training(Part):
    """The training of one trial."""

    epochs: int = Field(default=10, ge=1, description="passes over the training split")
    validate_every: int = Field(
        default=1, ge=1, description="epochs from one validation to the next; the last epoch has one always"
    )
    batch_size: int = Field(default=32, ge=1, description="pictures a step")
    accumulate: int = Field(
        default=1,
        ge=1,
        description="parts of a step's pictures that pass the model one after the other, for less memory",
    )
    checkpointing: bool = Field(
        default=False,
        description="whether the image tower's layers are run again in the backward pass, for less memory",
    )
    lr: float = Field(default=2e-3, gt=0, description="peak learning rate of the weights")
    head_lr: float | None = Field(
        default=None, gt=0, description="peak learning rate of the linear head; null makes it lr"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="decay of the weights; of no bias, gain or position"
    )
    spd: float = Field(
        default=0.0,
        ge=0,
        description="strength of selective projection decay, which holds weights where they began while a "
        "step leads away from there although descent leads back; 0: none, 1: no further away",
    )
    clip_norm: float | None = Field(
        default=None,
        gt=0,
        description="largest norm of a step's gradient, all weights together; null: none",
    )
    warmup: float = Field(
        default=0.05, ge=0, lt=1, description="fraction of the steps in which the rate rises"
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw", description="what moves the weights; sgd has a momentum of 0.9"
    )
    objective: Literal["cross_entropy", "flyp"] = Field(
        default="cross_entropy",
        description="cross_entropy of a linear head, or flyp: CLIP's contrastive loss on class prompts",
    )
    head: Literal["prompts", "fresh"] | None = Field(
        default=None,
        description="how the linear head starts; null means prompts for a CLIP, fresh for other models",
    )
    retention: float = Field(
        default=0.0,
        ge=0,
        description="weight of the distance between the features and the pre-trained model's",
    )
    neighbors: float = Field(
        default=0.0,
        ge=0,
        description="weight of a loss that keeps each picture's nearest neighbours in a step's batch",
    )
    crop: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="least share of a picture that a random crop keeps; 1 crops nothing",
    )
    flip: bool = Field(default=False, description="whether pictures are mirrored at random")
    randaugment: int | None = Field(
        default=None,
        ge=1,
        le=30,
        description="magnitude of RandAugment's two random operations on a picture, such as 9; null: none",
    )
    mixup: float = Field(
        default=0.0,
        ge=0,
        description="alpha of mixup, which mixes a step's pictures and their labels, such as 0.2; 0: none",
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of a label that is spread over all classes"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="of the model's forward and backward pass; weights stay float32. float16, with a scaled "
        "loss, is for GPUs without bfloat16",
    )
    wise_ft: bool = Field(
        default=False, description="whether the trained update is also evaluated scaled by 0, 0.1 ... 1"
    )
    seed: Seed = Field(default=0, description="seed of the initial weights and of the order of the data")


def _pack(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise mistaken(f"expects auto or a whole number of at least 1, got {shown(value)}")


Pack = Annotated[
    int | Literal["auto"],
    PlainValidator(_pack),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}),
]

_OWN_SETTINGS = {"cpu": "resources.cpus_per_trial", "gpu": "resources.gpus_per_trial"}


def _custom(amounts: dict[str, float]) -> dict[str, float]:
    """The amounts, each of a resource that has a name and no setting of its own."""
    mistakes = [
        Mistake((name,), f"is asked for by {_OWN_SETTINGS[name.lower()]}; remove it here")
        for name in amounts
        if name.lower() in _OWN_SETTINGS
    ]
    if not all(name.strip() for name in amounts):
        mistakes.append(Mistake((), "the name of a resource must not be empty"))
    if mistakes:
        refuse(*mistakes)
    return amounts


Amounts = Annotated[dict[str, Annotated[float, Field(gt=0)]], AfterValidator(_custom)]


class Resources(Part):
    """What a trial is given."""

    cpus_per_trial: float = Field(default=1.0, gt=0, description="processor cores of a pack of trials")
    gpus_per_trial: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="the GPU of a pack of trials: 0 for the processor, 1, or a fraction to share one",
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        description="processes of a pack of trials that read pictures ahead, where these are not in memory; "
        "null: as many as its cores, of which one is left to the training where there is no GPU",
    )
    pack: Pack = Field(
        default="auto",
        description="trials trained together over one frozen model; auto lets the sweep choose",
    )
    cache_gib: float = Field(
        default=1.0,
        ge=0,
        description="GiB a process may remember of what frozen layers made of the pictures; 0 remembers none",
    )
    max_parallel: int | None = Field(
        default=None,
        ge=1,
        description="packs of trials under way at most; null: as many as there is room for, but so few that "
        "a sampler that learns has rounds to learn from",
    )
    minutes_per_trial: float | None = Field(
        default=None,
        gt=0,
        description="minutes that a pack of trials may take in one process, or else it fails; null: no limit",
    )
    custom: Amounts = Field(
        default={},
        description="amounts of other Ray resources of a pack of trials, such as accelerator_type:A100",
    )

    @model_validator(mode="after")
    def _workers_have_cores(self) -> Self:
        if self.workers is not None and self.workers > max(1, self.cpus_per_trial):
            text = (
                f"{self.workers} processes want {self.workers} cores, and cpus_per_trial is "
                f"{self.cpus_per_trial:g}; lower it, or raise cpus_per_trial"
            )
            refuse(Mistake(("workers",), text))
        return self
