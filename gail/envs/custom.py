"""Batches that users make themselves: a class or function with ``num_envs``, or an object that is used as it is."""

from __future__ import annotations

import torch
from gymnasium.vector import VectorEnv

from gail.core.errors import InputError
from gail.envs.family import Request
from gail.envs.making import making
from gail.envs.resolve import Batch
from gail.envs.vec import VecEnv

_ATTRIBUTES = (
    "env_id", "env_kwargs", "num_envs", "observation_space", "action_space", "max_episode_steps", "device",
)  # fmt: skip


def make_batch(batch: Batch, request: Request) -> VecEnv:
    """Call ``batch`` and name what it makes as the user named it.

    Raises:
        InputError: where a backend is asked for, a keyword is unknown, or something else than a batch on the
            device is made.
    """
    if request.backend != "auto":
        raise InputError(f"{batch.text}: makes its batch itself, found backend {request.backend!r}, expected 'auto'")
    # Gymnasium's vector environments know no devices.
    device = {"device": request.device} if batch.takes_device else {}
    with making(batch.text, batch.make, request.kwargs):
        env = batch.make(num_envs=request.num_envs, **device, **request.kwargs)
    if isinstance(env, VectorEnv):
        from gail.envs.gym_vector import WrappedVectorEnv

        limit = request.kwargs.get("max_episode_steps")
        env = WrappedVectorEnv(env, request.device, env_id=batch.text, max_episode_steps=limit)
    if not isinstance(env, VecEnv):
        raise InputError(
            f"{batch.text}: takes num_envs but makes a {type(env).__name__}, expected a gail.envs.VecEnv or a "
            "gymnasium.vector.VectorEnv"
        )
    env.env_id, env.env_kwargs = batch.text, dict(request.kwargs)
    _check_batch(env, request.device)
    if env.num_envs != request.num_envs:
        raise InputError(f"{batch.text}: num_envs is {env.num_envs}, expected {request.num_envs} as asked for")
    return env


def use_as_is(env: VecEnv, request: Request) -> VecEnv:
    """``env`` itself, which exists already, so that nothing can be asked of it any more.

    Raises:
        InputError: where it lacks an attribute of the contract, lives on another device, or keywords or a backend
            are asked for.
    """
    name = type(env).__name__
    if request.kwargs or request.backend != "auto":
        found = ", ".join(request.kwargs) or f"backend {request.backend!r}"
        raise InputError(f"{name}: is used as it is, found {found}; make the environment with it")
    _check_batch(env, request.device)
    return env


def _check_batch(env: VecEnv, device: torch.device) -> None:
    name = type(env).__name__
    missing = [attribute for attribute in _ATTRIBUTES if not hasattr(env, attribute)]
    if missing:
        raise InputError(f"{name}: lacks {', '.join(missing)}; set every attribute of gail.envs.VecEnv")
    if torch.device(env.device).type != device.type:
        raise InputError(f"{name}: lives on device {env.device}, expected {device}; make it there, or ask for that one")
