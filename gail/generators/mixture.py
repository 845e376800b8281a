"""A mixture-density recurrent network over episodes: how an environment answers, and what is done in it.

Source: Ha & Schmidhuber 2018 (world models), section 2.3, on Bishop 1994's mixture density networks; here on the
observations themselves, with a second head for the action, so that whole episodes can be drawn. The mixture is of what
a linear model of the step leaves over (:mod:`gail.generators.linear`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gail.core.config import require
from gail.core.engine import Turn
from gail.core.errors import InputError
from gail.core.losses import Metrics
from gail.core.player import Player
from gail.core.precision import Precision
from gail.generators.dataset import Codec
from gail.generators.generator import Draw, Generator, Minibatch
from gail.generators.linear import LinearDynamics, StepLikelihood
from gail.generators.transitions import SegmentCodec


@dataclass(frozen=True)
class MixtureConfig:
    """Hyperparameters of a mixture-density recurrent network."""

    cell: Literal["lstm", "gru"] = "lstm"
    """The recurrence."""
    width: int = 128
    """Size of its state."""
    components: int = 5
    """Gaussians in a mixture."""
    lowest_log_std: float = -5.0
    """Of a component, in units of the linear model's error (of the data's spread for actions and first states): a
    likelihood without a bound has no maximum."""
    learning_rate: float = 1e-3
    """Adam's, after warm-up; falls linearly to zero."""
    warmup: int = 100
    """Steps over which the learning rate rises."""

    def __post_init__(self) -> None:
        require("mixture", self, at_least={"width": 1, "components": 1, "learning_rate": 0.0, "warmup": 0})


@dataclass(frozen=True)
class GaussianMixture:
    """Mixtures of K axis-aligned Gaussians over D numbers."""

    logits: Tensor
    """``[..., K]``."""
    means: Tensor
    """``[..., K, D]``."""
    log_std: Tensor
    """``[..., K, D]``."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density ``[...]`` of ``x`` ``[..., D]``."""
        distance = (x[..., None, :] - self.means) * torch.exp(-self.log_std)
        components = (-0.5 * distance.square() - self.log_std - 0.5 * math.log(2.0 * math.pi)).sum(-1)
        return torch.logsumexp(self.logits.log_softmax(-1) + components, dim=-1)

    def of_first(self, numbers: int) -> GaussianMixture:
        """The marginal mixture of the first so many numbers."""
        return GaussianMixture(self.logits, self.means[..., :numbers], self.log_std[..., :numbers])

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draws ``[n, D]`` of mixtures ``[n]``."""
        shape = (len(self.logits), 1 + self.means.shape[-1])
        return self.at(torch.rand(shape, generator=generator, device=self.means.device, dtype=torch.float64))

    def at(self, uniform: Tensor) -> Tensor:
        """The draws ``[n, D]`` that uniform numbers ``[n, 1 + D]`` in [0, 1) (float64) stand for: inverse transform."""
        below = self.logits.double().softmax(-1).cumsum(-1)[:, :-1]
        chosen = (uniform[:, :1] >= below).sum(1)[:, None, None]
        means, log_std = (t.gather(1, chosen.expand(-1, -1, t.shape[-1]))[:, 0] for t in (self.means, self.log_std))
        normal = torch.special.ndtri(uniform[:, 1:].clamp(min=1e-16)).float()
        return means + log_std.exp() * normal


@dataclass(frozen=True)
class Advance:
    """One step of N episodes, in units of the data's spread."""

    obs: Tensor
    """``[N, obs]``: the next states."""
    reward: Tensor
    """``[N, 1]``."""
    flags: Tensor
    """``[N, 2]`` bool: whether the next state is over, and whether that would be a termination."""
    past: Tensor
    """``[N, width]``: what the network knows of the past."""
    hidden: Tensor
    """``[N, k]``: for the next step."""


class _MixtureHead(nn.Module):
    """Features ``[..., F]`` to mixtures over D numbers; the components start apart."""

    def __init__(self, inputs: int, size: int, config: MixtureConfig) -> None:
        super().__init__()
        self.components, self.size, self.lowest = config.components, size, config.lowest_log_std
        self.output = nn.Linear(inputs, config.components * (1 + 2 * size))

    def forward(self, features: Tensor) -> GaussianMixture:
        numbers = self.output(features).float()
        logits, means, log_std = numbers.split([self.components] + [self.components * self.size] * 2, dim=-1)
        shape = (*numbers.shape[:-1], self.components, self.size)
        return GaussianMixture(logits, means.reshape(shape), log_std.reshape(shape).clamp(self.lowest, 5.0))


