"""Deep Q-learning (Mnih et al. 2015): double, duelling, n-step targets, prioritized replay."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gail.agents.off_policy import OffPolicy
from gail.agents.q_policy import QPolicy
from gail.agents.replay import Replay, ReplayBatch
from gail.agents.synthetic import Synthesizer, SyntheticConfig
from gail.core.config import require
from gail.core.engine import Turn
from gail.core.errors import InputError
from gail.core.losses import Metrics
from gail.core.networks import Activation
from gail.core.pixels import PixelConfig
from gail.core.player import Player
from gail.envs.vec import VecEnv


@dataclass(frozen=True)
class DQNConfig:
    """Hyperparameters of DQN."""

    learning_rate: float = 1e-4
    """Adam's, at the start."""
    anneal: bool = False
    """Lower the learning rate linearly to zero over the run."""
    gamma: float = 0.99
    """Discount."""
    batch_size: int = 32
    """Transitions per gradient step."""
    buffer_size: int = 100_000
    """Steps that the replay holds."""
    learning_starts: int = 1_000
    """Environment steps before the first gradient step."""
    steps_per_update: int = 4
    """Environment steps per gradient step."""
    n_step: int = 3
    """Rewards that a target sums before it bootstraps."""
    double: bool = True
    """Let the online network choose the action that the target network values (van Hasselt et al. 2016)."""
    dueling: bool = True
    """Tell state values and advantages apart (Wang et al. 2016)."""
    priority_exponent: float = 0.5
    """How strongly TD errors decide what is drawn (alpha of Schaul et al. 2016); 0 draws uniformly."""
    priority_correction: float = 0.4
    """Exponent of the importance-sampling weights at the start (beta); rises linearly to 1."""
    target_rate: float = 1.0
    """How far the target network moves to the online one at each of its updates; 1 copies it."""
    target_every: int = 1_000
    """Gradient steps between updates of the target network."""
    epsilon_start: float = 1.0
    """Share of uniform actions at the start."""
    epsilon_end: float = 0.01
    """Share of uniform actions from the end of exploration on."""
    exploration_fraction: float = 0.1
    """Part of the run in which that share falls linearly."""
    max_grad_norm: float = 10.0
    """Global gradient norm after clipping."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers (vector observations)."""
    activation: Activation = "relu"
    """Between them."""
    pixels: PixelConfig = field(default_factory=PixelConfig)
    """How the network looks at images."""
    stacked: bool = True
    """Whether images [C, H, W] are the last C frames, so that each frame needs storing once only."""
    save_replay: bool = True
    """Whether checkpoints hold the replay; without it a resumed run collects a new one first."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """Transitions of a generative player beside the replay's."""

    def __post_init__(self) -> None:
        counts = (
            "batch_size",
            "buffer_size",
            "learning_starts",
            "steps_per_update",
            "n_step",
            "target_every",
            "hidden",
        )
        require("dqn", self, at_least=dict.fromkeys(counts, 1))
        numbers = ("learning_rate", "priority_exponent", "priority_correction", "epsilon_start", "epsilon_end")
        require("dqn", self, at_least=dict.fromkeys((*numbers, "gamma", "exploration_fraction"), 0.0))
        for name in ("gamma", "target_rate", "epsilon_start", "epsilon_end", "priority_correction"):
            if getattr(self, name) > 1.0:
                raise InputError(f"dqn.{name}: {getattr(self, name)}, expected at most 1")
        if self.target_rate <= 0.0:
            raise InputError(f"dqn.target_rate: {self.target_rate}, expected more than 0")
        self.synthetic.count(self.batch_size)

    @property
    def network(self) -> dict[str, Any]:
        """The part that shapes the policy."""
        names = ("hidden", "activation", "dueling")
        return {**{name: getattr(self, name) for name in names}, **asdict(self.pixels)}


@dataclass(frozen=True)
class DQNBatch:
    """B transitions."""

    features: Tensor
    """``[B, ...]``: the states acted in, as the network takes them."""
    samples: Tensor
    """``[B, 1]`` int64: which action was taken."""
    returns: Tensor
    """``[B]``: discounted rewards until the successor."""
    next_features: Tensor
    """``[B, ...]``: the successors."""
    discount: Tensor
    """``[B]``: of the successor's value; 0 where there is none."""
    weight: Tensor
    """``[B]``: importance-sampling weights."""


