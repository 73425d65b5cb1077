"""One step of a pack: the loss, its gradients, and what the optimisers make of them."""

import logging
from collections.abc import Hashable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from trainables.engine.batch import Batch, StandingBatch
from trainables.engine.clipping import ClipNorm
from trainables.engine.learner import Learner
from trainables.engine.loss_scale import LossScale
from trainables.engine.optimizer import Packed
from trainables.engine.projection_decay import ProjectionDecay

_log = logging.getLogger(__name__)


class Step:
    """Runs operation by operation.

    Args:
        learner: what is trained.
        optimizers: of all that it trains.
        clip: shortens gradients that are too long; None shortens none.
        scale: of the losses; None leaves them as they are.
        accumulate: how many parts of a batch pass the model one after the other.
        decay: holds weights where they began; None holds none.
    """

    def __init__(
        self,
        learner: Learner,
        optimizers: Sequence[Packed],
        clip: ClipNorm | None = None,
        scale: LossScale | None = None,
        accumulate: int = 1,
        decay: ProjectionDecay | None = None,
    ) -> None:
        self._learner = learner
        self._optimizers = optimizers
        self._clip = clip
        self._scale = scale
        self._accumulate = accumulate
        self._decay = decay

    def run(self, batch: Batch, epoch: int, share: float | Tensor) -> Tensor:
        """Trains on a batch; the losses before it, (K,).

        Args:
            batch: its pictures.
            epoch: how many are done.
            share: of the learning rate.
        """
        losses = [self._backward(part, epoch, batch) for part in batch.parts(self._accumulate)]
        self.update(share)
        return torch.stack(losses).sum(dim=0)

    def _backward(self, part: Batch, epoch: int, whole: Batch) -> Tensor:
        """Adds the gradient of a part's share of the losses; that share, (K,)."""
        loss = self._learner.loss(part, epoch) * (part.rows.shape[1] / whole.rows.shape[1])
        (loss * self._scale.scale if self._scale else loss).sum().backward()
        return loss.detach()

    def update(self, share: float | Tensor) -> None:
        """Moves all that is trained by its gradient."""
        finite = self._scale.unscale(self._gradients()) if self._scale else None
        if self._clip:
            self._clip()
        is_open = self._learner.method.open()
        with self._learner.method.updated(), self._decay.step() if self._decay else nullcontext():
            for optimizer in self._optimizers:
                optimizer.step(share, is_open, finite)

    def _gradients(self) -> list[Tensor]:
        every = (p.grad for optimizer in self._optimizers for p in optimizer.parameters)
        return [gradient for gradient in every if gradient is not None]


class RecordedStep(Step):
    """Records a step as a CUDA graph, and replays it while the host would decide the same.

    To start a step's two thousand small operations one by one takes a GPU several times as long as to run
    them. The numbers are those of `Step`. What cannot be recorded, since it asks the host for something in
    mid-step, runs as `Step` does.
    """

    _can = True  # as far as has been seen
    _course: Hashable = None
    _fetched = False
    _recorded: "_Recorded | None" = None

    def run(self, batch: Batch, epoch: int, share: float | Tensor) -> Tensor:
        """As `Step.run`. The result is overwritten by the next step."""
        course = self._learner.method.course(epoch)
        can = self._can and self._learner.objective.recordable
        if can and course == self._course and self._recorded is None:
            self._record(StandingBatch(batch, self._fetched), epoch)
        if self._can and course == self._course and self._recorded:
            return self._recorded.replay(batch, float(share))
        # The first step of a course runs as it is: the optimisers put their memory in order.
        self._recorded, self._course = None, course
        loss = super().run(batch, epoch, share)
        self._fetched = batch.fetched
        return loss

    def _record(self, batch: StandingBatch, epoch: int) -> None:
        stream, recorded = torch.cuda.current_stream(), _Recorded(batch)
        try:
            # Other threads fetch pictures meanwhile.
            with torch.cuda.graph(recorded.graph, capture_error_mode="thread_local"):
                recorded.loss = super().run(batch, epoch, recorded.share)
            self._recorded = recorded
        except RuntimeError as error:
            # Nothing has run: all is as before but for what points into the recording.
            torch.cuda.set_stream(stream)
            for parameter in self._learner.trained().values():
                parameter.grad = None
            cause = error.__context__ or error
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from None
            _log.warning("a step cannot be recorded (%s): its operations are started one by one", cause)
            self._can = False


class _Recorded:
    """A recorded step, and the memory from which it takes its batch.

    Attributes:
        batch: where it looks for pictures.
        share: of the learning rate, ().
        loss: (K,), of the last replay.
    """

    loss: Tensor

    def __init__(self, batch: StandingBatch) -> None:
        self.graph = torch.cuda.CUDAGraph()
        self.batch = batch
        self.share = batch.rows.new_zeros((), dtype=torch.float64)

    def replay(self, batch: Batch, share: float) -> Tensor:
        """The step on another batch."""
        self.batch.take(batch)
        self.share.fill_(share)
        self.graph.replay()
        return self.loss
