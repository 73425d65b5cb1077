"""What the GPU benchmark trains: models with random weights, and packs of trials under the clock."""

import contextlib
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import timm
import torch
import torch.multiprocessing as mp
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import Points, SelectiveLora, Space
from search_spaces import Training as TrainingSection
from trainables.backbones import KINDS, Backbone, TimmBackbone, forward_pass, open_backbone
from trainables.data import ImageSet, Task
from trainables.data.images import no_images
from trainables.engine.prefix import Prefix
from trainables.engine.step import Step
from trainables.engine.training import Training
from trainables.problem import Problem

CLASSES, RANK = 10, 8
_WARM_UP = 3  # steps
_BURST = 8  # steps between two looks at the clock
_PATIENCE = 60  # seconds that a process waits for the others at the start


@dataclass(frozen=True)
class Case:
    """One model at one batch size.

    Attributes:
        pictures: in the training split.
    """

    model: str
    batch: int
    pictures: int
    device: str
    precision: str


@dataclass(frozen=True)
class Way:
    """How trials share a device.

    Attributes:
        count: a count decides which blocks are open, and no price: half of them, at the end.
        open_blocks: so many blocks are open from the start, the others closed for good; None for gates that
            are learned, on all blocks.
        gib: memory of the shared `Prefix`; 0 to remember nothing, None to do without.
        recorded: whether a step is recorded as a CUDA graph, as it is on a GPU.
        compiled: whether the loop over the layers goes through `torch.compile`.
    """

    processes: int = 1
    pack: int = 1
    count: bool = False
    open_blocks: int | None = None
    gib: float | None = None
    recorded: bool = True
    compiled: bool = False


Span = dict[str, float]
"""The ``steps`` that one process has done, and the ``seconds`` that they took."""


def _open_clip(name: str, tag: str) -> Backbone:
    return open_backbone("open_clip", name, tag, weights=False)


def _dino() -> Backbone:
    return open_backbone("timm", "vit_base_patch16_224.dino", "hub", weights=False)


def _stand_in() -> Backbone:
    size = {"input_size": (3, 32, 32)}
    shape = {"img_size": 32, "patch_size": 8, "depth": 5, "embed_dim": 96}
    return TimmBackbone(timm.create_model("vit_tiny_patch16_224", pretrained_cfg_overlay=size, **shape))


STAND_IN = "stand-in"
MODELS: dict[str, Callable[[], Backbone]] = {
    "CLIP ViT-B/32": lambda: _open_clip("ViT-B-32", "laion2b_s34b_b79k"),
    "CLIP ViT-B/16": lambda: _open_clip("ViT-B-16", "laion2b_s34b_b88k"),
    "DINO ViT-B/16": _dino,
    STAND_IN: _stand_in,
}


def make_problem(case: Case) -> Problem:
    """The model with random weights and a task of random pictures, on the device."""
    backbone = MODELS[case.model]().to(case.device)
    side = backbone.preprocessing.size
    pixels = torch.randint(256, (case.pictures, 3, side, side), dtype=torch.uint8, device=case.device)
    train = ImageSet(pixels, torch.arange(case.pictures, device=case.device) % CLASSES)
    names = tuple(f"class {number}" for number in range(CLASSES))
    nothing = no_images(side)
    return Problem(backbone, Task(names, ("a {}",), train, nothing, nothing), None, {}, ())


def make_space(case: Case, mask: tuple[str, ...] | None = None, count: int | None = None) -> Space:
    """A trial's space, with no more in it than a training reads."""
    own = {"mask": mask} if mask else {"active_blocks": count} if count else {}
    method = SelectiveLora(name="selective_lora", rank=RANK, **own)
    training = TrainingSection.model_validate({"batch_size": case.batch, "precision": case.precision})
    return Space.model_construct(method=method, training=training, points=Points())


def synchronize(device: str) -> None:
    """Waits until the device has done all that it was asked."""
    if device == "cuda":
        torch.cuda.synchronize()


def held(device: str) -> int:
    """Bytes of the GPU that tensors of this process take; 0 on a CPU."""
    return torch.cuda.memory_allocated() if device == "cuda" else 0


