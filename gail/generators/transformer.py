"""A decoder-only transformer over tokens (Vaswani et al. 2017) with rotary positions (Su et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gail.core.config import require
from gail.core.errors import InputError
from gail.core.precision import Precision
from gail.generators.dataset import Codec
from gail.generators.returns import ReturnCodec
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
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.head = nn.Linear(config.width, self.vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
        # Each block adds twice to the stream, whose variance should not grow with depth (Radford et al. 2019).
        for name, parameter in self.named_parameters():
            if name.endswith(("output.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 / (2 * config.layers) ** 0.5)
        if isinstance(codec, ReturnCodec):
            for low, high in pairwise(codec.offsets):
                _begin_smoothly(self.embedding.weight[low:high], 0.3)
                _begin_smoothly(self.head.weight[low:high], 0.02)
        self.rotations: Tensor
        self.later: Tensor
        self.register_buffer("rotations", _rotations(self.length, config.width // config.heads), persistent=False)
        later = torch.full((self.length, self.length), -torch.inf).triu(1)
        self.register_buffer("later", later, persistent=False)

    def features(self, tokens: Tensor, labels: Tensor | None = None) -> Tensor:
        """All positions at once; see :meth:`TokenModel.features`."""
        return self._run(self.inputs(tokens, labels), None)

    def start(self, n: int, labels: Tensor | None = None) -> tuple[KVCache, Tensor]:
        """An empty cache that holds the beginning; see :meth:`TokenModel.start`."""
        heads, size = self.config.heads, self.config.width // self.config.heads
        keys, values = ([self._empty(n, heads, size) for _ in self.blocks] for _ in range(2))
        cache = KVCache(keys, values)
        return cache, self.predict(self._run(self.first(n, labels), cache)[:, -1])

    def feed(self, tokens: Tensor, state: Any) -> Tensor:
        """See :meth:`TokenModel.feed`."""
        return self.predict(self._run(self.embedding(tokens), state)[:, -1])

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty((shape[0], shape[1], self.length, shape[2]), device=self.device)

    def _run(self, x: Tensor, cache: KVCache | None) -> Tensor:
        """Features of vectors ``[B, l, width]``, which come after what ``cache`` holds."""
        first = 0 if cache is None else cache.position
        rotations, later = self.rotations[first : first + x.shape[1]], self.later[: x.shape[1], : x.shape[1]]
        with self.arithmetic():
            for layer, block in enumerate(self.blocks):
                x = block(x, rotations, later, cache, layer)
            x = self.norm(x)
        if cache is not None:
            cache.position += x.shape[1]
        return x


class _Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""

    def __init__(self, config: TransformerNetwork) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm_attention, self.norm_mlp = (nn.LayerNorm(width, bias=False) for _ in range(2))
        self.input = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, rotations: Tensor, later: Tensor, cache: KVCache | None, layer: int) -> Tensor:
        batch, length, width = x.shape
        parts = self.input(self.norm_attention(x)).view(batch, length, 3, self.heads, -1)
        turning, values = parts.split((2, 1), dim=2)
        queries, keys = rotate(turning, rotations[:, None, None]).permute(2, 0, 3, 1, 4)
        values = values.squeeze(2).transpose(1, 2)
        if cache is None:
            seen = _attend(queries, keys, values, later)
        else:
            seen = _attend_cached(queries, keys, values, cache, layer)
        x = x + self.output(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm_mlp(x))))


def _attend(queries: Tensor, keys: Tensor, values: Tensor, later: Tensor) -> Tensor:
    """Causal attention ``[B, heads, l, size]``; ``later`` ``[l, l]`` is minus infinity where a key comes later."""
    if queries.dtype != torch.bfloat16 or queries.device.type != "cpu":
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    # The fused kernel's backward pass takes the processor four times as long in bfloat16 as these products.
    heads, (queries, keys, values) = queries.shape[:2], (part.flatten(0, 1) for part in (queries, keys, values))
    scores = torch.baddbmm(later, queries, keys.transpose(1, 2), alpha=queries.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1), values).unflatten(0, heads)


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


@torch.no_grad()
def _begin_smoothly(rows: Tensor, std: float) -> None:
    """Make ``rows`` ``[k, width]`` of a column's tokens random waves of their rank, so that neighbours learn together.

    Args:
        rows: overwritten.
        std: of their entries.
    """
    frequencies = torch.arange(1, 7)
    angles = torch.outer(torch.linspace(-0.5, 0.5, len(rows)), torch.pi * frequencies)
    falling = frequencies.rsqrt()
    waves = torch.cat([torch.ones(len(rows), 1), angles.cos() * falling, angles.sin() * falling], dim=1)
    rows.copy_(std * (waves / waves.norm(dim=1).mean()) @ torch.randn(waves.shape[1], rows.shape[1]))


def _rotations(length: int, size: int) -> Tensor:
    """Complex numbers ``[length, size / 2]`` that turn each pair of coordinates by the angle of each position."""
    angles = torch.outer(torch.arange(length), 10_000.0 ** (-torch.arange(0, size, 2) / size))
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Turn pairs of coordinates of ``x`` ``[..., size]`` by the angles of their positions (Su et al. 2021).

    Args:
        x: vectors.
        rotations: complex numbers of length 1, to be broadcast to ``[..., size / 2]``.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations).flatten(-2).type_as(x)