class MixtureRNN(Generator):
    """Windows of episodes, state by state.

    Action given state and past; change of the state and reward given the action too; end given the new state.
    """

    kind: ClassVar[str] = "mdrnn"

    def __init__(self, codec: Codec, classes: int, config: MixtureConfig, precision: Precision = "fp32") -> None:
        super().__init__(codec, classes, config, precision)
        if not isinstance(codec, SegmentCodec):
            raise InputError(f"{self.kind}: learns from segments (--data-kind segments), found {codec.kind!r}")
        self.codec: SegmentCodec = codec
        self.config: MixtureConfig = config
        self.sizes = codec.sizes
        obs, action = self.sizes[:2]
        self.choices = codec.action.count
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        self.recurrence = cell(obs + action, config.width, batch_first=True)
        hidden = (
            nn.Linear(config.width + obs + action, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
        )
        self.answering = nn.Sequential(*hidden, nn.SiLU())
        self.dynamics = _MixtureHead(config.width, obs + 1, config)
        # Whether an episode is over shows in the state that it ended in.
        last = nn.Linear(config.width, 2)
        # Ends are rare: a model that began at one half would first learn nothing else.
        last.bias.data[0] = torch.logit(codec.scaling.mean[-2], eps=1e-4)
        self.ends = nn.Sequential(nn.Linear(config.width + obs, config.width), nn.SiLU(), last)
        self.deciding = nn.Sequential(nn.Linear(config.width + obs, config.width), nn.SiLU())
        self.behaviour: nn.Module
        if self.choices is None:
            self.behaviour = _MixtureHead(config.width, action, config)
        else:
            self.behaviour = nn.Linear(config.width, action)
        self.first_state = _MixtureHead(1, obs, config)
        for name, tensor in codec.dynamics.tensors().items():
            self.register_buffer(f"linear_{name}", tensor.clone(), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", codec.scaling.mean.clone(), persistent=False)
        self.register_buffer("std", codec.scaling.std.clone(), persistent=False)

    @property
    def linear(self) -> LinearDynamics:
        """The linear model of the step, on the model's device."""
        dynamics = self.codec.dynamics
        return replace(dynamics, **{name: getattr(self, f"linear_{name}") for name in dynamics.tensors()})

    def players(self) -> Mapping[str, Player]:
        """The model."""
        return {
            self.kind: Player(
                self.kind,
                self,
                self.loss,
                learning_rate=self.config.learning_rate,
                anneal=True,
                max_grad_norm=10.0,
                eps=1e-8,
                warmup=self.config.warmup,
            )
        }

    @torch.no_grad()
    def step_likelihood(self, items: Tensor) -> StepLikelihood | None:
        """See :meth:`Generator.step_likelihood`."""
        if not self.linear.scored:
            return None
        parts = self._parts(self.codec.encode(items.to(self.device)))
        left = self._innovations(parts)
        past = self._past(parts["obs"], parts["action"])
        mixture = self._answer(past, _known(parts)).of_first(self.linear.scored)
        density = mixture.log_prob(left[..., : self.linear.scored]) - self.linear.log_volume.float()
        return StepLikelihood(density, self.linear.log_prob(left), parts["over"][:, :-1, 0] < 0.5)

    def loss(self, batch: Minibatch) -> tuple[Tensor, Metrics]:
        """Negative log-likelihood per state, in nats; what comes after an episode's end counts nothing."""
        parts = self._parts(batch.x)
        obs, over, terminated = parts["obs"], parts["over"][..., 0], parts["terminated"][..., 0]
        playing = 1.0 - over
        past = self._past(obs, parts["action"])
        dynamics = -self._answer(past, _known(parts)).log_prob(self._innovations(parts))
        logits = self.ends(torch.cat([past, obs[:, 1:]], dim=-1))
        ends = F.binary_cross_entropy_with_logits(logits[..., 0], over[:, 1:], reduction="none")
        ends = ends + over[:, 1:] * F.binary_cross_entropy_with_logits(
            logits[..., 1], terminated[:, 1:], reduction="none"
        )
        behaviour = -self._action_log_prob(F.pad(past, (0, 0, 1, 0)), obs, parts["action"])
        first = -self.first_state(torch.ones_like(obs[:, 0, :1])).log_prob(obs[:, 0])

        def mean(values: Tensor, weights: Tensor) -> Tensor:
            return (values * weights).sum() / weights.sum().clamp(min=1.0)

        pieces = {
            "dynamics": mean(dynamics, playing[:, :-1]),
            "ends": mean(ends, playing[:, :-1]),
            "behaviour": mean(behaviour, playing),
            "first_state": first.mean() / obs.shape[1],
        }
        return torch.stack(list(pieces.values())).sum(), {name: value.detach() for name, value in pieces.items()}

    def _parts(self, x: Tensor) -> dict[str, Tensor]:
        """Columns by name, ``[B, L, size]``; the flags as 0 and 1."""
        names = ("obs", "action", "reward", "over", "terminated")
        parts = dict(zip(names, x.transpose(1, 2).split(self.sizes, dim=-1), strict=True))
        for place, name in ((-2, "over"), (-1, "terminated")):
            parts[name] = (parts[name] * self.std[place] + self.mean[place]).clamp(0.0, 1.0)
        return parts

    def _past(self, obs: Tensor, action: Tensor) -> Tensor:
        """States of the recurrence ``[B, L - 1, width]`` after each state and action but the last."""
        with self.arithmetic():
            return self.recurrence(torch.cat([obs, action], dim=-1)[:, :-1])[0].float()

    def _innovations(self, parts: dict[str, Tensor]) -> Tensor:
        """What the linear model leaves of each step ``[B, L - 1, obs + 1]``."""
        answers = torch.cat([parts["obs"].diff(dim=1), parts["reward"][:, :-1]], dim=-1)
        return self.linear.innovations(_known(parts), answers)

    def _answer(self, past: Tensor, known: Tensor) -> GaussianMixture:
        """The innovations' mixture after a state and action ``known`` ``[..., obs + action]``, which ``past`` holds."""
        return self.dynamics(self.answering(torch.cat([past, known], dim=-1)))

    def _decision(self, past: Tensor, obs: Tensor) -> Any:
        return self.behaviour(self.deciding(torch.cat([past, obs], dim=-1)))

    def _action_log_prob(self, past: Tensor, obs: Tensor, action: Tensor) -> Tensor:
        decision = self._decision(past, obs)
        if self.choices is None:
            return decision.log_prob(action)
        size = self.sizes[0]
        chosen = action * self.std[size : size + action.shape[-1]] + self.mean[size : size + action.shape[-1]]
        return (decision.unflatten(-1, (-1, self.choices)).log_softmax(-1).flatten(-2) * chosen).sum(-1)

    def turns(self, draw: Draw, generator: torch.Generator) -> Iterator[Turn]:
        """One turn."""
        batch = draw()
        yield Turn(self.kind, batch, float(batch.x.shape[0]))

    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator) -> Tensor:
        """Draw windows state by state; see :meth:`Generator.sample`."""
        self.labels(n, condition, generator)
        actions = self.sizes[1]
        one = torch.ones((n, 1), device=self.device)
        obs = self.first_state(one).sample(generator)
        past, hidden = torch.zeros((n, self.config.width), device=self.device), self.initial_hidden(n)
        flags = torch.zeros((n, 2), device=self.device)
        states = []
        for _ in range(self.codec.shape[1]):
            action = self._draw_action(self._decision(past, obs), actions, generator)
            uniform = torch.rand((n, self.step_draws), generator=generator, device=self.device, dtype=torch.float64)
            drawn = self.advance(obs, action, hidden, uniform)
            states.append(torch.cat([obs, action, drawn.reward, self._scaled(flags, -2)], dim=-1))
            obs, past, hidden, flags = drawn.obs, drawn.past, drawn.hidden, drawn.flags.float()
        return torch.stack(states, dim=2)

    @property
    def step_draws(self) -> int:
        """How many uniform numbers a step takes."""
        return 1 + self.dynamics.size + 2

    def initial_hidden(self, n: int) -> Tensor:
        """What the network remembers ``[n, k]`` at the start of ``n`` episodes."""
        return torch.zeros((n, self.config.width * (2 if self.config.cell == "lstm" else 1)), device=self.device)

    def advance(self, obs: Tensor, action: Tensor, hidden: Tensor, uniform: Tensor) -> Advance:
        """One step of N episodes.

        Args:
            obs: states ``[N, obs]`` in units of the data's spread.
            action: actions ``[N, action]`` likewise.
            hidden: from :meth:`initial_hidden` or the step before.
            uniform: ``[N, step_draws]`` float64 in [0, 1).
        """
        known = torch.cat([obs, action], dim=-1)
        memory: Any = hidden[None]
        if self.config.cell == "lstm":
            memory = tuple(part.contiguous() for part in hidden[None].chunk(2, dim=-1))
        outputs, memory = self.recurrence(known[:, None], memory)
        past = outputs[:, 0]
        answer = self.linear.answers(known, self._answer(past, known).at(uniform[:, :-2]))
        after = obs + answer[:, : obs.shape[1]]
        flags = uniform[:, -2:] < torch.sigmoid(self.ends(torch.cat([past, after], dim=-1)))
        kept = torch.cat(memory, dim=-1) if isinstance(memory, tuple) else memory
        return Advance(after, answer[:, obs.shape[1] :], flags, past, kept[0])

    def _draw_action(self, decision: Any, size: int, generator: torch.Generator) -> Tensor:
        if self.choices is None:
            return decision.sample(generator)
        flat = decision.reshape(-1, self.choices).softmax(-1)
        chosen = torch.multinomial(flat, 1, generator=generator)
        return self._scaled(F.one_hot(chosen[:, 0], self.choices).reshape(-1, size).float(), self.sizes[0])

    def _scaled(self, columns: Tensor, first: int) -> Tensor:
        """``columns``, which begin at place ``first`` of a state, in units of the data's spread."""
        places = range(len(self.mean))[first:][: columns.shape[-1]]
        mean, std = self.mean[places.start : places.stop], self.std[places.start : places.stop]
        return torch.where(std > 0, (columns - mean) / std.clamp(min=1e-12), 0.0)


def _known(parts: dict[str, Tensor]) -> Tensor:
    """States and actions that an answer follows, ``[B, L - 1, obs + action]``."""
    return torch.cat([parts["obs"], parts["action"]], dim=-1)[:, :-1]