class QLearner:
    """The action values, the copy of them that targets are made with, and the gradient step.

    Args:
        policy: on its device.
        config: hyperparameters.
    """

    def __init__(self, policy: QPolicy, config: DQNConfig) -> None:
        self.policy, self.config = policy, config
        self.target = copy.deepcopy(policy).requires_grad_(False)
        self.updates = 0
        self.errors: Tensor | None = None
        """``[B]``: absolute TD errors of the last gradient step's batch."""
        self.player = Player(
            "policy",
            policy,
            self.loss,
            learning_rate=config.learning_rate,
            anneal=config.anneal,
            max_grad_norm=config.max_grad_norm,
        )

    def loss(self, batch: DQNBatch) -> tuple[Tensor, Metrics]:
        """Huber loss of the TD errors, weighted against unequal drawing."""
        values = self.policy.q_values(batch.features).gather(1, batch.samples).squeeze(1)
        with torch.no_grad():
            after = self.target.q_values(batch.next_features)
            chooser = self.policy.q_values(batch.next_features) if self.config.double else after
            best = after.gather(1, chooser.argmax(dim=1, keepdim=True)).squeeze(1)
            # y = r_t + ... + gamma^(m-1) r_(t+m-1) + gamma^m Q'(s_(t+m), argmax_a Q(s_(t+m), a))
            targets = batch.returns + batch.discount * best
        self.errors = (targets - values).detach().abs()
        loss = (F.smooth_l1_loss(values, targets, reduction="none") * batch.weight).mean()
        return loss, {"q_value": values.detach().mean(), "td_error": self.errors.mean()}

    @torch.no_grad()
    def follow(self) -> None:
        """Count a gradient step, and move the target network where it is due."""
        self.updates += 1
        if self.updates % self.config.target_every == 0:
            for ours, theirs in zip(self.target.parameters(), self.policy.parameters(), strict=True):
                ours.lerp_(theirs, self.config.target_rate)

    def state_dict(self) -> dict[str, Any]:
        """What the player does not hold."""
        return {"target": dict(self.target.state_dict()), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.target.load_state_dict(state["target"])
        self.updates = int(state["updates"])


class DQN(OffPolicy):
    """A game of one player, the action values, that learns from a replay of what they did, perhaps a synthetic one too.

    Args:
        env: batched environments.
        config: hyperparameters.
        policy: the action values, on the environment's device.
        total_steps: environment steps of the run; schedules end by it.
        seed: of the environments.
        generators: random streams named ``actions`` (on the environment's device) and ``replay`` (on the host); with a
            synthesizer also ``synthetic`` (on the environment's device).
        clip_rewards: learn from the sign of each reward.
        synthesizer: the generative player, where ``config.synthetic.share`` is above 0.
    """

    config: DQNConfig
    policy: QPolicy

    def __init__(
        self,
        env: VecEnv,
        config: DQNConfig,
        *,
        policy: QPolicy,
        total_steps: int,
        seed: int,
        generators: Mapping[str, torch.Generator],
        clip_rewards: bool = False,
        synthesizer: Synthesizer | None = None,
    ) -> None:
        replay = Replay(
            env.observation_space,
            env.num_envs,
            capacity=config.buffer_size,
            n_step=config.n_step,
            gamma=config.gamma,
            alpha=config.priority_exponent,
            stacked=config.stacked,
        )
        super().__init__(
            env,
            config,
            policy=policy,
            replay=replay,
            total_steps=total_steps,
            seed=seed,
            generators=generators,
            clip_rewards=clip_rewards,
            synthesizer=synthesizer,
        )
        self.learner = QLearner(policy, config)
        self.players = {"policy": self.learner.player, **({} if synthesizer is None else synthesizer.players)}

    def explore(self) -> None:
        """Uniform actions, ever fewer."""
        config = self.config
        explored = self.steps / max(config.exploration_fraction * self.total_steps, 1.0)
        self.policy.epsilon = config.epsilon_start + (config.epsilon_end - config.epsilon_start) * min(explored, 1.0)

    def update(self) -> Iterator[Turn]:
        """One turn; then the priorities of what it saw, and the target network."""
        drawn = self.draw(beta=self._beta())
        yield Turn("policy", self._batch(drawn), float(self.config.batch_size))
        assert self.learner.errors is not None
        self.replay.set_priorities(drawn.rows, self.learner.errors[: len(drawn.rows)].cpu().numpy())
        self.learner.follow()

    def _batch(self, drawn: ReplayBatch) -> DQNBatch:
        with torch.no_grad():
            features, next_features = (self.policy.features(obs) for obs in (drawn.obs, drawn.next_obs))
        return DQNBatch(features, drawn.samples, drawn.returns, next_features, drawn.discount, drawn.weight)

    def _beta(self) -> float:
        start = self.config.priority_correction
        return start + (1.0 - start) * min(self.steps / self.total_steps, 1.0)

    def round_metrics(self) -> dict[str, float]:
        """Episode statistics, how full the replay is, and exploration."""
        return {**super().round_metrics(), "epsilon": self.policy.epsilon}

    def shown_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The return and the exploration."""
        return {**super().shown_metrics(metrics), "epsilon": metrics["epsilon"]}

    def learner_state(self) -> dict[str, Any]:
        """The target network."""
        return self.learner.state_dict()

    def load_learner_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`learner_state`."""
        self.learner.load_state_dict(state)
