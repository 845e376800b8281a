"""Plain networks that every floor builds from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

Activation = Literal["tanh", "relu", "silu", "leaky_relu"]
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
}


def mlp(
    inputs: int, hidden: Sequence[int], outputs: int, *, activation: Activation = "tanh", output_gain: float = 1.0
) -> nn.Sequential:
    """A multi-layer perceptron ``[B, inputs] -> [B, outputs]``, orthogonally initialized.

    Args:
        inputs: width of the input.
        hidden: widths of the hidden layers.
        outputs: width of the output.
        activation: between the layers.
        output_gain: scale of the last layer's initial weights (0.01 makes a near-uniform policy;
            Andrychowicz et al. 2021, "What matters in on-policy RL", section 3.2).
    """
    widths = [inputs, *hidden]
    return nn.Sequential(
        *hidden_layers(inputs, hidden, activation), orthogonal(nn.Linear(widths[-1], outputs), output_gain)
    )


def hidden_layers(inputs: int, hidden: Sequence[int], activation: Activation) -> nn.Sequential:
    """Only the hidden layers of such a network, ``[B, inputs] -> [B, hidden[-1]]``."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise([inputs, *hidden]):
        layers += [orthogonal(nn.Linear(before, after), math.sqrt(2.0)), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def orthogonal(layer: Layer, gain: float) -> Layer:
    """``layer`` with orthogonal weights (scaled by ``gain``) and zero biases (Saxe et al. 2014)."""
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class Normalizer(nn.Module):
    """Running mean and variance of rows ``[B, size]``; maps rows to zero mean and unit variance.

    Moments are kept in float64 and merged batch by batch (Chan et al. 1979), so that they do not depend
    on how the rows were split into batches. Until the first update it is the identity.
    """

    def __init__(self, size: int, *, clip: float = 10.0) -> None:
        super().__init__()
        self.clip = clip
        self.mean: Tensor
        self.inverse_std: Tensor
        self.moments: Tensor
        self.count: Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("inverse_std", torch.ones(size))
        self.register_buffer("moments", torch.zeros(2, size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, rows: Tensor, mask: Tensor | None = None) -> None:
        """Merge ``rows`` ``[B, size]``, of which ``mask`` ``[B]`` (all, where None) count."""
        rows = rows.double()
        weight = torch.ones_like(rows[:, :1]) if mask is None else mask.double()[:, None]
        count = weight.sum()
        safe = count.clamp(min=1.0)
        batch_mean = (rows * weight).sum(0) / safe
        batch_m2 = ((rows - batch_mean).square() * weight).sum(0)
        total = self.count + count
        delta = batch_mean - self.moments[0]
        share = count / total.clamp(min=1.0)
        mean = self.moments[0] + delta * share
        m2 = self.moments[1] + batch_m2 + delta.square() * (self.count * share)
        self.moments.copy_(torch.stack([mean, m2]))
        self.count.copy_(total)
        std = (m2 / total.clamp(min=1.0)).sqrt()
        self.mean.copy_(mean)
        # A coordinate that never varies carries nothing: leave it unscaled instead of amplifying noise.
        self.inverse_std.copy_(torch.where(std > 1e-6, 1.0 / std.clamp(min=1e-6), torch.ones_like(std)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` ``[B, size]`` and clip to ``[-clip, clip]``."""
        return ((x - self.mean) * self.inverse_std).clamp(-self.clip, self.clip)
