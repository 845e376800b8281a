"""Encoders and decoders that several generators share: MLPs for rows and segments, convolutions for images."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from gail.core.networks import hidden_layers, mlp

NetworkName = Literal["auto", "mlp", "conv"]

_SMALLEST = 4
"""Convolutions do not shrink an image below this side."""


def is_convolutional(shape: tuple[int, ...], network: NetworkName) -> bool:
    """Whether items of ``shape`` get convolutions: images do, unless an MLP is asked for."""
    return len(shape) == 3 and network != "mlp"


def halvings(shape: tuple[int, ...], most: int = 4) -> int:
    """How often an image ``[C, H, W]`` can be halved, at most ``most`` times and down to 4 pixels."""
    count, side = 0, shape[1:]
    while count < most and all(s % 2 == 0 and s // 2 >= _SMALLEST for s in side):
        count, side = count + 1, tuple(s // 2 for s in side)
    return count


class Encoder(nn.Module):
    """Items ``[B, *shape]`` to features ``[B, size]``.

    Args:
        shape: of an item.
        network: ``conv`` for images, ``mlp`` for anything.
        hidden: widths of the MLP's hidden layers.
        channels: of the first convolution; they double with each halving of the image.
    """

    def __init__(self, shape: tuple[int, ...], network: NetworkName, hidden: tuple[int, ...], channels: int) -> None:
        super().__init__()
        layers: list[nn.Module]
        if is_convolutional(shape, network):
            count, width = halvings(shape), channels
            layers = [ChannelsLast(), _conv(shape[0], width, 3, 1), nn.LeakyReLU(0.2)]
            for _ in range(count):
                layers += [_conv(width, 2 * width, 4, 2), nn.LeakyReLU(0.2)]
                width *= 2
            layers.append(nn.Flatten())
            self.size = width * (shape[1] >> count) * (shape[2] >> count)
        else:
            layers = [nn.Flatten(), *hidden_layers(math.prod(shape), hidden, "leaky_relu")]
            self.size = hidden[-1]
        self.layers = nn.ModuleList(layers)

    def activations(self, x: Tensor) -> list[Tensor]:
        """The output of every hidden layer, the features last."""
        found = []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return [*found[:-1], x]

    def forward(self, x: Tensor) -> Tensor:
        """Features of ``x``."""
        for layer in self.layers:
            x = layer(x)
        return x


class Decoder(nn.Module):
    """Codes ``[B, inputs]`` to items ``[B, outputs, ...]``.

    Args:
        inputs: width of a code.
        shape: of an item.
        network: ``conv`` for images, ``mlp`` for anything.
        hidden: widths of the MLP's hidden layers.
        channels: of the last convolution's input; they double with each halving of the image.
        per_value: how many outputs each value of an item gets; with more than one, ``[B, per_value, *shape]``.
        batch_norm: normalize between convolutions (DCGAN's generator, Radford et al. 2016).
    """

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, ...],
        network: NetworkName,
        hidden: tuple[int, ...],
        channels: int,
        *,
        per_value: int = 1,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape if per_value == 1 else (per_value, *shape)
        if not is_convolutional(shape, network):
            self.network: nn.Module = mlp(inputs, hidden, per_value * math.prod(shape), activation="leaky_relu")
            return
        count = halvings(shape)
        width, height, breadth = channels << count, shape[1] >> count, shape[2] >> count
        norm = nn.BatchNorm2d if batch_norm else nn.Identity
        layers: list[nn.Module] = [
            nn.Linear(inputs, width * height * breadth),
            nn.Unflatten(1, (width, height, breadth)),
            ChannelsLast(),
            norm(width),
            nn.ReLU(),
        ]
        for _ in range(count):
            # Four-wide kernels at stride two overlap evenly: no checkerboard of the odd ones (Odena et al. 2016).
            layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1), norm(width // 2), nn.ReLU()]
            width //= 2
        layers.append(nn.Conv2d(width, per_value * shape[0], 3, 1, 1))
        self.network = nn.Sequential(*layers)

    def forward(self, codes: Tensor) -> Tensor:
        """Items of ``codes``, without an output nonlinearity, in float32."""
        return self.network(codes).float().reshape(-1, *self.shape)


class ChannelsLast(nn.Module):
    """Images ``[B, C, H, W]`` as they are, with the channels innermost in memory.

    Convolutions are fastest in that layout, and what follows them keeps it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """A copy: with one channel both layouts are the same bytes, but convolutions look at the strides."""
        return x.clone(memory_format=torch.channels_last)


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, 1)


class ClassEmbedding(nn.Module):
    """Classes ``[B]`` to vectors appended to rows ``[B, D]``; without classes rows pass as they are.

    Args:
        classes: how many there are; 0 for none.
        size: of a vector.
    """

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.size = size if classes else 0
        self.vectors = nn.Embedding(classes, size) if classes else None

    def forward(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        """Rows with the vectors of their classes, ``[B, D + size]``."""
        if self.vectors is None:
            return rows
        assert labels is not None, "this model was built for data with classes"
        return torch.cat([rows, self.vectors(labels)], dim=1)
