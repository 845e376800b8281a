"""Action distributions: what a policy network's last layer means, one head per kind of action space.

A *sample* is what the distribution draws and what its log-probability is of; the *action* is the sample as the
environment executes it (scaled to the bounds and clipped). Buffers and discriminators see actions: raw Gaussian
samples beyond the bounds would tell a discriminator the policy from the expert for free.
"""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from gail.core.errors import InputError
from gail.envs.leaves import SUPPORTED
from gail.envs.spaces import Categorical, SpaceEncoder, categories


class CategoricalHead(nn.Module):
    """One or several independent categorical distributions (Discrete, MultiDiscrete, MultiBinary)."""

    def __init__(self, space: Categorical) -> None:
        super().__init__()
        self.single = isinstance(space, spaces.Discrete)
        self.counts, starts = categories(space)
        self.shape = space.shape or ()
        self.size = sum(self.counts)
        self.start: Tensor
        self.register_buffer("start", torch.tensor(starts), persistent=False)

    def _log_probs(self, params: Tensor) -> list[Tensor]:
        return [part.log_softmax(dim=-1) for part in params.split(self.counts, dim=-1)]

    def sample(self, params: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw ``[B, len(counts)]`` category numbers for ``params`` ``[B, size]``."""
        columns = []
        for part in params.split(self.counts, dim=-1):
            # Exponential race: argmax p_i / e_i is a categorical draw (e_i ~ Exp(1)), without a read-back.
            race = torch.empty_like(part).exponential_(generator=generator)
            columns.append((part - race.log()).argmax(dim=-1))
        return torch.stack(columns, dim=-1)

    def mode(self, params: Tensor) -> Tensor:
        """The most probable categories ``[B, len(counts)]``."""
        return torch.stack([part.argmax(dim=-1) for part in params.split(self.counts, dim=-1)], dim=-1)

    def to_action(self, sample: Tensor) -> Tensor:
        """Category numbers to elements of the space ``[B]`` or ``[B, ...]``."""
        shifted = sample + self.start
        return shifted[:, 0] if self.single else shifted.reshape(sample.shape[0], *self.shape)

    def from_action(self, action: Tensor) -> Tensor:
        """The inverse of :meth:`to_action`."""
        return action.reshape(action.shape[0], -1).long() - self.start

    def log_prob_entropy(self, params: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability ``[B]`` of ``sample`` and the distribution's entropy ``[B]``."""
        log_prob: Tensor | None = None
        entropy: Tensor | None = None
        for column, part in enumerate(self._log_probs(params)):
            chosen = part.gather(-1, sample[:, column : column + 1]).squeeze(-1)
            spread = -(part.exp() * part).sum(dim=-1)
            log_prob = chosen if log_prob is None else log_prob + chosen
            entropy = spread if entropy is None else entropy + spread
        assert log_prob is not None and entropy is not None
        return log_prob, entropy


class GaussianHead(nn.Module):
    """A diagonal Gaussian with a state-independent scale, in units where the bounds are -1 and 1 (Box)."""

    def __init__(self, space: spaces.Box, *, initial_log_std: float = 0.0) -> None:
        super().__init__()
        self.size = int(np.prod(space.shape))
        self.shape = tuple(space.shape)
        self.encoder = SpaceEncoder(space, scale_bounded=True)
        self.log_std = nn.Parameter(torch.full((self.size,), initial_log_std))

    def sample(self, params: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw ``[B, size]`` around the means ``params`` ``[B, size]``."""
        noise = torch.empty_like(params).normal_(generator=generator)
        return params + noise * self.log_std.exp()

    def mode(self, params: Tensor) -> Tensor:
        """The means ``[B, size]``."""
        return params

    def to_action(self, sample: Tensor) -> Tensor:
        """The executed action ``[B, ...]``: clipped to the bounds and scaled to the space's units."""
        if self.encoder.center is not None and self.encoder.half_range is not None:
            sample = sample.clamp(-1.0, 1.0) * self.encoder.half_range + self.encoder.center
        return sample.reshape(sample.shape[0], *self.shape)

    def from_action(self, action: Tensor) -> Tensor:
        """Actions in the space's units to samples ``[B, size]``."""
        return self.encoder(action)

    def log_prob_entropy(self, params: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density ``[B]`` of ``sample`` and the entropy ``[B]``."""
        z = (sample - params) * (-self.log_std).exp()
        constant = 0.5 * math.log(2.0 * math.pi) * self.size
        scale = self.log_std.sum()
        log_prob = -0.5 * z.square().sum(dim=-1) - scale - constant
        return log_prob, (scale + constant + 0.5 * self.size).expand(params.shape[0])


Head = CategoricalHead | GaussianHead


def make_head(space: gym.Space) -> Head:
    """The head for an action space.

    Raises:
        InputError: for a space without one.
    """
    if isinstance(space, Categorical):
        return CategoricalHead(space)
    if isinstance(space, spaces.Box):
        return GaussianHead(space)
    raise InputError(f"action space {space} is not supported; supported are {SUPPORTED}")
