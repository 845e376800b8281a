"""Convolutional trunks: what turns images into features for policies, value functions and discriminators.

Images arrive as bytes, laid out once per batch as the first convolution wants them (:meth:`PixelTrunk.prepare`), and
become numbers only here, inside the network.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gail.core.errors import InputError
from gail.core.networks import orthogonal
from gail.core.precision import Precision, autocast, runs_bf16

TrunkName = Literal["nature", "impala"]


@dataclass(frozen=True)
class PixelConfig:
    """How networks look at images; nothing else reads it."""

    trunk: TrunkName = "nature"
    """The convolutional network: nature (Mnih et al. 2015) or impala (the residual one of Espeholt et al. 2018)."""
    precision: Precision = "auto"
    """Arithmetic: fp32, bf16, or auto (bf16 where the processor multiplies it itself)."""


def is_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether images of this shape are ``[height, width, channels]`` and not ``[channels, height, width]``."""
    return shape[2] < shape[0]


def channels_last(images: Tensor) -> Tensor:
    """Images ``[B, C, H, W]`` or ``[B, H, W, C]`` as contiguous ``[B, H, W, C]``, in their own dtype."""
    if not is_channels_last(tuple(images.shape[1:])):
        images = images.permute(0, 2, 3, 1)
    return images.contiguous()


_CHUNK = 256
"""Images that go through together where no gradients are taken."""


class PixelTrunk(nn.Module):
    """Prepared bytes (:meth:`prepare`) to features ``[B, size]`` in float32.

    Args:
        shape: of one image as the environment gives it, channels first or last.
        config: which network and which arithmetic.

    Raises:
        InputError: where the images are too small for the network.
    """

    def __init__(self, shape: tuple[int, ...], config: PixelConfig) -> None:
        super().__init__()
        self.precision: Precision = config.precision
        height, width, channels = shape if is_channels_last(shape) else (*shape[1:], shape[0])
        nature = config.trunk == "nature"
        layers = _nature(channels) if nature else _impala(channels)
        after = _nature_side if nature else _impala_side
        if nature and min(height, width) < _NATURE_MINIMUM:
            raise InputError(
                f"images of {height} x {width} are too small for the trunk 'nature', expected at least "
                f"{_NATURE_MINIMUM} x {_NATURE_MINIMUM}; choose 'impala'"
            )
        self.first, self.rest = layers[0], nn.Sequential(*layers[1:])
        self.block = int(self.first.stride[0])
        self.size = 512 if nature else 256
        maps = 64 if nature else 32
        self.project = orthogonal(nn.Linear(maps * after(height) * after(width), self.size), math.sqrt(2.0))

    def prepare(self, images: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` or ``[B, H, W, C]`` in their own dtype, as :meth:`forward` takes them.

        Channels come last, the layout that convolutions are fastest in. A first convolution with a stride is one
        with stride 1 on blocks of pixels (space to depth), which processors run twice as fast; so the pixels of each
        block become channels: ``[B, H / stride, W / stride, stride * stride * C]``.
        """
        images, block = channels_last(images), self.block
        if block == 1:
            return images
        batch, height, width, channels = images.shape
        rows, columns = height // block, width // block
        images = images[:, : rows * block, : columns * block]
        blocks = images.view(batch, rows, block, columns, block * channels).transpose(2, 3)
        return blocks.reshape(batch, rows, columns, block * block * channels)

    def forward(self, images: Tensor) -> Tensor:
        """Features of prepared ``images``."""
        if torch.is_grad_enabled() or images.shape[0] <= _CHUNK:
            return self._features(images)
        # Nothing is kept for a backward pass, so whatever fits the processor's caches is fastest.
        return torch.cat([self._features(part) for part in images.split(_CHUNK)])

    def _features(self, images: Tensor) -> Tensor:
        # Numbers first and then the other order of dimensions: the conversion runs over contiguous memory.
        x = (images.bfloat16() if runs_bf16(self.precision, images.device) else images.float()).permute(0, 3, 1, 2)
        with autocast(self.precision, images.device):
            first = self.first
            # The weights are divided by 255 and not the images: that spares a pass over the largest tensor, and
            # bfloat16 holds the numbers 0 to 255 exactly but not their fractions.
            weight = _blocked(first.weight * (1.0 / 255.0), self.block)
            x = F.conv2d(x, weight, first.bias, padding=first.padding)
            x = F.relu(self.project(self.rest(x).flatten(1)))
        return x.float()


def _blocked(weight: Tensor, block: int) -> Tensor:
    """Weights ``[out, C, h, w]`` of a convolution with stride ``block``, for blocks of pixels as channels."""
    if block == 1:
        return weight
    out, channels, height, width = weight.shape
    parts = weight.view(out, channels, height // block, block, width // block, block)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(out, -1, height // block, width // block)


_NATURE_MINIMUM = 36
"""The smallest side that Nature's three convolutions leave something of."""


def _nature(channels: int) -> list[Any]:
    """Mnih et al. 2015, "Model architecture"."""
    gain = math.sqrt(2.0)
    return [
        orthogonal(nn.Conv2d(channels, 32, 8, stride=4), gain),
        nn.ReLU(inplace=True),
        orthogonal(nn.Conv2d(32, 64, 4, stride=2), gain),
        nn.ReLU(inplace=True),
        orthogonal(nn.Conv2d(64, 64, 3), gain),
        nn.ReLU(inplace=True),
    ]


def _nature_side(side: int) -> int:
    return ((side - 8) // 4 + 1 - 4) // 2 + 1 - 2


def _impala(channels: int) -> list[Any]:
    """Espeholt et al. 2018, figure 3, right."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((channels, 16, 32, 32)):
        layers += [
            orthogonal(nn.Conv2d(before, after, 3, padding=1), 1.0),
            nn.MaxPool2d(3, stride=2, padding=1),
            _Residual(after),
            _Residual(after),
        ]
    return [*layers, nn.ReLU(inplace=True)]


def _impala_side(side: int) -> int:
    for _ in range(3):
        side = (side + 1) // 2
    return side


class _Residual(nn.Module):
    """``x + conv(relu(conv(relu(x))))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        gain = math.sqrt(2.0)
        self.first = orthogonal(nn.Conv2d(channels, channels, 3, padding=1), gain)
        self.second = orthogonal(nn.Conv2d(channels, channels, 3, padding=1), gain)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x)), inplace=True))
