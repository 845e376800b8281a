"""Convolutional trunks: layouts, arithmetic, sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gail.core.errors import InputError
from gail.core.pixels import PixelConfig, PixelTrunk, TrunkName, channels_last
from gail.core.precision import Precision, runs_bf16
from gail.core.random import seeded_initialization


def trunk(name: TrunkName, precision: Precision, shape: tuple[int, ...] = (4, 84, 84)) -> PixelTrunk:
    with seeded_initialization(0, "trunk"):
        return PixelTrunk(shape, PixelConfig(name, precision))


def images(count: int, shape: tuple[int, ...] = (4, 84, 84)) -> torch.Tensor:
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sides", [(84, 84), (37, 50)])
def test_nature_is_the_published_network_on_pixels_divided_by_255(sides: tuple[int, int]) -> None:
    network, batch = trunk("nature", "fp32", (4, *sides)), images(3, (4, *sides))
    x = batch.float() / 255.0
    convolutions = [network.first, *(layer for layer in network.rest if isinstance(layer, torch.nn.Conv2d))]
    assert [tuple(c.weight.shape) for c in convolutions] == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)]
    for convolution, stride in zip(convolutions, (4, 2, 1), strict=True):
        x = F.relu(F.conv2d(x, convolution.weight, convolution.bias, stride))
    expected = F.relu(network.project(x.flatten(1)))
    assert expected.shape == (3, 512)
    assert torch.allclose(network(network.prepare(batch)), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["nature", "impala"])
def test_bf16_gives_the_same_features_within_one_percent_and_nearly_the_same_gradient(name: TrunkName) -> None:
    features, gradients = [], []
    for precision in ("fp32", "bf16"):
        network = trunk(name, precision)
        output = network(network.prepare(images(4)))
        parts = torch.autograd.grad(output.square().sum(), list(network.parameters()))
        assert output.dtype == torch.float32 and all(part.dtype == torch.float32 for part in parts)
        features.append(output.detach())
        gradients.append(torch.cat([part.flatten() for part in parts]))
    exact, rounded = features
    assert 0.0 < float((rounded - exact).norm() / exact.norm()) < 0.01
    assert float(F.cosine_similarity(*gradients, dim=0)) > 0.99


def test_channels_may_come_first_or_last() -> None:
    batch = images(2)
    assert torch.equal(channels_last(batch), batch.permute(0, 2, 3, 1))
    assert torch.equal(channels_last(batch.permute(0, 2, 3, 1)), channels_last(batch))
    for shape in ((4, 84, 84), (84, 84, 4)):
        assert trunk("nature", "fp32", shape).first.weight.shape[1] == 4


def test_parts_without_gradients_equal_the_whole_batch() -> None:
    network, batch = trunk("nature", "fp32", (1, 36, 36)), images(600, (1, 36, 36))
    batch = network.prepare(batch)
    whole = network(batch)
    with torch.no_grad():
        assert torch.allclose(network(batch), whole, atol=1e-6)


@pytest.mark.parametrize("side", [5, 10, 36, 84])
def test_impala_takes_images_of_any_size(side: int) -> None:
    network = trunk("impala", "fp32", (side, side, 3))
    assert network(network.prepare(images(2, (side, side, 3)))).shape == (2, 256)


def test_too_small_an_image_is_refused_with_the_way_out() -> None:
    trunk("nature", "fp32", (36, 36, 3))
    with pytest.raises(InputError, match=r"35 x 36 are too small.*choose 'impala'"):
        trunk("nature", "fp32", (3, 35, 36))


def test_precision_is_what_was_asked_for_and_off_on_meta() -> None:
    cpu, meta = torch.device("cpu"), torch.device("meta")
    assert runs_bf16("bf16", cpu) and not runs_bf16("fp32", cpu)
    assert not runs_bf16("bf16", meta) and not runs_bf16("auto", meta)
