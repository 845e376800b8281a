"""Independent learners: one PPO player per group of agents, all in one game, each paid its own agents' rewards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gail.agents.evaluate import EVALUATION_SEED, RANDOM_EPISODES, Evaluation
from gail.agents.expert import ExpertConfig, expert_recipe
from gail.agents.groups import GroupCollector, evaluate_groups, load_policies, save_policies
from gail.agents.policy import ActorCritic, Policy, RandomPolicy, new_policy
from gail.agents.ppo import PPO, PPOConfig
from gail.agents.summary import conclude
from gail.core.device import resolve_device, use_threads
from gail.core.engine import Turn, train
from gail.core.errors import InputError
from gail.core.player import Player
from gail.core.random import derive_seed, make_generator
from gail.core.rundir import open_run
from gail.envs import resolve_env
from gail.envs.ids import require_registered
from gail.envs.multi_agent import MultiAgentEnv, make_multi_agent

_COPIES = 25
"""Copies stepped together while evaluating."""


class GroupReward:
    """The game of independent PPO (de Witt et al. 2020): one player per group, paid by the environment.

    Agents of a group share its policy. There is no best policy of a game whose players want different things, so
    ``checkpoints/best`` stays empty.
    """

    def __init__(
        self,
        env: MultiAgentEnv,
        config: PPOConfig,
        *,
        policies: Mapping[str, ActorCritic],
        seed: int,
        generators: Mapping[str, torch.Generator],
    ) -> None:
        self.env, self.policies = env, policies
        self.learners = {name: PPO(policies[name], config, generators["shuffle"], name=name) for name in env.groups}
        self.players: Mapping[str, Player] = {name: learner.player for name, learner in self.learners.items()}
        self.collector = GroupCollector(env, horizon=config.horizon, seed=seed, generator=generators["actions"])
        self.steps = 0

    @property
    def exact_resume(self) -> bool:
        """Whether the environments could go on exactly wherever a checkpoint left them."""
        return self.collector.exact_resume

    def round(self) -> Iterator[Turn]:
        """One rollout of all groups, then each policy's turns on its own rows."""
        rollouts = self.collector.collect(self.policies)
        for name, learner in self.learners.items():
            yield from learner.turns(rollouts[name], rollouts[name].rewards)
        self.steps += sum(rollout.rewards.numel() for rollout in rollouts.values())

    def round_metrics(self) -> dict[str, float]:
        """Each group's statistics of its agents' episodes."""
        return {
            f"{name}/{key}": value
            for name, stats in self.collector.stats.items()
            for key, value in stats.metrics().items()
        }

    def shown_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The returns."""
        return {
            f"{name} return": metrics[f"{name}/return_mean"]
            for name in self.players
            if f"{name}/return_mean" in metrics
        }

    def save_policy(self, path: Path) -> None:
        """Write each group's policy as it is now, beside ``path``."""
        save_policies(self.policies, path.parent, self.env)

    def state_dict(self) -> dict[str, Any]:
        """All but the players."""
        learners = {name: learner.state_dict() for name, learner in self.learners.items()}
        return {"steps": self.steps, "collector": self.collector.state_dict(), "learners": learners}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.steps = int(state["steps"])
        self.collector.load_state_dict(state["collector"])
        for name, learner in self.learners.items():
            learner.load_state_dict(state["learners"][name])


@dataclass(frozen=True)
class GroupResult:
    """What training one policy per group gave."""

    policies: dict[str, ActorCritic]
    summary: dict[str, Any]
    """As every run's, with ``groups``: see :func:`score_groups`."""


