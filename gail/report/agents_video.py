"""Several agents in one PettingZoo environment, on video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from gail.agents.evaluate import EVALUATION_SEED, check_spaces, restart_states
from gail.agents.groups import load_policies
from gail.agents.policy import Policy
from gail.core.errors import InputError
from gail.envs import record_video
from gail.envs.ids import require_registered
from gail.envs.multi_agent import MultiAgentEnv, make_multi_agent
from gail.envs.rendering import Frame
from gail.report.frames import MAX_FPS, shrink, video_rate


def groups_video(directory: Path, out: Path, *, seed: int = EVALUATION_SEED, seconds: float = 30.0) -> Path:
    """Write a video of one episode in which each group plays its policy from a run's directory.

    Arguments and result are those of :func:`agents_video`.

    Raises:
        InputError: where there are no policies, or see :func:`agents_video`.
    """
    loaded = load_policies(directory)
    env_id = require_registered(loaded.env_id, directory)
    return agents_video(loaded.policies, out, env_id=env_id, env_kwargs=loaded.env_kwargs, seed=seed, seconds=seconds)


def agents_video(
    policies: Policy | Mapping[str, Policy],
    out: Path,
    *,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    seed: int,
    seconds: float,
) -> Path:
    """Write a video of one episode with deterministic actions.

    Args:
        policies: who plays all agents, or each group.
        out: the file, ending in ``.mp4``; written atomically.
        env_id: a PettingZoo id.
        env_kwargs: its keywords.
        seed: of the episode.
        seconds: the longest the video may be, at the environment's own speed.

    Returns:
        ``out``.

    Raises:
        InputError: where a group has no policy, spaces differ, or the environment draws nothing.
    """
    env = make_multi_agent(env_id, 1, **{**env_kwargs, "render_mode": "rgb_array"})
    try:
        cast = policies if isinstance(policies, Mapping) else dict.fromkeys(env.groups, policies)
        if missing := env.groups.keys() - cast.keys():
            raise InputError(f"{env_id}: no policy for group {min(missing)!r}, found {', '.join(cast)}")
        for name, group in env.groups.items():
            check_spaces(cast[name], group)
        fps, stride = video_rate(env.render_fps or MAX_FPS)
        return record_video(_frames(env, cast, seed, stride, max(int(seconds * fps) * stride, 1)), out, fps)
    finally:
        env.close()


@torch.no_grad()
def _frames(env: MultiAgentEnv, policies: Mapping[str, Policy], seed: int, stride: int, steps: int) -> Iterator[Frame]:
    """Every ``stride``-th state of an episode of at most ``steps``, but the last: by then the next one has begun."""
    obs = env.reset(seed)
    states = {name: policies[name].initial_state(group.num_envs) for name, group in env.groups.items()}
    for index in range(steps):
        if index % stride == 0:
            yield shrink(env.render()[0])
        outputs = {name: policies[name].act(obs[name], states[name], deterministic=True) for name in env.groups}
        played = env.step({name: output.action for name, output in outputs.items()})
        if bool(next(iter(played.values())).info["episode_over"].all()):
            return
        for name, step in played.items():
            obs[name] = step.obs
            states[name] = restart_states(policies[name], outputs[name].state, step.terminated | step.truncated)
