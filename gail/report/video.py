"""The expert and the learner, side by side in the same environment."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec

from gail.agents.evaluate import EVALUATION_SEED, check_spaces
from gail.agents.find_policy import find_policy
from gail.agents.policy import Policy, load_policy, state_after
from gail.agents.sb3_zip import SB3Options
from gail.core.errors import InputError
from gail.core.leaves import named_leaves
from gail.demos import Demonstrations, Trajectory, load_demos
from gail.envs import VecEnv, env_text, make_vec, record_video, side_by_side
from gail.envs.agent_group import GroupVecEnv
from gail.envs.chunk import make_env
from gail.envs.ids import require_registered
from gail.envs.native_family import NATIVE_IDS
from gail.envs.pettingzoo import plays_agents
from gail.envs.rendering import Frame
from gail.envs.resolve import Batch, resolve
from gail.envs.watched import watched
from gail.report.agents_video import agents_video
from gail.report.frames import MAX_FPS, MAX_HEIGHT, shrink, video_rate
from gail.report.load import load_run

_NAMES = {"gail": "GAIL", "bc": "BC"}


@dataclass(frozen=True)
class _Episode:
    """An episode as played here: enough to play it again in front of a camera."""

    actions: np.ndarray
    """``[T, ...]``."""
    total_reward: float
    same_start: bool
    """Whether its first observation is the recorded one."""

    def __str__(self) -> str:
        return f"{self.total_reward:,.1f} in {len(self.actions):,} steps"


def comparison_video(
    run_or_policy: str | Path | Policy,
    demos: Demonstrations | str | Path,
    out: str | Path,
    *,
    env_id: str | None = None,
    seconds: float = 10.0,
) -> Path:
    """Write a video of the expert (left) and the learner (right), labelled with return and length.

    The expert's recorded actions are replayed from the demonstration's seed; the learner plays its most probable
    actions from the same seed. Where the seed is not recorded, or leads elsewhere than the recording, the label says
    so: replayed actions then need not show what the expert did.

    Args:
        run_or_policy: a run directory (with several seeds: the first one that is finished), a policy file, or a policy.
        demos: demonstrations, or a file of them; shown is the episode with the median return, of
            those with a seed where there are any.
        out: the file, ending in ``.mp4``; written atomically.
        env_id: what is played; None: what the demonstrations name, where that is a registered environment.
        seconds: the longest the video may be, at the environment's own speed.

    Returns:
        ``out``.

    Raises:
        InputError: where the environment is not known or cannot be rendered, the policy does not fit it, or a file
            cannot be read.
    """
    if seconds <= 0:
        raise InputError(f"{out}: seconds is {seconds}, expected a positive number")
    demos = load_demos(demos) if isinstance(demos, str | Path) else demos
    where = demos.path or "demonstrations"
    policy, name = _policy(run_or_policy) if isinstance(run_or_policy, str | Path) else (run_or_policy, "Learner")
    if env_id is None:
        if demos.env_id is None:
            raise InputError(f"{where}: field env_id is missing, so nothing can be replayed")
        env_id = require_registered(demos.env_id, where)
    if demos.kind != "episodes" or len(demos) == 0:
        raise InputError(f"{where}: holds {len(demos)} {demos.kind}, expected at least one episode to replay")
    recorded = _representative(demos)
    seed = EVALUATION_SEED if recorded.seed is None else recorded.seed
    kwargs = {**_camera(env_id), **demos.env_kwargs, "render_mode": "rgb_array"}
    env = _env_of(recorded, seed, env_id, kwargs)
    try:
        check_spaces(policy, env)
        expert, learner = _replay(env, seed, recorded), _play(env, seed, policy)
        fps, stride = _frame_rate(env_id, kwargs)
        steps = max(int(seconds * fps) * stride, 1)
        same = recorded.seed is not None and expert.same_start
        expert_label = f"Expert: {expert}" if same else f"Expert, other start: {expert}"
        # Two environments: the episodes are drawn in step with each other, not kept in memory.
        other = _env_of(recorded, seed, env_id, kwargs)
        try:
            frames = side_by_side(
                [_frames(env, seed, expert, stride, steps), _frames(other, seed, learner, stride, steps)],
                [expert_label, f"{name}: {learner}"],
            )
            return record_video(frames, out, fps)
        finally:
            other.close()
    finally:
        env.close()


def _env_of(recorded: Trajectory, seed: int, env_id: str, kwargs: dict[str, Any]) -> VecEnv:
    """One environment of the backend in which ``seed`` leads to the recorded start, where there is one.

    A torch-native environment draws other starts from a seed than Gymnasium's own class does.
    """
    if env_id in NATIVE_IDS:
        env = make_vec(env_id, 1, backend="native", **kwargs)
        if _same_start(env, seed, recorded):
            return env
        env.close()
    return _renderer(env_id, kwargs)


def _renderer(env_id: str, kwargs: dict[str, Any]) -> VecEnv:
    """One environment that draws; a class of batches draws itself, whether or not it takes a ``render_mode``."""
    found = resolve(env_id)
    if not isinstance(found, Batch):
        return make_vec(env_id, 1, backend="sync", **kwargs)
    taken = inspect.signature(found.make).parameters.values()
    if not any(p.name == "render_mode" or p.kind is p.VAR_KEYWORD for p in taken):
        kwargs = {name: value for name, value in kwargs.items() if name != "render_mode"}
    return watched(make_vec(env_id, 1, **kwargs))


def _same_start(env: VecEnv, seed: int, recorded: Trajectory) -> bool:
    pairs = zip(named_leaves("", env.reset(seed)), named_leaves("", recorded.observations), strict=True)
    return all(np.allclose(obs[0].cpu().numpy(), rows[0], atol=1e-5) for (_, obs), (_, rows) in pairs)


def policy_video(
    source: str | Path,
    out: str | Path,
    *,
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    seed: int = EVALUATION_SEED,
    seconds: float = 30.0,
    sb3: SB3Options | None = None,
) -> Path:
    """Write a video of one episode of a policy with deterministic actions.

    Args:
        source: as of :func:`gail.agents.find_policy`.
        out: the file, ending in ``.mp4``; written atomically.
        env_id: what is played; None plays what the policy was trained in, where that is a registered environment.
        env_kwargs: keyword arguments of the environment; None takes those of the training.
        seed: of the episode.
        seconds: the longest the video may be, at the environment's own speed.
        sb3: what a zip of Stable-Baselines3 does not say.

    Returns:
        ``out``.

    Raises:
        InputError: where the environment cannot be rendered or the policy does not fit it.
    """
    found = find_policy(source, env_id, env_kwargs, sb3=sb3)
    env_id = env_text(found.env_id)
    if plays_agents(env_id):
        kwargs = found.env_kwargs
        return agents_video(found.policy, Path(out), env_id=env_id, env_kwargs=kwargs, seed=seed, seconds=seconds)
    kwargs = {**_camera(env_id), **found.env_kwargs, "render_mode": "rgb_array"}
    env = _renderer(env_id, kwargs)
    try:
        if isinstance(env, GroupVecEnv):  # what a function made
            own = found.env_kwargs
            return agents_video(found.policy, Path(out), env_id=env_id, env_kwargs=own, seed=seed, seconds=seconds)
        check_spaces(found.policy, env)
        episode = _play(env, seed, found.policy)
        fps, stride = _frame_rate(env_id, kwargs)
        return record_video(_frames(env, seed, episode, stride, max(int(seconds * fps) * stride, 1)), out, fps)
    finally:
        env.close()


def _representative(demos: Demonstrations) -> Trajectory:
    """The episode with the median return, so that neither a lucky nor a trivial one is shown."""
    seeded = [trajectory for trajectory in demos if trajectory.seed is not None] or list(demos)
    ranked = sorted(seeded, key=lambda trajectory: trajectory.total_reward or 0.0)
    return ranked[len(ranked) // 2]


def _camera(env_id: str) -> dict[str, Any]:
    """Keywords that make Gymnasium's MuJoCo environments draw small frames that follow the body.

    Since Gymnasium 1.4 the camera stays where it is unless one is named (without one of that name nothing changes).
    """
    found = resolve(env_id) if env_id not in NATIVE_IDS else None
    if not isinstance(found, EnvSpec) or not str(found.entry_point).startswith("gymnasium.envs.mujoco"):
        return {}
    return {"camera_name": "track", "width": MAX_HEIGHT, "height": MAX_HEIGHT}


def _policy(path: str | Path) -> tuple[Policy, str]:
    """The policy of a file or of a run's first finished seed, and what to call it."""
    path = Path(path)
    if not path.is_dir():
        return load_policy(path).policy, "Learner"
    run = load_run(path)
    for seed in run.seeds:
        if (seed.directory / "policy.safetensors").is_file():
            which = f" (seed {seed.seed})" if len(run.seeds) > 1 else ""
            return load_policy(seed.directory).policy, _NAMES.get(run.algo, run.algo) + which
    raise InputError(f"{path}: holds no policy.safetensors; is the run unfinished?")


