"""How well a policy plays: returns over a fixed number of episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from gail.agents.policy import Policy, RandomPolicy, state_after
from gail.core.errors import InputError
from gail.core.random import make_generator
from gail.core.statistics import Interval, mean_interval
from gail.envs import EnvLike, open_vec, resolve_env
from gail.envs.atari import is_console
from gail.envs.spaces import spaces_equal
from gail.envs.vec import VecEnv
from gail.envs.worker_options import WorkerOptions

EVALUATION_SEED = 10_000
"""Evaluation episodes start from here on, away from the seeds of training and demonstrations."""
RANDOM_EPISODES = 100
"""How many episodes random play is measured over."""
MAX_EPISODE_STEPS = 100_000
"""After so many steps without any episode's end, there is none."""
_WIDTH = 50
"""Environments stepped together while evaluating."""
_ATARI_WIDTH = 16
"""As many of Atari's."""


@dataclass(frozen=True)
class Evaluation:
    """Returns of E episodes."""

    returns: np.ndarray
    """``[E]`` undiscounted."""
    lengths: np.ndarray
    """``[E]`` steps."""

    @property
    def interval(self) -> Interval:
        """Mean return with its 95% interval over episodes."""
        return mean_interval(self.returns)


def no_end(env: VecEnv) -> InputError:
    """The error for an environment whose episodes go on for ever."""
    return InputError(f"{env.env_id}: no episode ended in {MAX_EPISODE_STEPS:,} steps; set max_episode_steps")


def check_spaces(policy: Policy, env: VecEnv) -> None:
    """Refuse a policy whose spaces are not the environment's.

    Bounds of observations may differ: versions of one environment state them differently, and no network reads them.

    Raises:
        InputError: naming both.
    """
    for name in ("observation_space", "action_space"):
        ours, theirs = getattr(policy, name), getattr(env, name)
        same_layout = type(ours) is type(theirs) is Box and (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if not (spaces_equal(ours, theirs) or (same_layout and name == "observation_space")):
            raise InputError(f"{env.env_id}: the policy's {name} is {ours}, the environment's is {theirs}")


def _turns(rows: int, width: int) -> np.ndarray:
    """``[rows]``: in which order rows get an episode more, where agents share environments of ``width`` rows each.

    One agent of each environment first, another one in the next: what agents of one environment get is correlated.
    """
    copy, agent = np.divmod(np.arange(rows), width)
    return (agent - copy) % width * (rows // width) + copy


def restart_states(policy: Policy, state: Tensor | None, ended: Tensor) -> Tensor | None:
    """A policy's ``state`` ``[N, ...]``, as at an episode's start where ``ended`` ``[N]``; None without memory."""
    if state is None:
        return None
    fresh = policy.initial_state(len(state))
    return torch.where(ended.view(-1, *[1] * (state.ndim - 1)), fresh, state)


@torch.no_grad()
def evaluate_policy(
    policy: Policy, env: VecEnv, *, episodes: int, deterministic: bool = True, seed: int = EVALUATION_SEED
) -> Evaluation:
    """Play ``episodes`` episodes (of several agents: one agent's episode each).

    Environment i plays a share fixed beforehand, so that short episodes are not over-represented.

    Args:
        policy: who plays; its spaces must be the environment's.
        env: a batch of environments; it is reset with ``seed``.
        episodes: how many.
        deterministic: the most probable actions instead of sampled ones.
        seed: environment i starts from ``seed + i``.

    Raises:
        InputError: where the spaces differ or the environment has no end.
    """
    check_spaces(policy, env)
    n = env.num_envs
    share = np.full(n, episodes // n) + (_turns(n, env.rows_per_env) < episodes % n)
    generator = make_generator(seed, "evaluation", env.device)
    obs, state = env.reset(seed), policy.initial_state(n)
    returns: list[list[float]] = [[] for _ in range(n)]
    lengths: list[list[int]] = [[] for _ in range(n)]
    running, length = np.zeros(n), np.zeros(n, dtype=np.int64)
    patience = MAX_EPISODE_STEPS
    while any(len(done) < quota for done, quota in zip(returns, share, strict=True)):
        patience -= 1
        if patience < 0:
            raise no_end(env)
        output = policy.act(obs, state, deterministic=deterministic, generator=generator)
        step = env.step(output.action)
        obs, state = step.obs, state_after(policy, output, step)
        valid = step.valid.cpu().numpy()
        running += np.where(valid, step.reward.cpu().numpy(), 0.0)
        length += valid
        ended = (step.terminated | step.truncated).cpu()
        if not bool(ended.any()):
            continue
        for i in np.flatnonzero(ended.numpy()):
            if valid[i] and len(returns[i]) < share[i]:
                patience = MAX_EPISODE_STEPS  # only now: an agent that never joins would be waited for without end
                returns[i].append(float(running[i]))
                lengths[i].append(int(length[i]))
            running[i], length[i] = 0.0, 0
        state = restart_states(policy, state, ended.to(env.device))
    return Evaluation(
        np.asarray([r for rows in returns for r in rows]), np.asarray([x for rows in lengths for x in rows])
    )


def evaluate_in(
    policy: Policy | None,
    env_id: EnvLike,
    env_kwargs: dict[str, Any],
    *,
    episodes: int,
    deterministic: bool = True,
    seed: int = EVALUATION_SEED,
    device: torch.device | str = "cpu",
    backend: str = "auto",
    workers: WorkerOptions | None = None,
) -> Evaluation:
    """As :func:`evaluate_policy`, in a batch of environments made for it and closed afterwards.

    What changes a game for training only (clipped rewards, lives as episodes) is left out. Without a policy, uniform
    random play.
    """
    env_id, env_kwargs = resolve_env(env_id, env_kwargs, for_evaluation=True)
    # A game takes a fifth of a second to load, and few long shares end more evenly than many short ones.
    width = _ATARI_WIDTH if isinstance(env_id, str) and is_console(env_id) else _WIDTH
    width = min(episodes, width)
    with open_vec(env_id, width, device=device, backend=backend, workers=workers, **env_kwargs) as env:
        policy = policy or RandomPolicy(env.observation_space, env.action_space)
        return evaluate_policy(policy, env, episodes=episodes, deterministic=deterministic, seed=seed)


def random_return(
    env_id: EnvLike, env_kwargs: dict[str, Any], *, backend: str = "auto", workers: WorkerOptions | None = None
) -> Evaluation:
    """What uniform random play gets, over 100 episodes with fixed seeds."""
    return evaluate_in(None, env_id, env_kwargs, episodes=RANDOM_EPISODES, backend=backend, workers=workers)
