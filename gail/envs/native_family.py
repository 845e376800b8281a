"""The torch-native environments, as a family of ``make_vec``."""

from __future__ import annotations

from gail.envs.cartpole import FIXED_HORIZON_ID
from gail.envs.family import Family, Request
from gail.envs.vec import VecEnv

NATIVE_IDS = (
    "CartPole-v1",
    FIXED_HORIZON_ID,
    "Pendulum-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Acrobot-v1",
)
"""Ids with a torch-native class."""


def _plays(request: Request) -> bool:
    if request.env_id not in NATIVE_IDS:
        return False
    # Where frames are wanted Gymnasium's class has to draw them, so it might as well step itself.
    return request.backend == "native" or not request.renders or request.env_id == FIXED_HORIZON_ID


def _make(request: Request) -> VecEnv:
    from gail.envs.acrobot import Acrobot
    from gail.envs.cartpole import CartPole
    from gail.envs.mountain_car import MountainCar, MountainCarContinuous
    from gail.envs.native import NativeVecEnv
    from gail.envs.pendulum import Pendulum

    if request.env_id == FIXED_HORIZON_ID:
        return CartPole(request.num_envs, request.device, fixed_horizon=True, **request.kwargs)
    classes: tuple[type[NativeVecEnv], ...] = (CartPole, Pendulum, MountainCar, MountainCarContinuous, Acrobot)
    native = next(native for native in classes if native.gym_id == request.env_id)
    return native(request.num_envs, request.device, **request.kwargs)


NATIVE = Family("torch-native", ("native",), lambda: NATIVE_IDS, _plays, _make)
