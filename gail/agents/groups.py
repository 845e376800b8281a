"""Several groups of agents in one environment, each played by a policy of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gail.agents.evaluate import EVALUATION_SEED, MAX_EPISODE_STEPS, Evaluation, check_spaces
from gail.agents.policy import ActorCritic, NetworkPolicy, Policy, load_policy, save_policy
from gail.agents.rollout import EpisodeStats, Record, Rollout
from gail.core.errors import InputError
from gail.core.random import make_generator
from gail.envs.multi_agent import MultiAgentEnv


class GroupCollector:
    """Plays one policy per group, T steps at a time, and never resets in between."""

    def __init__(self, env: MultiAgentEnv, *, horizon: int, seed: int, generator: torch.Generator) -> None:
        self.env, self.horizon, self.generator = env, horizon, generator
        self.stats = {name: EpisodeStats(group.num_envs) for name, group in env.groups.items()}
        self.obs = env.reset(seed)
        self._episodes_lost = False

    @property
    def exact_resume(self) -> bool:
        """Whether the run, with all its resumes so far, equals one that never stopped."""
        return self.env.saves_state and not self._episodes_lost

    @torch.no_grad()
    def collect(self, policies: Mapping[str, Policy]) -> dict[str, Rollout]:
        """Play ``horizon`` steps with sampled actions; each group's rollout."""
        records = {name: Record() for name in self.env.groups}
        for _ in range(self.horizon):
            outputs = {name: policies[name].act(self.obs[name], generator=self.generator) for name in records}
            steps = self.env.step({name: output.action for name, output in outputs.items()})
            for name, record in records.items():
                record.add(self.obs[name], outputs[name], steps[name])
            self.obs = {name: step.obs for name, step in steps.items()}
        return {name: record.rollout(self.stats[name]) for name, record in records.items()}

    def state_dict(self) -> dict[str, Any]:
        """Environments, running statistics, the generator of the samples, and whether a resume was inexact."""
        env = self.env.state_dict()  # first: it may find that the running episodes cannot be saved
        return {
            "env": env,
            "episodes_lost": not self.exact_resume,
            "stats": {name: stats.state_dict() for name, stats in self.stats.items()},
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.obs = self.env.load_state_dict(state["env"])
        for name, stats in self.stats.items():
            stats.load_state_dict(state["stats"][name])
            stats.forget(~self.env.groups[name].restored())
        self._episodes_lost = bool(state["episodes_lost"] or not self.env.restored.all())
        self.generator.set_state(state["generator"])


@torch.no_grad()
def evaluate_groups(
    policies: Mapping[str, Policy],
    env: MultiAgentEnv,
    *,
    episodes: int,
    deterministic: bool = True,
    seed: int = EVALUATION_SEED,
) -> dict[str, Evaluation]:
    """Play ``episodes`` episodes; each group's returns, one per life of an agent.

    Copy i plays a share fixed beforehand, so that short episodes are not over-represented.

    Args:
        policies: who plays each group.
        env: it is reset with ``seed``.
        episodes: how many episodes of the environment.
        deterministic: the most probable actions instead of sampled ones.
        seed: copy i starts from ``seed + i``.

    Raises:
        InputError: where a group has no policy, spaces differ or the environment has no end.
    """
    for name, group in env.groups.items():
        if name not in policies:
            raise InputError(f"{env.env_id}: no policy for group {name!r}, found {', '.join(policies)}")
        check_spaces(policies[name], group)
    share = np.full(env.copies, episodes // env.copies) + (np.arange(env.copies) < episodes % env.copies)
    played = np.zeros(env.copies, np.int64)
    generator = make_generator(seed, "evaluation", env.device)
    sums = {name: np.zeros((2, group.num_envs)) for name, group in env.groups.items()}
    finished: dict[str, list[tuple[float, float]]] = {name: [] for name in env.groups}
    obs, patience = env.reset(seed), MAX_EPISODE_STEPS
    while (played < share).any():
        patience -= 1
        if patience < 0:
            raise InputError(f"{env.env_id}: no episode ended in {MAX_EPISODE_STEPS:,} steps; set max_episode_steps")
        actions = {
            name: policies[name].act(obs[name], deterministic=deterministic, generator=generator).action
            for name in env.groups
        }
        steps = env.step(actions)
        obs = {name: step.obs for name, step in steps.items()}
        over = np.zeros(env.copies, np.bool_)
        for name, step in steps.items():
            width = env.groups[name].rows_per_env
            valid = step.valid.cpu().numpy()
            sums[name] += np.stack([step.reward.cpu().numpy(), valid]) * valid
            ended = np.flatnonzero((step.terminated | step.truncated).cpu().numpy())
            finished[name] += [tuple(sums[name][:, row]) for row in ended if played[row // width] < share[row // width]]
            sums[name][:, ended] = 0.0
            over = step.info["episode_over"].cpu().numpy()[::width]
        if (over & (played < share)).any():
            patience = MAX_EPISODE_STEPS
        played += over
    return {
        name: Evaluation(np.array([r for r, _ in lives]), np.array([length for _, length in lives], np.int64))
        for name, lives in finished.items()
    }


@dataclass(frozen=True)
class LoadedPolicies:
    """One policy per group from a run's directory, with the environment that they were trained in."""

    policies: dict[str, NetworkPolicy]
    env_id: str
    env_kwargs: dict[str, Any]


def save_policies(policies: Mapping[str, ActorCritic], directory: Path, env: MultiAgentEnv) -> None:
    """Write ``policy-GROUP.safetensors`` for each group."""
    for name, policy in policies.items():
        save_policy(policy, directory / f"policy-{name}.safetensors", env_id=env.env_id, env_kwargs=env.env_kwargs)


def group_files(directory: Path) -> dict[str, Path]:
    """The policy files of a run with one policy per group, by group; empty for other runs."""
    return {file.stem.removeprefix("policy-"): file for file in sorted(Path(directory).glob("policy-*.safetensors"))}


def load_policies(directory: Path, device: torch.device | str = "cpu") -> LoadedPolicies:
    """The inverse of :func:`save_policies`.

    Raises:
        InputError: where there are none, or they are not one run's.
    """
    loaded = {name: load_policy(file, device) for name, file in group_files(directory).items()}
    if not loaded:
        raise InputError(f"{directory}: holds no policy-GROUP.safetensors")
    first = next(iter(loaded.values()))
    for name, other in loaded.items():
        if (other.env_id, other.env_kwargs) != (first.env_id, first.env_kwargs):
            raise InputError(f"{directory}: group {name!r} was trained in {other.env_id}, others in {first.env_id}")
    return LoadedPolicies({name: item.policy for name, item in loaded.items()}, first.env_id, first.env_kwargs)
