"""The U-Net of ``loop_diffusion.py``: two halvings, a residual block at each size, two in the middle."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions, modulated by the vector beside the item."""

    def __init__(self, conv: type[nn.Conv1d] | type[nn.Conv2d], inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(inputs // 16, inputs), nn.GroupNorm(outputs // 16, outputs)
        self.conv1, self.conv2 = conv(inputs, outputs, 3, padding=1), conv(outputs, outputs, 3, padding=1)
        self.beside = nn.Linear(width, 2 * outputs)
        self.skip = conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """One block."""
        hidden = self.norm2(self.conv1(F.silu(self.norm1(x))))
        scale, shift = self.beside(beside).view(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        return self.skip(x) + self.conv2(F.silu(hidden * (1 + scale) + shift))


class UNet(nn.Module):
    """Items to items."""

    def __init__(self, shape: tuple[int, ...], channels: int, width: int) -> None:
        super().__init__()
        conv, wide = nn.Conv1d if len(shape) == 2 else nn.Conv2d, 2 * channels
        self.input, self.output = conv(shape[0], channels, 3, padding=1), conv(channels, shape[0], 3, padding=1)
        self.down = nn.ModuleList([Residual(conv, channels, channels, width), Residual(conv, wide, wide, width)])
        self.shrink = nn.ModuleList([conv(channels, wide, 4, 2, 1), conv(wide, wide, 4, 2, 1)])
        self.middle = nn.ModuleList(Residual(conv, wide, wide, width) for _ in range(2))
        self.grow = nn.ModuleList([conv(wide, wide, 3, padding=1), conv(wide, channels, 3, padding=1)])
        self.up = nn.ModuleList([Residual(conv, 2 * wide, wide, width), Residual(conv, wide, channels, width)])
        self.norm = nn.GroupNorm(channels // 16, channels)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """The prediction."""
        x, passed = self.input(x), []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            passed.append(block(x, beside))
            x = shrink(passed[-1])
        for block in self.middle:
            x = block(x, beside)
        for block, grow in zip(self.up, self.grow, strict=True):
            x = block(torch.cat([grow(F.interpolate(x, scale_factor=2.0)), passed.pop()], 1), beside)
        return self.output(F.silu(self.norm(x)))
