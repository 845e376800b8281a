"""Generative adversarial imitation learning (Ho & Ermon 2016), with PPO as the generator's learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gail.agents.policy import ActorCritic, save_policy
from gail.agents.ppo import PPO, PPOConfig
from gail.agents.rollout import Collector, Rollout
from gail.core.config import require
from gail.core.engine import Turn
from gail.core.losses import AdversarialLoss, Metrics, bce_loss, with_gradient_penalty
from gail.core.networks import Activation
from gail.core.player import Player
from gail.core.random import seeded_initialization
from gail.demos.types import Demonstrations, Transitions
from gail.envs.vec import VecEnv
from gail.imitation.absorbing import GeneratedShare, expert_share
from gail.imitation.discriminator import Discriminator
from gail.imitation.pseudo import Proposer, PseudoConfig, PseudoDemonstrations
from gail.imitation.rewards import REWARDS, RewardName


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Hyperparameters of the discriminator."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers."""
    activation: Activation = "tanh"
    """Between the layers."""
    learning_rate: float = 3e-4
    """Adam's, constant."""
    batch_size: int = 256
    """Expert rows, and as many generated rows, per gradient step."""
    updates_per_round: int = 8
    """Gradient steps per rollout; 0 leaves the discriminator as it was initialized (a negative control)."""
    gradient_penalty: float = 1.0
    """Weight of the gradient penalty; 0 switches it off."""
    use_next_obs: bool = False
    """Judge (s, a, s') instead of (s, a)."""
    reward: RewardName = "airl"
    """How logits become rewards; see gail/imitation/rewards.py."""

    def __post_init__(self) -> None:
        require("discriminator", self, at_least={"batch_size": 1, "updates_per_round": 0, "hidden": 1})
        require("discriminator", self, at_least={"learning_rate": 0.0, "gradient_penalty": 0.0})


@dataclass(frozen=True)
class GAILConfig:
    """Hyperparameters of GAIL."""

    ppo: PPOConfig = field(default_factory=PPOConfig)
    """The generator's learner."""
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    """The judge."""
    pseudo: PseudoConfig = field(default_factory=PseudoConfig)
    """A third player, who proposes demonstrations of its own."""


@dataclass(frozen=True)
class JudgedBatch:
    """What one turn of the discriminator sees."""

    expert: Tensor
    """``[B, D]`` feature rows of the expert."""
    generated: Tensor
    """``[B, D]`` feature rows of the policy."""
    mix: Tensor
    """``[B, 1]`` uniform numbers for interpolates."""


