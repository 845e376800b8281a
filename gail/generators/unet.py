"""Networks of diffusion models: a residual MLP for rows, U-Nets for segments and images (Ronneberger et al. 2015).

Each takes a vector ``[B, width]`` beside the item: what noise level and which class.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gail.generators.networks import ChannelsLast, halvings


class ResidualMLP(nn.Module):
    """Rows ``[B, size]`` to rows of the same size.

    Args:
        size: of a row.
        width: of the hidden layers and of the vector beside the row.
        blocks: residual ones.
    """

    def __init__(self, size: int, width: int, blocks: int) -> None:
        super().__init__()
        self.input = nn.Linear(size, width)
        self.blocks = nn.ModuleList(_MLPBlock(width) for _ in range(blocks))
        self.output = _zero(nn.Linear(width, size))

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """The network's output for ``x``."""
        hidden = self.input(x)
        for block in self.blocks:
            hidden = block(hidden, beside)
        return self.output(F.silu(hidden))


class _MLPBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, width), _zero(nn.Linear(width, width))
        self.beside = nn.Linear(width, width)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        return x + self.down(F.silu(self.up(self.norm(x)) + self.beside(beside)))


class UNet(nn.Module):
    """Items ``[B, C, L]`` or ``[B, C, H, W]`` to items of the same shape.

    A segment goes through as an image of one row: only 2-D convolutions have kernels for channels that are innermost in
    memory, the fastest layout.

    Args:
        shape: of an item; its sides are halved as long as they are even and stay at least 4, at most ``depth`` times.
        channels: at full resolution; twice as many below.
        width: of the vector beside the item.
        depth: how often the item is halved at most.
    """

    def __init__(self, shape: tuple[int, ...], channels: int, width: int, depth: int = 2) -> None:
        super().__init__()
        rows = len(shape) == 2
        conv = partial(_conv, rows=rows)
        self.doubling = (1.0, 2.0) if rows else (2.0, 2.0)
        widths = [channels] + [2 * channels] * halvings(shape, depth)
        self.layout = nn.Sequential(nn.Unflatten(1, (shape[0], 1)) if rows else nn.Identity(), ChannelsLast())
        self.input = conv(shape[0], channels, 3)
        falling, rising = list(itertools.pairwise(widths)), list(itertools.pairwise(widths[::-1]))
        self.down = nn.ModuleList(_Residual(conv, before, before, width) for before, _ in falling)
        self.shrink = nn.ModuleList(conv(before, after, 4, 2) for before, after in falling)
        self.middle = nn.ModuleList(_Residual(conv, widths[-1], widths[-1], width) for _ in range(2))
        self.grow = nn.ModuleList(conv(before, after, 3) for before, after in rising)
        self.up = nn.ModuleList(_Residual(conv, 2 * after, after, width) for _, after in rising)
        self.norm = nn.GroupNorm(_groups(channels), channels)
        self.output = _zero(conv(channels, shape[0], 3))

    def forward(self, items: Tensor, beside: Tensor) -> Tensor:
        """The network's output for ``items``."""
        x = self.input(self.layout(items))
        passed = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x, beside)
            passed.append(x)
            x = shrink(x)
        for block in self.middle:
            x = block(x, beside)
        for block, grow in zip(self.up, self.grow, strict=True):
            x = grow(_enlarged(x, self.doubling))
            x = block(torch.cat([x, passed.pop()], dim=1), beside)
        return self.output(F.silu(self.norm(x))).reshape(items.shape)


class _Residual(nn.Module):
    """Two convolutions; the vector beside the item shifts and scales what goes into the second."""

    def __init__(self, conv: Callable[..., nn.Conv2d], inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.norm_first, self.norm_second = (nn.GroupNorm(_groups(size), size) for size in (inputs, outputs))
        self.first = conv(inputs, outputs, 3)
        self.second = _zero(conv(outputs, outputs, 3))
        self.beside = nn.Linear(width, 2 * outputs)
        self.skip = conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        hidden = self.norm_second(self.first(F.silu(self.norm_first(x))))
        scale, shift = self.beside(beside)[:, :, None, None].chunk(2, dim=1)
        return self.skip(x) + self.second(F.silu(torch.addcmul(shift, hidden, 1.0 + scale)))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, *, rows: bool) -> nn.Conv2d:
    """A convolution that keeps an even side (or halves it); along the second side only, where items are ``rows``."""
    padding = (kernel - 1) // 2
    if rows:
        return nn.Conv2d(inputs, outputs, (1, kernel), (1, stride), (0, padding))
    return nn.Conv2d(inputs, outputs, kernel, stride, padding)


def _enlarged(x: Tensor, factors: tuple[float, float]) -> Tensor:
    """Each pixel repeated; autocast would do it, and all that follows from it, in float32."""
    if x.dtype == torch.float32:
        return F.interpolate(x, scale_factor=factors, mode="nearest")
    with torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x, scale_factor=factors, mode="nearest")


def _groups(channels: int) -> int:
    """Of 16 channels or more, which served Wu & He 2018 best; smaller ones have no fast kernel in bfloat16."""
    return next(
        groups for groups in (8, 4, 2, 1) if groups == 1 or (channels % groups == 0 and channels >= 16 * groups)
    )


def _zero(layer: nn.Module) -> nn.Module:
    """A layer that starts at zero: each block begins as the identity (Ho et al. 2020's code, and all since)."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
