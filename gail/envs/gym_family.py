"""Whatever Gymnasium's interface plays: registered ids, custom classes and functions; a family of ``make_vec``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from gail.core.errors import InputError
from gail.envs.custom import make_batch
from gail.envs.family import Family, Request
from gail.envs.making import making
from gail.envs.pettingzoo_family import make_agents
from gail.envs.resolve import (
    Agents,
    Batch,
    CustomSpec,
    MakesAgents,
    Resolved,
    installed_entry_points,
    resolve,
    spec_id,
)
from gail.envs.vec import VecEnv

BACKENDS = ("sync", "async", "vector_entry_point")

_ASYNC_FROM = 8
"""From this many environments on, worker processes earn back what their signalling costs."""


def make_resolved(found: Resolved, request: Request) -> VecEnv:
    """A batch of what a user's name or callable means."""
    if isinstance(found, Batch):
        return make_batch(found, request)
    if isinstance(found, Agents):
        return make_agents(found, request)
    try:
        return _make_single_envs(found, request)
    except MakesAgents as error:
        return make_agents(error.agents, request)


def _make_single_envs(spec: EnvSpec, request: Request) -> VecEnv:
    """A batch of single Gymnasium environments of ``spec``, in this process or in workers.

    Raises:
        InputError: on a backend that the environment does not have, an unknown keyword, a space that is not
            supported, or a missing package.
    """
    backend = _choose_backend(spec, request.num_envs) if request.backend == "auto" else request.backend
    kwargs = request.kwargs
    with clear_errors(spec, kwargs):
        if backend == "async":
            from gail.envs.gym_async import GymAsyncVecEnv

            return GymAsyncVecEnv(spec, request.num_envs, request.device, options=request.workers, **kwargs)
        if backend == "vector_entry_point":
            from gail.envs.gym_vector import make_from_vector_entry_point

            return make_from_vector_entry_point(spec, request.num_envs, request.device, **kwargs)
        from gail.envs.gym_sync import GymSyncVecEnv

        return GymSyncVecEnv(spec, request.num_envs, request.device, **kwargs)


def _choose_backend(spec: EnvSpec, num_envs: int) -> str:
    """Worker processes for many environments whose class they can import, else this process."""
    if isinstance(spec, CustomSpec):
        importable = spec.portable is not None
    else:
        importable = isinstance(spec.entry_point, str) and not spec.entry_point.startswith("__main__")
    several_cores = (os.cpu_count() or 1) > 1 and os.name == "posix"
    return "async" if importable and several_cores and num_envs >= _ASYNC_FROM else "sync"


@contextmanager
def clear_errors(spec: EnvSpec, kwargs: dict[str, Any]) -> Iterator[None]:
    """Turn what is raised while environments of ``spec`` are made into one line, see :mod:`gail.envs.making`."""
    assert spec.entry_point is not None
    with making(spec_id(spec), spec.entry_point, kwargs, ("max_episode_steps",)):
        try:
            yield
        except TypeError as error:
            if "must inherit from the gymnasium.Env" not in str(error):
                raise
            made = str(error).partition("actual class: ")[2].partition(">")[0].removeprefix("<class ")
            raise InputError(
                f"{spec_id(spec)}: makes {made}, expected a gymnasium.Env or a PettingZoo environment"
            ) from error


PLUG_INS = Family(
    "installed plug-ins",
    BACKENDS,
    installed_entry_points,
    lambda request: request.env_id in installed_entry_points() and request.env_id not in gym.registry,
    lambda request: make_resolved(resolve(request.env_id), request),
)

GYMNASIUM = Family(
    "Gymnasium",
    BACKENDS,
    lambda: gym.registry,
    lambda request: True,
    lambda request: make_resolved(resolve(request.env_id), request),
)
