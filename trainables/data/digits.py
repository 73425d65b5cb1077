"""The task: handwritten digits, 1,797 real scans of 8 x 8 pixels that scikit-learn carries."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from trainables.data.drawing import DIGITS, to_bytes
from trainables.data.images import ImageSet, Task

_SEED = 0
_INK = 16  # the darkest value of a scan


@cache
def digits(image_size: int) -> Task:
    """Which digit is written: 10 classes, split 60 / 20 / 20, upsampled to ``image_size`` px."""
    # Imported here, since it takes seconds and a trial's process never draws or loads data.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    scans, labels = load_digits(return_X_y=True)
    indices = np.arange(len(labels))
    train, rest = train_test_split(indices, test_size=0.4, stratify=labels, random_state=_SEED)
    val, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=_SEED)

    small = torch.from_numpy(scans).float().view(-1, 1, 8, 8) / _INK
    large = F.interpolate(small, size=(image_size, image_size), mode="bicubic")
    everything = ImageSet(to_bytes(large).expand(-1, 3, -1, -1), torch.from_numpy(labels).long())
    return Task(
        DIGITS,
        ("the digit {}", "a picture of the digit {}"),
        *(_chosen(everything, split) for split in (train, val, test)),
    )


def _chosen(images: ImageSet, indices: np.ndarray) -> ImageSet:
    rows = torch.from_numpy(np.sort(indices))
    return ImageSet(images.pixels[rows].contiguous(), images.labels[rows])
