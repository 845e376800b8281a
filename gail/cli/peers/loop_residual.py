"""The residual MLP of ``loop_diffusion.py``: three blocks, each told the noise level."""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 256


class Block(nn.Module):
    """A residual block of the MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down, self.beside = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """One block."""
        return x + self.down(F.silu(self.up(self.norm(x)) + self.beside(beside)))


class MLP(nn.Module):
    """Rows to rows."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.input, self.output = nn.Linear(size, WIDTH), nn.Linear(WIDTH, size)
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """The prediction."""
        x = self.input(x)
        for block in self.blocks:
            x = block(x, beside)
        return self.output(F.silu(x))
