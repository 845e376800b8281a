"""A decoder-only transformer over characters with rotary positions; also the network of ``loop_vqvae.py``'s codes."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from loop_minimize import minimize  # type: ignore[import-not-found]
from torch import Tensor, nn


class Block(nn.Module):
    """Attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """One block."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = (torch.cat([a * cos - b * sin, a * sin + b * cos], -1) for a, b in (q.chunk(2, -1), k.chunk(2, -1)))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    """Tokens to the loss of each given those before it."""

    def __init__(self, vocabulary: int, length: int, width: int, layers: int, heads: int, classes: int = 1) -> None:
        super().__init__()
        self.embedding, self.beginning = nn.Embedding(vocabulary, width), nn.Embedding(classes, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width, bias=False), nn.Linear(width, vocabulary, bias=False)
        size = width // heads
        angles = torch.outer(torch.arange(length), 10_000.0 ** (-torch.arange(0, size, 2) / size))
        self.cos, self.sin = angles.cos(), angles.sin()

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy."""
        x = torch.cat([self.beginning(labels)[:, None], self.embedding(tokens[:, :-1])], 1)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), tokens.flatten())


def build(variant: str, batch: int) -> tuple[list[nn.Module], Callable[[], None]]:
    """The model and one training step."""
    model, data = Model(65, 128, 128, 4, 4), torch.randint(65, (100_000,)).unfold(0, 128, 1)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    labels = torch.zeros(batch, dtype=torch.int64)

    def step() -> None:
        minimize(adam, model(data[torch.randint(len(data), (batch,))], labels), clip=1.0)

    return [model], step