def _frame_rate(env_id: str, env_kwargs: dict[str, Any]) -> tuple[float, int]:
    """Frames per second of the video, and how many environment steps lie between two frames."""
    # MuJoCo environments know their rate only once they are made.
    found = resolve(env_id)
    if not isinstance(found, EnvSpec):
        return float(MAX_FPS), 1
    env = make_env(found, env_kwargs)
    steps_per_second = env.metadata.get("render_fps") or MAX_FPS
    env.close()
    return video_rate(steps_per_second)


def _replay(env: VecEnv, seed: int, recorded: Trajectory) -> _Episode:
    same = _same_start(env, seed, recorded)
    total, length = 0.0, 0
    for action in recorded.actions:
        step = env.step(torch.as_tensor(np.asarray(action))[None])
        total, length = total + float(step.reward[0]), length + 1
        if step.terminated[0] or step.truncated[0]:
            break
    return _Episode(recorded.actions[:length], total, same)


@torch.no_grad()
def _play(env: VecEnv, seed: int, policy: Policy) -> _Episode:
    obs, state = env.reset(seed), policy.initial_state(1)
    actions, total, ended = [], 0.0, False
    while not ended:
        output = policy.act(obs, state, deterministic=True)
        step = env.step(output.action)
        obs, state = step.obs, state_after(policy, output, step)
        actions.append(output.action[0].cpu().numpy())
        total += float(step.reward[0])
        ended = bool(step.terminated[0] or step.truncated[0])
    return _Episode(np.stack(actions), total, True)


def _frames(env: VecEnv, seed: int, episode: _Episode, stride: int, steps: int) -> Iterator[Frame]:
    """Every ``stride``-th state of the episode, at most the first ``steps``.

    The state after the last step is left out: by then the environment shows the next episode.
    """
    env.reset(seed)
    for index, action in enumerate(episode.actions[:steps]):
        if index % stride == 0:
            yield shrink(env.render()[0])
        env.step(torch.as_tensor(np.asarray(action))[None])