def peak(device: str) -> int:
    """Their peak since it was last reset; on a CPU the largest RSS that this process ever had."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Running:
    """A pack in training, warmed up.

    Args:
        shared: bytes of the problem on the device, which all packs of the process share.

    Attributes:
        flops: of a step's matrix products and attention, forward and backward as they are really done.
        bytes: peak memory of the problem and this pack.
        kernels: seconds that a step's operations take on the GPU, and how many there are; zero on a CPU.
        compile_seconds: what `torch.compile` took, with the first steps; None if it was not asked for.
    """

    def __init__(self, case: Case, problem: Problem, way: Way, shared: int) -> None:
        others = held(case.device) - shared
        backbone = problem.backbone
        mask = None
        if way.open_blocks is not None:
            # One a layer: with 12 layers the first 10 stay as they are for 2 blocks, and 8 for 4.
            mask = backbone.block_names(["fc2"], ["image"])[-way.open_blocks :]
        count = len(backbone.block_names(KINDS, ["image"])) // 2 if way.count else None
        prefix = {} if way.gib is None else {"prefix": Prefix(backbone, way.gib)}
        self._device = case.device
        if case.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._training = Training(problem, [make_space(case, mask, count)] * way.pack, **prefix)
        # Of a recorded step the counter would see nothing; in the first one, a prefix remembers.
        recorded, self._training._step = (
            self._training._step,
            Step(self._training.learner, self._training.optimizers),
        )
        self._training.run_batches(1)
        with FlopCounterMode(display=False) as counter:
            self._training.run_batches(1)
        self.flops = counter.get_total_flops()
        if way.recorded:
            self._training._step = recorded
        self._loop = torch.compile(forward_pass.run_layers) if way.compiled else forward_pass.run_layers
        taken = self._time(_WARM_UP)
        self.compile_seconds = taken if way.compiled else None
        self.bytes = peak(case.device) - others
        self.kernels = self._kernels()

    def _time(self, steps: int) -> float:
        synchronize(self._device)
        start = time.perf_counter()
        plain, forward_pass.run_layers = forward_pass.run_layers, self._loop
        self._training.run_batches(steps)
        forward_pass.run_layers = plain
        synchronize(self._device)
        return time.perf_counter() - start

    def _kernels(self) -> tuple[float, float]:
        if self._device != "cuda":
            return 0.0, 0.0
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            self._time(_BURST)
        own = [event for event in profiled.events() if event.device_type.name == "CUDA"]
        return sum(event.self_device_time_total for event in own) / 1e6 / _BURST, len(own) / _BURST

    def run(self, seconds: float) -> list[Span]:
        """Trains for so long, and to the end of the steps that are under way then."""
        steps, taken = 0, 0.0
        while taken < seconds:
            taken += self._time(_BURST)
            steps += _BURST
        return [{"steps": steps, "seconds": taken}]


def one_thread() -> None:
    """Keeps torch to one core, unless OMP_NUM_THREADS says otherwise."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def work(case: Case, starts: Mapping[int, Barrier], pipe: Connection) -> None:
    """A process with one trial, which trains whenever it is told: for so long, beside so many others.

    It answers with its peak memory, then with a span for every order; or, at its end, with what went wrong.
    """
    one_thread()
    try:
        problem = make_problem(case)
        running = Running(case, problem, Way(), held(case.device))
        pipe.send(running.bytes)
        while (order := pipe.recv()) is not None:
            count, seconds = order
            starts[count].wait(_PATIENCE)
            pipe.send(running.run(seconds)[0])
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


class ProcessError(RuntimeError):
    """A process could not train its trial."""


class Processes:
    """Processes of one trial each on one device, opened at once; some of them train together.

    Args:
        counts: how many will be asked to train together; so many as the largest are opened.
    """

    def __init__(self, case: Case, counts: Sequence[int]) -> None:
        context = mp.get_context("spawn")
        # Kept: a barrier goes with its last reference, which a process may not have yet.
        self._starts = {count: context.Barrier(count) for count in counts}
        self._members: list[tuple[Any, Connection]] = []
        for _ in range(max(counts)):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(case, self._starts, theirs), daemon=True)
            process.start()
            # Or else the end of the process would not be seen here.
            theirs.close()
            self._members.append((process, ours))
        self._bytes: list[int] = []

    def bytes(self, count: int) -> int:
        """Peak memory of the first ones together, as soon as they are warmed up."""
        self._bytes += self._answers(len(self._bytes), count)
        return sum(self._bytes[:count])

    def run(self, count: int, seconds: float) -> list[Span]:
        """Trains the first ones for so long, started together."""
        for _, pipe in self._members[:count]:
            with contextlib.suppress(OSError):
                pipe.send((count, seconds))
        return self._answers(0, count)

    def _answers(self, first: int, stop: int) -> list[Any]:
        """Of all of them, also where one has failed: what was not read would be taken for the next answer."""
        answers = [_received(pipe) for _, pipe in self._members[first:stop]]
        for answer in answers:
            if isinstance(answer, str):
                raise ProcessError(answer)
        return answers

    def close(self) -> None:
        """Ends them all."""
        for _, pipe in self._members:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for process, _ in self._members:
            process.join(30)
            process.terminate()


def _received(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return "a process died"