def train_group_experts(
    env_id: str,
    *,
    config: ExpertConfig | None = None,
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    out: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> GroupResult:
    """Train one policy per group of a PettingZoo environment on its agents' own rewards.

    Args:
        env_id: a PettingZoo module.
        config: settings; None takes the environment's recipe. ``num_envs`` counts copies.
        seed: determines everything on CPU.
        env_kwargs: keyword arguments of the environment.
        out: run directory, gets ``policy-GROUP.safetensors``; None writes nothing.
        resume: go on with the run in ``out``.
        progress: show a progress bar.

    Raises:
        InputError: on anything that cannot be used, before training starts.
    """
    config = config or expert_recipe(env_id)
    if config.algo != "ppo":
        raise InputError(f"--algo: {config.algo!r}; groups of agents with unlike spaces are trained by ppo only")
    if config.clip_rewards:
        raise InputError("--clip-rewards: groups of agents learn from the true reward only")
    env_id, env_kwargs = resolve_env(env_id, env_kwargs)
    device = resolve_device(config.device)
    use_threads(config.threads)
    env = make_multi_agent(env_id, config.num_envs, device, **env_kwargs)
    try:
        if out is not None:
            run = {"verb": "expert", "env_id": env_id, "env_kwargs": env_kwargs, "seed": seed}
            open_run(out, {"run": run, "config": config}, resume=resume)
        policies: dict[str, ActorCritic] = {
            name: new_policy(group, derive_seed(seed, name), **config.ppo.network) for name, group in env.groups.items()
        }
        game = GroupReward(
            env,
            config.ppo,
            policies=policies,
            seed=derive_seed(seed, "environment"),
            generators={name: make_generator(seed, name, device) for name in ("actions", "shuffle")},
        )
        seconds = train(
            game,
            total_steps=config.steps,
            title=f"expert {config.algo} {env_id}",
            directory=out,
            resume=resume,
            progress=progress,
        )
        if out is not None:
            save_policies(policies, out, env)
    finally:
        env.close()
    scores = score_groups(policies, env_id, env_kwargs, episodes=config.evaluation_episodes, device=device)
    summary = conclude(
        game,
        _joined(scores.trained),
        out,
        env_id=env_id,
        algo=config.algo,
        seed=seed,
        seconds=seconds,
        random_return=_joined(scores.random).interval.mean,
        device=device,
        groups=scores.table(),
    )
    return GroupResult(policies, summary)


def _joined(played: Mapping[str, Evaluation]) -> Evaluation:
    """All groups' lives as one sample."""
    return Evaluation(
        np.concatenate([evaluation.returns for evaluation in played.values()]),
        np.concatenate([evaluation.lengths for evaluation in played.values()]),
    )


@dataclass(frozen=True)
class GroupScores:
    """Each group's returns, one per life of an agent, in three casts."""

    trained: dict[str, Evaluation]
    """All groups play their policies."""
    against_random: dict[str, Evaluation]
    """The group plays its policy, all others play at random."""
    random: dict[str, Evaluation]
    """All play at random."""

    def table(self) -> dict[str, dict[str, Any]]:
        """By group: ``return_mean``, ``return_interval``, ``against_random``, ``random_return``, ``episodes``."""
        return {
            name: {
                "return_mean": played.interval.mean,
                "return_interval": [played.interval.low, played.interval.high],
                "against_random": self.against_random[name].interval.mean,
                "random_return": self.random[name].interval.mean,
                "episodes": len(played.returns),
            }
            for name, played in self.trained.items()
        }


def score_groups(
    policies: Mapping[str, Policy],
    env_id: str,
    env_kwargs: dict[str, Any],
    *,
    episodes: int,
    deterministic: bool = True,
    seed: int = EVALUATION_SEED,
    device: torch.device | str = "cpu",
) -> GroupScores:
    """Play ``episodes`` episodes with each cast, copy i from ``seed + i`` (all random: at least 100 episodes).

    A group's return against trained opponents says little about what it learned: the opponents learned too. So it is
    also measured against random ones, beside random play of all.

    Raises:
        InputError: see :func:`~gail.agents.groups.evaluate_groups`.
    """
    env = make_multi_agent(env_id, min(episodes, _COPIES), device, **env_kwargs)
    try:
        aimless: dict[str, Policy] = {
            name: RandomPolicy(group.observation_space, group.action_space) for name, group in env.groups.items()
        }

        def play(cast: Mapping[str, Policy], count: int) -> dict[str, Evaluation]:
            return evaluate_groups(cast, env, episodes=count, deterministic=deterministic, seed=seed)

        return GroupScores(
            play(policies, episodes),
            {name: play({**aimless, name: policies[name]}, episodes)[name] for name in env.groups},
            play(aimless, max(episodes, RANDOM_EPISODES)),
        )
    finally:
        env.close()


def evaluate_group_run(
    directory: Path,
    *,
    episodes: int = 50,
    deterministic: bool = True,
    seed: int = EVALUATION_SEED,
    device: str = "cpu",
) -> dict[str, Any]:
    """Evaluate a run with one policy per group; what `gail evaluate` does with such a run.

    Returns:
        ``env_id, episodes, deterministic, groups`` (see :meth:`GroupScores.table`).

    Raises:
        InputError: where there are no policies.
    """
    if episodes < 1:
        raise InputError(f"--episodes: {episodes}, expected at least 1")
    loaded = load_policies(directory, resolve_device(device))
    env_id = require_registered(loaded.env_id, directory)
    scores = score_groups(
        loaded.policies,
        env_id,
        loaded.env_kwargs,
        episodes=episodes,
        deterministic=deterministic,
        seed=seed,
        device=device,
    )
    return {
        "env_id": env_id,
        "episodes": episodes,
        "deterministic": deterministic,
        "groups": scores.table(),
    }
