"""Rollouts: what a policy did in T steps of N environments."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gail.agents.policy import Policy, PolicyOutput
from gail.core.leaves import Leaves, join_leaves, map_leaves
from gail.demos.types import Transitions
from gail.envs.vec import Step, VecEnv


@dataclass(frozen=True)
class Rollout:
    """T steps of N environments; every tensor is ``[T, N, ...]``; observations may be flat dicts of them."""

    obs: Leaves
    """The states acted in."""
    samples: Tensor
    """What the policy drew ``[T, N, k]``."""
    actions: Tensor
    """The actions as executed."""
    next_obs: Leaves
    """The true successors."""
    rewards: Tensor
    """The environment's own reward."""
    terminated: Tensor
    """bool: the task ended at this step."""
    truncated: Tensor
    """bool: the step was cut by a time limit."""
    valid: Tensor
    """bool: False where the row was not played."""
    finished_lengths: Tensor
    """int64: the finished episode's length where an episode ended, 0 elsewhere."""

    def transitions(self) -> Transitions:
        """The same steps as one batch of T * N rows, time first."""
        return Transitions(
            time_first(self.obs),
            self.actions.flatten(0, 1),
            time_first(self.next_obs),
            self.terminated.flatten(0, 1),
            self.rewards.flatten(0, 1),
        )


def time_first(obs: Leaves) -> Leaves:
    """Observations ``[T, N, ...]`` as ``[T * N, ...]``."""
    return map_leaves(lambda leaf: leaf.flatten(0, 1), obs)


class EpisodeStats:
    """True returns and lengths of finished episodes: the running ones and the last ``window``."""

    def __init__(self, num_envs: int, window: int = 100) -> None:
        self.running_return = np.zeros(num_envs, dtype=np.float64)
        self.running_length = np.zeros(num_envs, dtype=np.int64)
        self.finished: deque[tuple[float, int]] = deque(maxlen=window)
        self.episodes = 0
        self.lost = 0

    def add(self, reward: np.ndarray, ended: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Count one step of all environments; returns the lengths of those that ended (0 elsewhere).

        An episode whose end was not played is lost: it counts nowhere.
        """
        self.running_return += np.where(valid, reward, 0.0)
        self.running_length += valid
        lengths = np.where(ended & valid, self.running_length, 0)
        for i in np.flatnonzero(ended):
            if valid[i]:
                self.finished.append((float(self.running_return[i]), int(self.running_length[i])))
                self.episodes += 1
            else:
                self.lost += 1
            self.running_return[i] = 0.0
            self.running_length[i] = 0
        return lengths

    def forget(self, rows: np.ndarray) -> None:
        """Drop what was summed of the running episodes of ``rows`` ``[N]`` (bool)."""
        self.running_return[rows] = 0.0
        self.running_length[rows] = 0

    def metrics(self) -> dict[str, float]:
        """``return_mean`` and ``length_mean`` of the window (absent before the first end), ``episodes``, losses."""
        result: dict[str, float] = {"episodes": float(self.episodes)}
        if self.lost:
            result["lost_episodes"] = float(self.lost)
        if self.finished:
            result["return_mean"] = float(np.mean([r for r, _ in self.finished]))
            result["length_mean"] = float(np.mean([length for _, length in self.finished]))
        return result

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {
            "running_return": torch.from_numpy(self.running_return.copy()),
            "running_length": torch.from_numpy(self.running_length.copy()),
            "finished": [list(pair) for pair in self.finished],
            "episodes": self.episodes,
            "lost": self.lost,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.running_return = state["running_return"].numpy().copy()
        self.running_length = state["running_length"].numpy().copy()
        self.finished.clear()
        self.finished.extend((float(r), int(length)) for r, length in state["finished"])
        self.episodes = int(state["episodes"])
        self.lost = int(state["lost"])


class Record:
    """A rollout in the making, step by step."""

    def __init__(self) -> None:
        self.observed: list[Leaves] = []
        self.outputs: list[PolicyOutput] = []
        self.steps: list[Step] = []

    def add(self, obs: Tensor, output: PolicyOutput, step: Step) -> None:
        """One step: what was acted on, what the policy chose, what came of it."""
        self.observed.append(obs)
        self.outputs.append(output)
        self.steps.append(step)

    def rollout(self, stats: EpisodeStats) -> Rollout:
        """All steps, also counted in ``stats``."""
        rewards, terminated, truncated, valid = (
            torch.stack([getattr(step, name) for step in self.steps])
            for name in ("reward", "terminated", "truncated", "valid")
        )
        host = [t.cpu().numpy() for t in (rewards, terminated | truncated, valid)]
        lengths = [stats.add(*rows) for rows in zip(*host, strict=True)]
        return Rollout(
            obs=join_leaves(torch.stack, self.observed),
            samples=torch.stack([output.sample for output in self.outputs]),
            actions=torch.stack([output.action for output in self.outputs]),
            next_obs=join_leaves(torch.stack, [step.next_obs for step in self.steps]),
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            valid=valid,
            finished_lengths=torch.from_numpy(np.stack(lengths)).to(rewards.device),
        )


class Collector:
    """Plays a policy in a batch of environments, T steps at a time, and never resets in between."""

    def __init__(self, env: VecEnv, *, horizon: int, seed: int, generator: torch.Generator) -> None:
        self.env, self.horizon, self.generator = env, horizon, generator
        self.stats = EpisodeStats(env.num_envs)
        self.obs = env.reset(seed)
        self._episodes_lost = False

    @property
    def exact_resume(self) -> bool:
        """Whether the run, with all its resumes so far, equals one that never stopped."""
        return self.env.saves_state and not self._episodes_lost

    @torch.no_grad()
    def collect(self, policy: Policy) -> Rollout:
        """Play ``horizon`` steps with sampled actions."""
        record = Record()
        for _ in range(self.horizon):
            output = policy.act(self.obs, generator=self.generator)
            step = self.env.step(output.action)
            record.add(self.obs, output, step)
            self.obs = step.obs
        return record.rollout(self.stats)

    def state_dict(self) -> dict[str, Any]:
        """Environments, running statistics, the generator of the samples, and whether a resume was inexact."""
        env = self.env.state_dict()  # first: it may find that the running episodes cannot be saved
        return {
            "env": env,
            "episodes_lost": not self.exact_resume,
            "stats": self.stats.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.obs = self.env.load_state_dict(state["env"])
        self.stats.load_state_dict(state["stats"])
        # Where a new episode runs now, what had been summed belongs to one that no longer exists.
        anew = ~self.env.restored()
        self.stats.forget(anew)
        self._episodes_lost = bool(state.get("episodes_lost", False) or anew.any())
        self.generator.set_state(state["generator"])
