"""From an environment's id to a batch of it: which backend, and one clear error for every way it can fail."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from typing import Any

import gymnasium as gym
import torch
from gymnasium.envs.registration import EnvSpec, load_env_creator

from gail.core.errors import InputError
from gail.envs.cartpole import FIXED_HORIZON_ID
from gail.envs.vec import VecEnv

BACKENDS = ("auto", "native", "sync", "async", "vector_entry_point")

NATIVE_IDS = (
    "CartPole-v1",
    FIXED_HORIZON_ID,
    "Pendulum-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Acrobot-v1",
)
"""Ids with a torch-native class."""

_ASYNC_FROM = 8
"""From this many environments on, worker processes earn back what their signalling costs."""

_REGISTERING_MODULES = {"ALE": "ale_py"}
_EXTRAS = {"Box2D": "box2d", "ale_py": "atari", "mujoco": "mujoco", "pygame": "classic-control"}


def make_vec(
    env_id: str,
    num_envs: int,
    device: torch.device | str = "cpu",
    backend: str = "auto",
    **env_kwargs: Any,
) -> VecEnv:
    """Make a batch of ``num_envs`` environments.

    Args:
        env_id: a Gymnasium id (``Hopper-v5``, or ``module:Id`` to import ``module`` first), or a native one
            (:data:`NATIVE_IDS`).
        num_envs: N, at least 1.
        device: where every tensor of a step lives.
        backend: ``native`` (torch tensors, any device), ``sync`` (in this process), ``async`` (worker
            processes), ``vector_entry_point`` (the id's own vectorized class), or ``auto``: native where the
            id has a torch-native class and nothing is rendered; else async where there are at least 8
            environments, more than one core, and an entry point that workers can import; else sync.
        env_kwargs: the environment's own keywords, and ``max_episode_steps`` (None or -1: no limit) and
            ``render_mode``.

    Raises:
        InputError: on an unknown id, backend or keyword, a space that is not Box, Discrete or MultiDiscrete,
            a backend that the id does not have, or a missing package.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown, expected one of {', '.join(BACKENDS)}")
    if not isinstance(num_envs, int) or num_envs < 1:
        raise InputError(f"{env_id}: num_envs is {num_envs!r}, expected an integer of at least 1")
    kwargs = dict(env_kwargs)
    limit = kwargs.get("max_episode_steps", -1)
    if limit is not None and limit != -1 and (not isinstance(limit, int) or limit < 1):
        raise InputError(f"{env_id}: max_episode_steps is {limit!r}, expected an integer of at least 1 (-1: no limit)")
    if backend == "native" or (backend == "auto" and env_id in NATIVE_IDS and kwargs.get("render_mode") is None):
        return _make_native(env_id, num_envs, device, kwargs)
    if env_id == FIXED_HORIZON_ID:
        raise InputError(f"{env_id} has no backend {backend!r} (nor rendering), expected 'native'")
    if "max_episode_steps" in kwargs and limit is None:
        kwargs["max_episode_steps"] = -1  # Gymnasium reads None as "the registered limit"
    spec = find_spec(env_id)
    if backend == "auto":
        backend = _choose_backend(spec, num_envs)
    try:
        return _make_host(spec, num_envs, device, backend, kwargs)
    except InputError:
        raise
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        raise InputError(f"{env_id}: {_dependency_advice(error)}") from error
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InputError(_keyword_advice(spec, kwargs, error)) from error
    except gym.error.Error as error:
        raise InputError(f"{env_id}: {error}") from error


def _make_native(env_id: str, num_envs: int, device: torch.device | str, kwargs: dict[str, Any]) -> VecEnv:
    from gail.envs.acrobot import Acrobot
    from gail.envs.cartpole import CartPole
    from gail.envs.mountain_car import MountainCar, MountainCarContinuous
    from gail.envs.native import NativeVecEnv
    from gail.envs.pendulum import Pendulum

    if env_id == FIXED_HORIZON_ID:
        return CartPole(num_envs, device, fixed_horizon=True, **kwargs)
    classes: list[type[NativeVecEnv]] = [CartPole, Pendulum, MountainCar, MountainCarContinuous, Acrobot]
    for native in classes:
        if native.gym_id == env_id:
            return native(num_envs, device, **kwargs)
    raise InputError(f"{env_id} has no backend 'native', expected one of {', '.join(NATIVE_IDS)}")


def _make_host(
    spec: EnvSpec, num_envs: int, device: torch.device | str, backend: str, kwargs: dict[str, Any]
) -> VecEnv:
    if backend == "async":
        from gail.envs.gym_async import GymAsyncVecEnv

        return GymAsyncVecEnv(spec, num_envs, device, **kwargs)
    if backend == "vector_entry_point":
        from gail.envs.gym_vector import make_from_vector_entry_point

        return make_from_vector_entry_point(spec, num_envs, device, **kwargs)
    from gail.envs.gym_sync import GymSyncVecEnv

    return GymSyncVecEnv(spec, num_envs, device, **kwargs)


def find_spec(env_id: str) -> EnvSpec:
    """The registered environment of that id; imports the module of a ``module:Id`` first.

    Raises:
        InputError: where there is none, with the closest ids.
    """
    module, _, name = env_id.rpartition(":")
    module = module or _REGISTERING_MODULES.get(name.partition("/")[0], "")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError(f"{env_id}: {_dependency_advice(error)}") from error
    if name in gym.registry:
        return gym.registry[name]
    known = [*gym.registry, *NATIVE_IDS]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    advice = f"; did you mean {', '.join(dict.fromkeys(close))}?" if close else ""
    raise InputError(f"environment {env_id!r} is unknown{advice}")


def _choose_backend(spec: EnvSpec, num_envs: int) -> str:
    """Worker processes for many environments whose class they can import, else this process."""
    importable = isinstance(spec.entry_point, str) and not spec.entry_point.startswith("__main__")
    several_cores = (os.cpu_count() or 1) > 1 and os.name == "posix"
    return "async" if importable and several_cores and num_envs >= _ASYNC_FROM else "sync"


def _dependency_advice(error: BaseException) -> str:
    """What is missing and the command that installs it, from an import error."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        name = getattr(cause, "name", None)
        if isinstance(cause, ImportError) and name:
            extra = _EXTRAS.get(name.partition(".")[0])
            package = f"'gymnasium[{extra}]'" if extra else name.partition(".")[0]
            return f"package {name!r} is missing; install it with: pip install {package}"
        cause = cause.__cause__ or cause.__context__
    return text


def _keyword_advice(spec: EnvSpec, kwargs: dict[str, Any], error: TypeError) -> str:
    """Which keyword the environment does not take, and which it does."""
    assert spec.entry_point is not None
    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    parameters = inspect.signature(creator).parameters.values()
    names = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    found = str(error).partition("unexpected keyword argument ")[2].split("'")
    unknown = repr(found[1]) if len(found) > 1 else ", ".join(map(repr, kwargs))
    return f"{spec.id}: unknown keyword {unknown}, expected one of {', '.join([*names, 'max_episode_steps'])}"