class GAIL:
    """The imitation game: a policy against a discriminator, on one batch of environments.

    A round is one rollout, the discriminator's turns on it, then the policy's turns with the discriminator's
    rewards. The environment's own reward is recorded for the curves and for ``checkpoints/best``; nothing is learned
    from it, and results are those of the last policy.

    Args:
        env: where the policy plays.
        demos: the expert's trajectories (for the share of absorbing steps).
        expert: the expert's transitions to tell apart, on the environment's device.
        config: hyperparameters.
        policy: the generator, on the environment's device.
        seed: of the environments and of the discriminator's initial weights.
        generators: random streams named ``actions``, ``shuffle`` and ``judge``, on the environment's device.
        proposer: the generative player, where ``config.pseudo.share`` is above 0.
    """

    def __init__(
        self,
        env: VecEnv,
        demos: Demonstrations,
        expert: Transitions,
        config: GAILConfig,
        *,
        policy: ActorCritic,
        seed: int,
        generators: Mapping[str, torch.Generator],
        proposer: Proposer | None = None,
    ) -> None:
        self.env, self.expert, self.config, self.policy = env, expert, config, policy
        self.generator = generators["judge"]
        judge = config.discriminator
        with seeded_initialization(seed, "discriminator"):
            discriminator = Discriminator(
                env.observation_space,
                env.action_space,
                hidden=judge.hidden,
                activation=judge.activation,
                use_next_obs=judge.use_next_obs,
            )
        self.discriminator = discriminator.to(env.device)
        self.reward = REWARDS[judge.reward]
        self.loss: AdversarialLoss = bce_loss
        if judge.gradient_penalty > 0:
            self.loss = with_gradient_penalty(bce_loss, judge.gradient_penalty)
        self.ppo = PPO(policy, config.ppo, generators["shuffle"])
        self.players: Mapping[str, Player] = {
            "discriminator": Player(
                "discriminator", self.discriminator, self.discriminator_loss, learning_rate=judge.learning_rate
            ),
            "policy": self.ppo.player,
            **({} if proposer is None else proposer.players),
        }
        self.pseudo = None if proposer is None else PseudoDemonstrations(config.pseudo, proposer, expert)
        self.collector = Collector(env, horizon=config.ppo.horizon, seed=seed, generator=generators["actions"])
        gamma, time_limit = config.ppo.gamma, env.max_episode_steps
        # Where the file does not say how episodes ended, a termination of the policy cannot be judged: counting the
        # expert's ends as cuts would punish reaching the goal.
        self.absorbing_states = all(t.terminated is not None for t in demos)
        self._expert_share = expert_share(demos, gamma=gamma, time_limit=time_limit)
        self._generated_share = GeneratedShare(gamma=gamma, time_limit=time_limit, device=env.device)
        self.discriminator.update_normalizer(expert.obs)
        self.steps = 0
        self._judged: dict[str, Tensor] = {}

    @property
    def exact_resume(self) -> bool:
        """Whether the environments could go on exactly wherever a checkpoint left them."""
        return self.collector.exact_resume

    def discriminator_loss(self, batch: JudgedBatch) -> tuple[Tensor, Metrics]:
        """The adversarial loss of the configuration."""
        return self.loss(self.discriminator.logits_expert_is_high, batch.expert, batch.generated, batch.mix)

    def round(self) -> Iterator[Turn]:
        """One rollout; the discriminator's turns; the policy's turns."""
        rollout = self.collector.collect(self.policy)
        generated = rollout.transitions()
        if not self.absorbing_states:
            # The expert's ends are unknown and look like any other step; the policy's must look like that too.
            generated = replace(generated, terminated=torch.zeros_like(generated.terminated))
        features = self.discriminator.features(generated).detach()
        yield from self._discriminator_turns(rollout, features)
        if self.pseudo is not None:
            yield from self.pseudo.turns()
            self.pseudo.refill(self.discriminator)
        yield from self.ppo.turns(rollout, self._rewards(rollout, features))
        if self.config.discriminator.updates_per_round > 0:
            # A frozen discriminator must not move by its inputs' scale either.
            self.discriminator.update_normalizer(generated.obs, rollout.valid.flatten())
        self.steps += self.config.ppo.horizon * self.env.num_envs

    @torch.no_grad()
    def _discriminator_turns(self, rollout: Rollout, generated: Tensor) -> Iterator[Turn]:
        judge, device = self.config.discriminator, self.env.device
        if judge.updates_per_round == 0 or not rollout.valid.any():
            return
        absorbing = self.discriminator.absorbing_features()
        generated_share = self._generated_share.update(rollout.finished_lengths, rollout.terminated, rollout.valid)
        # Rows that were not played have weight 0 in this draw.
        weights = rollout.valid.flatten().float()
        shape = (judge.updates_per_round, judge.batch_size)
        picks = torch.multinomial(weights, shape[0] * shape[1], replacement=True, generator=self.generator)
        chosen = torch.randint(len(self.expert), shape, device=device, generator=self.generator)
        # Three uniform numbers a row: absorbing expert row? absorbing generated row? where to interpolate?
        uniform = torch.rand((3, *shape, 1), device=device, generator=self.generator)
        rows_expert = self.discriminator.features(self.expert)[chosen]
        rows_generated = generated[picks].view(*shape, -1)
        if self.pseudo is not None and len(self.pseudo.rows):
            pseudo = self.pseudo.draw(self.discriminator, shape[0] * shape[1], self.generator).view(*shape, -1)
            instead = torch.rand((*shape, 1), device=device, generator=self.generator) < self.config.pseudo.share
            rows_expert = torch.where(instead, pseudo, rows_expert)
        if self.absorbing_states:
            rows_expert = torch.where(uniform[0] < self._expert_share, absorbing, rows_expert)
            rows_generated = torch.where(uniform[1] < generated_share, absorbing, rows_generated)
        for expert, fake, mix in zip(rows_expert, rows_generated, uniform[2], strict=True):
            yield Turn("discriminator", JudgedBatch(expert, fake, mix), float(shape[1]))

    @torch.no_grad()
    def _rewards(self, rollout: Rollout, generated: Tensor) -> Tensor:
        """Rewards ``[T, N]``; the last one of a terminated episode holds the value of the absorbing state."""
        logits_of = self.discriminator.logits_expert_is_high
        rewards = self.reward(logits_of(generated)).view_as(rollout.rewards)
        played = rollout.valid.sum().clamp(min=1)
        self._judged = {"reward_imitation": (rewards * rollout.valid).sum() / played}
        if not self.absorbing_states:
            return rewards
        absorbing = self.reward(logits_of(self.discriminator.absorbing_features()))[0]
        self._judged["absorbing_reward"] = absorbing
        gamma = self.config.ppo.gamma
        return rewards + rollout.terminated * (gamma / (1.0 - gamma) * absorbing)

    def round_metrics(self) -> dict[str, float]:
        """Episode statistics and the rewards that the discriminator gave."""
        judged = {name: float(value) for name, value in self._judged.items()}
        return {**self.collector.stats.metrics(), **judged, **(self.pseudo.metrics() if self.pseudo else {})}

    def shown_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The true return and how often the discriminator is right."""
        shown = {"return": metrics["return_mean"]} if "return_mean" in metrics else {}
        if "discriminator/accuracy_expert" in metrics:
            accuracy = [metrics[f"discriminator/accuracy_{side}"] for side in ("expert", "generated")]
            shown["discriminator accuracy"] = sum(accuracy) / 2
        return shown

    def save_policy(self, path: Path) -> None:
        """Write the policy as it is now."""
        save_policy(self.policy, path, env_id=self.env.env_id, env_kwargs=self.env.env_kwargs)

    def state_dict(self) -> dict[str, Any]:
        """All but the players."""
        return {
            "steps": self.steps,
            "collector": self.collector.state_dict(),
            "ppo": self.ppo.state_dict(),
            "judge": self.generator.get_state(),
            "absorbing_counts": self._generated_share.counts,
            "pseudo": self.pseudo.state_dict() if self.pseudo else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.steps = int(state["steps"])
        self.collector.load_state_dict(state["collector"])
        self.ppo.load_state_dict(state["ppo"])
        self.generator.set_state(state["judge"])
        self._generated_share.counts.copy_(state["absorbing_counts"])
        if self.pseudo:
            self.pseudo.load_state_dict(state["pseudo"])
