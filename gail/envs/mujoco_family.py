"""Gymnasium's MuJoCo environments in batches, as a family of ``make_vec``."""

from __future__ import annotations

import warnings

import gymnasium as gym

from gail.envs.family import Family, Request
from gail.envs.gym_family import GYMNASIUM, clear_errors
from gail.envs.vec import VecEnv

MUJOCO_IDS = (
    "Ant-v5",
    "HalfCheetah-v5",
    "Hopper-v5",
    "Humanoid-v5",
    "HumanoidStandup-v5",
    "InvertedDoublePendulum-v5",
    "InvertedPendulum-v5",
    "Pusher-v5",
    "Reacher-v5",
    "Swimmer-v5",
    "Walker2d-v5",
)
"""Ids with batched definitions (:data:`gail.envs.mujoco_tasks.TASKS`)."""


def _plays(request: Request) -> bool:
    # For videos of a few episodes Gymnasium's class, which draws them anyway, might as well step itself.
    return request.env_id in MUJOCO_IDS and (request.backend == "mujoco" or not request.renders)


def _make(request: Request) -> VecEnv:
    spec = gym.spec(request.env_id)
    with clear_errors(spec, request.kwargs):
        from gail.envs.mujoco import MujocoVecEnv
        from gail.envs.mujoco_truth import DefinitionsDiffer

        try:
            return MujocoVecEnv(spec, request.num_envs, request.device, **request.kwargs)
        except DefinitionsDiffer as error:
            if request.backend == "mujoco":
                raise
            warnings.warn(f"{error}; that is done now, at lower speed", stacklevel=4)
    return GYMNASIUM.make(request)


MUJOCO = Family("MuJoCo, batched", ("mujoco",), lambda: MUJOCO_IDS, _plays, _make)
