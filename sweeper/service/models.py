"""What the service says, as typed values: the bodies of its answers."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field


class State(StrEnum):
    """How far a sweep is."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


class Counts(BaseModel):
    """Numbers of runs: all of them, then the trials of the search alone."""

    done: int = Field(description="trials, baselines and confirmations that have ended")
    total: int = Field(description="trials, baselines and confirmations in all")
    running: int = Field(description="trials, baselines and confirmations that are trained now")
    failed: int = Field(description="trials, baselines and confirmations that have failed")
    pruned: int = Field(description="trials that were stopped early")
    inside: int = Field(description="trials that are complete and inside the budget")
    front: int = Field(description="trials on the front")


class Summary(BaseModel):
    """A sweep in a list of sweeps."""

    name: str
    state: State
    owner: str | None = Field(default=None, description="who has submitted it; null where no person has")
    line: str = Field(description="what `python -m sweeper list` says of it")
    message: str | None = Field(default=None, description="why it is in its state, where that needs a word")
    job: str | None = Field(default=None, description="its latest driver, a job of Ray")
    counts: Counts | None = Field(default=None, description="null until its driver has begun")


class Sweeps(BaseModel):
    """All sweeps."""

    sweeps: list[Summary]
    notice: str | None = Field(default=None, description="what keeps the list from being complete or true")


class Run(BaseModel):
    """A trial, a baseline or a confirmation, its figures in the words of the report."""

    key: str
    label: str
    role: str
    epoch: int | None = Field(default=None, description="the last one that was reported")
    parameters: dict[str, str]
    id_accuracy: str = Field(description="percent, validation")
    forgetting: str = Field(description="percentage points, validation")
    active: str = Field(description="active blocks of all blocks: 2/32")
    test_accuracy: str = Field(description="percent, test")
    knee: bool = Field(default=False, description="the recommended trial")
    reason: str | None = Field(default=None, description="why it failed")


class Sweep(Summary):
    """A sweep with what is under way and its front."""

    budget: str | None = Field(default=None, description="at most 2 of 32 blocks (6.25 %)")
    running: list[Run] = Field(default=[], description="what is being trained")
    front: list[Run] = Field(default=[], description="by falling ID accuracy")
    failed: list[Run] = Field(default=[], description="the last that failed, latest first")
    status: str = Field(description="what `python -m sweeper status` prints")
    mlflow: str | None = Field(default=None, description="its runs in MLflow")
    jobs: list[str] = Field(default=[], description="its drivers, oldest first")


class Front(BaseModel):
    """The plot of ID accuracy against forgetting, as the report has it."""

    name: str
    figure: dict[str, Any] | None = Field(description="of plotly; null while nothing has been measured")


class More(BaseModel):
    """How a sweep goes on."""

    model_config = {"extra": "forbid"}

    trials: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="trials asked for from now on, in all; null leaves it as it is"
    )
    retry_failed: bool = Field(default=False, description="begin what has failed again, with the same values")
    settings: tuple[str, ...] = Field(
        default=(), max_length=100, description="resources, or an end of the search: resources.pack=4"
    )


class Values(BaseModel):
    """What a trial is to begin with."""

    model_config = {"extra": "forbid"}

    values: tuple[str, ...] = Field(
        default=(), max_length=100, description="of what is searched: method.rank=4; the sampler has the rest"
    )


class Enqueued(BaseModel):
    """A trial that waits."""

    key: str
    running: bool = Field(description="whether it begins next; else once the sweep is resumed")


class Registered(BaseModel):
    """A version of a registered model of MLflow."""

    text: str = Field(description="what `python -m sweeper export --register` says of it")


class Checked(BaseModel):
    """What there is to say of a space before it is run."""

    sound: bool = Field(description="whether nothing is wrong with it")
    text: str = Field(description="what `python -m sweeper validate` says")


class Me(BaseModel):
    """Who asks."""

    name: str
    role: str = Field(description="read, submit or admin")


class Health(BaseModel):
    """That the service is there."""

    status: str = "ok"


class Login(BaseModel):
    """What a browser signs in with."""

    token: str
