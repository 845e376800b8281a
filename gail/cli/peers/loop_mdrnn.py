"""A mixture-density LSTM over windows of episodes: next state and reward, end, action, first state."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from loop_minimize import minimize  # type: ignore[import-not-found]
from torch import Tensor, nn

OBS, ACTION, WIDTH, K, LENGTH = 11, 3, 128, 5, 32


class Mixture(nn.Linear):
    """Features to a mixture of Gaussians over ``size`` numbers."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__(inputs, K * (1 + 2 * size))

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-density of ``x``."""
        logits, mean, log_std = self(features).split([K] + [K * (size := x.shape[-1])] * 2, -1)
        mean, log_std = mean.unflatten(-1, (K, size)), log_std.unflatten(-1, (K, size)).clamp(-5, 5)
        parts = -0.5 * ((x[..., None, :] - mean) / log_std.exp()).square() - log_std - 0.5 * math.log(math.tau)
        return torch.logsumexp(logits.log_softmax(-1) + parts.sum(-1), -1)


class Model(nn.Module):
    """Windows to the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrence, self.dynamics = nn.LSTM(OBS + ACTION, WIDTH, batch_first=True), Mixture(WIDTH, OBS + 1)
        self.ends = nn.Sequential(nn.Linear(WIDTH + OBS, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 2))
        self.deciding = nn.Sequential(nn.Linear(WIDTH + OBS, WIDTH), nn.SiLU())
        self.answering = nn.Sequential(nn.Linear(WIDTH + 14, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU())
        self.behaviour, self.first = Mixture(WIDTH, ACTION), Mixture(1, OBS)

    def forward(self, x: Tensor) -> Tensor:
        """Negative log-likelihood."""
        obs, action, reward, over, ended = x.split([OBS, ACTION, 1, 1, 1], -1)
        past = self.recurrence(known := torch.cat([obs, action], -1)[:, :-1])[0]
        answers, playing = torch.cat([obs[:, 1:] - obs[:, :-1], reward[:, :-1]], -1), 1 - over[..., 0]
        dynamics = self.dynamics.log_prob(self.answering(torch.cat([past, known], -1)), answers)
        ends, flags = self.ends(torch.cat([past, obs[:, 1:]], -1)), torch.cat([over, ended], -1)[:, 1:]
        decided = self.deciding(torch.cat([F.pad(past, (0, 0, 1, 0)), obs], -1))
        behaviour = -(self.behaviour.log_prob(decided, action) * playing).mean()
        dynamics = behaviour - (dynamics * playing[:, 1:]).mean() + F.binary_cross_entropy_with_logits(ends, flags)
        return dynamics - self.first.log_prob(torch.ones(len(x), 1), obs[:, 0]).mean() / LENGTH


def build(variant: str, batch: int) -> tuple[list[nn.Module], Callable[[], None]]:
    """The model and one training step."""
    model, data = Model(), torch.cat([torch.randn(4096, LENGTH, 15), torch.zeros(4096, LENGTH, 2)], -1)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        minimize(adam, model(data[torch.randint(4096, (batch,))]), clip=10.0)

    return [model], step
