"""A decoder-only transformer over tokens (Vaswani et al. 2017) with rotary positions (Su et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gail.core.config import require
from gail.core.errors import InputError
from gail.core.precision import Precision
from gail.generators.dataset import Codec
from gail.generators.token_model import TokenModel, TokenSampling


@dataclass(frozen=True)
class TransformerNetwork:
    """Hyperparameters of a transformer and of its training."""

    width: int = 128
    """Size of a token's vector."""
    layers: int = 4
    """Blocks of attention and MLP."""
    heads: int = 4
    """Of attention; they share the width."""
    learning_rate: float = 1e-3
    """Adam's, after warm-up; falls linearly to zero."""
    warmup: int = 100
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.1
    """Decoupled."""

    def __post_init__(self) -> None:
        require("transformer", self, at_least={"width": 2, "layers": 1, "heads": 1, "warmup": 0})
        require("transformer", self, at_least={"learning_rate": 0.0, "weight_decay": 0.0})
        if self.width % (2 * self.heads):
            raise InputError(f"transformer.width: {self.width}, expected a multiple of twice the heads ({self.heads})")


@dataclass(frozen=True)
class TransformerConfig(TransformerNetwork):
    """Hyperparameters of a transformer that is sampled on its own."""

    sampling: TokenSampling = field(default_factory=TokenSampling)
    """How samples are drawn."""


@dataclass
class KVCache:
    """Keys and values of the positions so far, per layer ``[n, heads, length, width / heads]``."""

    keys: list[Tensor]
    values: list[Tensor]
    position: int = 0
    """How many positions are filled."""


class Transformer(TokenModel):
    """Pre-normalized blocks; the sequence begins with a learned vector of its class."""

    kind: ClassVar[str] = "transformer"

    def __init__(self, codec: Codec, classes: int, config: TransformerNetwork, precision: Precision = "fp32") -> None:
        super().__init__(codec, classes, config, precision)
        self.config: TransformerNetwork = config
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.head = nn.Linear(config.width, self.vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
        # Each block adds twice to the stream, whose variance should not grow with depth (Radford et al. 2019).
        for name, parameter in self.named_parameters():
            if name.endswith(("output.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 / (2 * config.layers) ** 0.5)
        angles = _angles(self.length, config.width // config.heads)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.cos: Tensor
        self.sin: Tensor

    def logits(self, tokens: Tensor, labels: Tensor | None = None) -> Tensor:
        """All positions at once; see :meth:`TokenModel.logits`."""
        return self._run(self.inputs(tokens, labels), None)

    def start(self, n: int, labels: Tensor | None = None) -> tuple[KVCache, Tensor]:
        """An empty cache that holds the beginning; see :meth:`TokenModel.start`."""
        heads, size = self.config.heads, self.config.width // self.config.heads
        keys, values = ([self._empty(n, heads, size) for _ in self.blocks] for _ in range(2))
        cache = KVCache(keys, values)
        return cache, self._run(self.first(n, labels), cache)[:, -1]

    def feed(self, tokens: Tensor, state: Any) -> Tensor:
        """See :meth:`TokenModel.feed`."""
        return self._run(self.embedding(tokens), state)[:, -1]

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty((shape[0], shape[1], self.length, shape[2]), device=self.device)

    def _run(self, x: Tensor, cache: KVCache | None) -> Tensor:
        """Logits ``[B, l, V]`` of vectors ``[B, l, width]``, which come after what ``cache`` holds."""
        first = 0 if cache is None else cache.position
        turn = (self.cos[first : first + x.shape[1]], self.sin[first : first + x.shape[1]])
        with self.arithmetic():
            for layer, block in enumerate(self.blocks):
                x = block(x, turn, cache, layer)
            logits = self.head(self.norm(x))
        if cache is not None:
            cache.position += x.shape[1]
        return logits.float()


class _Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""

    def __init__(self, config: TransformerNetwork) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm_attention, self.norm_mlp = nn.RMSNorm(width), nn.RMSNorm(width)
        self.input = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], cache: KVCache | None, layer: int) -> Tensor:
        batch, length, width = x.shape
        parts = self.input(self.norm_attention(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = rotate(parts[0], *turn), rotate(parts[1], *turn), parts[2]
        if cache is None:
            seen = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        else:
            seen = _attend_cached(queries, keys, values, cache, layer)
        x = x + self.output(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm_mlp(x))))


def _attend_cached(queries: Tensor, keys: Tensor, values: Tensor, cache: KVCache, layer: int) -> Tensor:
    """Attention of new positions to those in the cache and to each other, causally; the cache takes them in."""
    first, length = cache.position, queries.shape[2]
    end = first + length
    cache.keys[layer][:, :, first:end] = keys
    cache.values[layer][:, :, first:end] = values
    keys, values = (store[layer][:, :, :end].to(queries.dtype) for store in (cache.keys, cache.values))
    mask = None
    if length > 1:
        place = torch.arange(end, device=queries.device)
        mask = place[None, :] <= place[first:, None]
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


def _angles(length: int, size: int) -> Tensor:
    """``[length, size / 2]``: how far each pair of coordinates turns at each position."""
    frequencies = 10_000.0 ** (-torch.arange(0, size, 2) / size)
    return torch.outer(torch.arange(length), frequencies)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of coordinates of ``x`` ``[..., l, size]`` by the angles of their positions (Su et al. 2021)."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1).type_as(x)
