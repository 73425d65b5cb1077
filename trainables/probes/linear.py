"""A linear classifier that is fitted anew on the features."""

from collections.abc import Callable, Iterator
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.backbones import Backbone
from trainables.data import ImageSet, load_task
from trainables.engine.encoder import Encoder
from trainables.engine.linear_fit import fit_linear, gathered, moments
from trainables.probes.probe import ClassificationProbe
from trainables.sections import ProbeSet


class LinearProbe(ClassificationProbe):
    """Accuracy of a linear probe: logistic regression on the features of the train split.

    Fitted by L-BFGS with an L2 penalty, as Radford et al., 2021 (CLIP), section 3.2; on features of mean 0
    and deviation 1 over the train split, as He et al., 2022 (MAE), appendix A.1, so that the penalty means
    the same for every model.
    """

    @classmethod
    def open(cls, name: str, source: ProbeSet, backbone: Backbone) -> Self:
        """The probe with the data of a resolved source."""
        return cls(name, load_task(source, backbone.preprocessing))

    def logits(self, encoder: Encoder, images: ImageSet) -> Iterator[Tensor]:
        """Logits (K, n, C), each model's by its own fit."""
        train = self.task.train
        fits = [self._fitted(features) for features in gathered(encoder.parts(train), len(train))]
        return (
            torch.stack([fit(features) for fit, features in zip(fits, part, strict=True)])
            for part in encoder.parts(images)
        )

    def _fitted(self, train: Tensor) -> Callable[[Tensor], Tensor]:
        """From features (n, D) to logits (n, C), fitted to the train split's features (N, D)."""
        labels, classes = self.task.train.labels, len(self.task.classes)
        mean, deviation = (moment.to(labels.device) for moment in moments(train))
        deviation = deviation.where(deviation != 0, 1)
        if not torch.isfinite(mean + deviation).all():
            return lambda features: features.new_full((len(features), classes), torch.nan)

        def standard(features: Tensor) -> Tensor:
            return (features - mean) / deviation

        weight, bias = fit_linear(train, labels, classes, prepare=standard)
        return lambda features: F.linear(standard(features), weight, bias)
