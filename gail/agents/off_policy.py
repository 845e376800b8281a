"""What learners from a replay have in common: they act, store what came of it, and learn from what they draw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from gail.agents.policy import NetworkPolicy, save_policy
from gail.agents.replay import Replay, ReplayBatch
from gail.agents.rollout import Collector
from gail.agents.synthetic import Synthesizer, SyntheticConfig, SyntheticReplay, with_synthetic
from gail.core.engine import Turn
from gail.core.player import Player
from gail.envs.vec import VecEnv

_ROUND = 1000
"""Environment steps per round, about."""


class OffPolicyConfig(Protocol):
    """The hyperparameters that they share."""

    @property
    def gamma(self) -> float:
        """Discount."""

    @property
    def batch_size(self) -> int:
        """Transitions per gradient step."""

    @property
    def buffer_size(self) -> int:
        """Steps that the replay holds."""

    @property
    def learning_starts(self) -> int:
        """Environment steps before the first gradient step."""

    @property
    def steps_per_update(self) -> float:
        """Environment steps per gradient step."""

    @property
    def save_replay(self) -> bool:
        """Whether checkpoints hold the replay; without it a resumed run collects a new one first."""

    @property
    def synthetic(self) -> SyntheticConfig:
        """Transitions of a generative player beside the replay's."""


class OffPolicy(ABC):
    """A game whose players learn from a replay of what the policy did.

    Subclasses set ``players`` and say how to explore and what an update is.

    Args:
        env: batched environments.
        config: hyperparameters.
        policy: what acts, on the environment's device.
        replay: where it is stored.
        total_steps: environment steps of the run; schedules end by it.
        seed: of the environments.
        generators: random streams named ``actions`` (on the environment's device) and ``replay`` (on the host); with a
            synthesizer also ``synthetic`` (on the environment's device).
        clip_rewards: learn from the sign of each reward.
        synthesizer: the generative player, where ``config.synthetic.share`` is above 0.
    """

    players: Mapping[str, Player]
    config: OffPolicyConfig
    policy: NetworkPolicy

    def __init__(
        self,
        env: VecEnv,
        config: OffPolicyConfig,
        *,
        policy: NetworkPolicy,
        replay: Replay,
        total_steps: int,
        seed: int,
        generators: Mapping[str, torch.Generator],
        clip_rewards: bool,
        synthesizer: Synthesizer | None,
    ) -> None:
        self.env, self.config, self.policy, self.replay = env, config, policy, replay
        self.total_steps, self.clip_rewards, self.generator = total_steps, clip_rewards, generators["replay"]
        horizon = max(int(config.steps_per_update) // env.num_envs, 1)
        self.collector = Collector(env, horizon=horizon, seed=seed, generator=generators["actions"])
        self.synthetic: SyntheticReplay | None = None
        if synthesizer is not None:
            self.synthetic = SyntheticReplay(
                config.synthetic,
                synthesizer,
                policy=policy,
                batch_size=config.batch_size,
                gamma=config.gamma,
                generator=generators["synthetic"],
            )
        self.steps = 0
        self._learn_from = config.learning_starts
        # Gradient steps that are due, in parts of one: a step of the batch may be worth more or less than one.
        self._due = 0.0
        self._replay_lost = False

    @abstractmethod
    def explore(self) -> None:
        """Set how the policy explores from here on."""

    @abstractmethod
    def update(self) -> Iterator[Turn]:
        """The turns of one gradient step of every player."""

    @abstractmethod
    def learner_state(self) -> dict[str, Any]:
        """What the players do not hold."""

    @abstractmethod
    def load_learner_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`learner_state`."""

    @property
    def exact_resume(self) -> bool:
        """Whether the run, with all its resumes so far, equals one that never stopped."""
        return self.collector.exact_resume and not self._replay_lost

    @property
    def learning(self) -> bool:
        """Whether there is enough to learn from."""
        return self.steps >= self._learn_from and self.replay.ready

    def round(self) -> Iterator[Turn]:
        """About a thousand environment steps, and the gradient steps that are due meanwhile.

        Before them the generative player learns, where there is one and it is its time.
        """
        if self.synthetic is not None and self.learning:
            self.explore()
            yield from self.synthetic.refit(self.replay, self.steps)
        for _ in range(max(_ROUND // (self.collector.horizon * self.env.num_envs), 1)):
            self.explore()
            rollout = self.collector.collect(self.policy)
            self.replay.add(rollout, rollout.rewards.sign() if self.clip_rewards else rollout.rewards)
            self.steps += rollout.rewards.numel()
            if self.learning:
                self._due += rollout.rewards.numel() / self.config.steps_per_update
            while self._due >= 1.0:
                self._due -= 1.0
                yield from self.update()
            if self.steps >= self.total_steps:
                break

    def draw(self, *, beta: float = 0.0) -> ReplayBatch:
        """A minibatch, on the environment's device; synthetic rows, where there are any, come last in it."""
        count, device = self.config.batch_size, self.env.device
        if self.synthetic is None or not self.synthetic.due:
            return self.replay.draw(count, beta=beta, generator=self.generator, device=device)
        synthetic = self.synthetic.draw(self.synthetic.due)
        real = count - self.synthetic.due
        drawn = self.replay.draw(real, beta=beta, generator=self.generator, device=device) if real else None
        return with_synthetic(drawn, synthetic)

    def round_metrics(self) -> dict[str, float]:
        """Episode statistics, how full the replay is, and what is synthetic."""
        synthetic = {} if self.synthetic is None else self.synthetic.metrics()
        return {**self.collector.stats.metrics(), "replay_transitions": float(len(self.replay)), **synthetic}

    def shown_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The return."""
        return {"return": metrics["return_mean"]} if "return_mean" in metrics else {}

    def save_policy(self, path: Path) -> None:
        """Write the policy as it is now."""
        save_policy(self.policy, path, env_id=self.env.env_id, env_kwargs=self.env.env_kwargs)

    def state_dict(self) -> dict[str, Any]:
        """All but the players; the replay where checkpoints are to hold it."""
        return {
            "steps": self.steps,
            "due": self._due,
            "learn_from": self._learn_from,
            "replay_lost": self._replay_lost,
            "learner": self.learner_state(),
            "collector": self.collector.state_dict(),
            "generator": self.generator.get_state(),
            "replay": self.replay.state_dict() if self.config.save_replay else None,
            "synthetic": None if self.synthetic is None else self.synthetic.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; without a replay, learning waits until a new one has begun."""
        self.steps, self._due = int(state["steps"]), float(state["due"])
        self._learn_from, self._replay_lost = int(state["learn_from"]), bool(state["replay_lost"])
        self.load_learner_state(state["learner"])
        self.collector.load_state_dict(state["collector"])
        self.generator.set_state(state["generator"])
        if self.synthetic is not None:
            self.synthetic.load_state_dict(state["synthetic"])
        if state["replay"] is None:
            self._replay_lost, self._learn_from = True, self.steps + self.config.learning_starts
            self.replay.go_on(self.env.restored(), self.collector.obs.cpu())
        else:
            self.replay.load_state_dict(state["replay"])
            self.replay.cut(~self.env.restored())
