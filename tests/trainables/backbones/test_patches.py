"""The layer that cuts pictures into patches, as a convolution and as a matrix product."""

import pytest
import torch
from torch import nn

from trainables.backbones.patches import Patches, use_patches


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel, size", [((4, 4), (16, 16)), ((2, 3), (8, 10)), ((14, 14), (30, 43))])
def test_the_product_is_the_convolution(kernel: tuple[int, int], size: tuple[int, int], bias: bool) -> None:
    conv = nn.Conv2d(3, 5, kernel, kernel, bias=bias)
    images = torch.randn(2, 3, *size)
    expected = conv(images)
    model = nn.Sequential(conv)
    names = set(model.state_dict())
    use_patches(model)
    assert isinstance(model[0], Patches) and set(model.state_dict()) == names
    torch.testing.assert_close(model[0].product(images), expected)
    assert torch.equal(model(images), expected)  # as it was, on a processor


@pytest.mark.parametrize(
    "own", [{"stride": 2}, {"padding": 1}, {"dilation": 2}, {"groups": 3}, {"padding": "same"}]
)
def test_other_convolutions_stay(own: dict[str, object]) -> None:
    settings = {"stride": 1 if own.get("padding") == "same" else 4} | own
    model = nn.Sequential(nn.Conv2d(3, 6, 4, **settings))  # type: ignore[arg-type]
    use_patches(model)
    assert type(model[0]) is nn.Conv2d
