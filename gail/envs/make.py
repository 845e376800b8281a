"""From what the user calls an environment to a batch of it: one list of families, and one clear error each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast, overload

import torch
from gymnasium.envs.registration import EnvSpec

from gail.core.errors import InputError
from gail.envs.atari import is_atari, read_protocol
from gail.envs.atari_family import ATARI, named_game
from gail.envs.custom import use_as_is
from gail.envs.envpool_family import ENVPOOL
from gail.envs.family import Family, Request
from gail.envs.gym_family import GYMNASIUM, PLUG_INS, make_resolved
from gail.envs.ids import same_environment
from gail.envs.mujoco_family import MUJOCO
from gail.envs.native_family import NATIVE
from gail.envs.pettingzoo import PettingZooEnv
from gail.envs.pettingzoo_family import PETTINGZOO, make_agents
from gail.envs.resolve import UnknownEnvironment, callable_id, is_pettingzoo, resolve
from gail.envs.vec import VecEnv
from gail.envs.watched import watched
from gail.envs.worker_options import WorkerOptions

FAMILIES: tuple[Family, ...] = (NATIVE, MUJOCO, ENVPOOL, PLUG_INS, PETTINGZOO, ATARI, GYMNASIUM)
"""Who makes what, in the order in which they are asked; the last one takes what nobody else plays."""

_FEW = 12
"""As many ids are shown in an error, no more."""

_OWN_KEYWORDS = ("env", "num_envs", "device", "backend", "workers")
"""Of :func:`make_vec`: no environment can have them, whatever a file or a flag says."""

EnvLike = str | Callable[..., Any] | VecEnv | PettingZooEnv
"""An id, a callable that makes one environment or a batch, a batch used as it is, or a PettingZoo environment."""


def make_vec(
    env: EnvLike,
    num_envs: int,
    device: torch.device | str | None = None,
    backend: str = "auto",
    *,
    workers: WorkerOptions | None = None,
    **env_kwargs: Any,
) -> VecEnv:
    """Make a batch of ``num_envs`` environments.

    Args:
        env: an id: one that is registered (``Hopper-v5``), an installed package's entry point, ``module:Id``,
            ``module:Class`` or ``file.py:Class`` (:mod:`gail.envs.resolve` tells what each means), or a PettingZoo
            module (``mpe2.simple_spread_v3``, :mod:`gail.envs.pettingzoo`); or a callable that
            makes one Gymnasium or PettingZoo environment from keywords, or a batch where it takes ``num_envs`` and
            ``device``; or a :class:`VecEnv`, which is returned as it is, with its own ``num_envs``; or a PettingZoo
            environment, which is the only copy and left open.
        num_envs: N, at least 1; of a PettingZoo environment, copies, each of which has a row per possible agent.
        device: where every tensor of a step lives; None: the processor (an object's own device).
        backend: ``native`` (torch tensors, any device), ``mujoco`` (threads of this process inside MuJoCo), ``sync``
            (in this process), ``async`` (worker processes), ``atari`` (``ALE/*-v5`` pixels by ALE's own threads),
            ``vector_entry_point`` (the id's own vectorized class), ``envpool`` (EnvPool's own translation), or
            ``auto``: native, mujoco or atari where the id has it and nothing is rendered; else async where there are
            at least 8 environments, more than one core, and an entry point that workers can import; else sync.
        workers: what becomes of worker processes that break; of no use to backends without any.
        env_kwargs: the environment's own keywords (``ALE/*-v5``: :class:`gail.envs.atari.AtariProtocol`), and
            ``max_episode_steps`` (None or -1: no limit) and ``render_mode``.

    Raises:
        InputError: on an unknown id, backend or keyword, a space that is not supported, a backend that the id
            does not have, or a missing package.
    """
    request = _request(env, num_envs, device, backend, workers, env_kwargs)
    if isinstance(env, VecEnv):
        return use_as_is(env, request)
    if is_pettingzoo(env):
        return make_agents(env, request)
    if not isinstance(env, str):
        return make_resolved(resolve(cast("Callable[..., Any]", env)), request)
    try:
        family = _family(request)
        if family is not None:
            return family.make(request)
    except UnknownEnvironment:
        pass
    owners = {family: list(family.ids()) for family in FAMILIES}
    if not any(env in ids for ids in owners.values()):
        raise UnknownEnvironment(env, [name for ids in owners.values() for name in ids])
    expected = [name for family, ids in owners.items() if env in ids for name in family.backends]
    played = [name for family, ids in owners.items() if backend in family.backends for name in ids]
    which = f" ({backend} plays {', '.join(played)})" if len(played) <= _FEW else ""
    raise InputError(f"{env} has no backend {backend!r}, expected one of {', '.join(['auto', *expected])}{which}")


def _request(
    env: EnvLike,
    num_envs: int,
    device: torch.device | str | None,
    backend: str,
    workers: WorkerOptions | None,
    env_kwargs: Mapping[str, Any],
) -> Request:
    """What was asked for, checked as far as it does not depend on the environment."""
    text = env_text(env)
    known = ["auto", *(name for family in FAMILIES for name in family.backends)]
    if backend not in known:
        raise InputError(f"backend {backend!r} is unknown, expected one of {', '.join(dict.fromkeys(known))}")
    if not isinstance(num_envs, int) or num_envs < 1:
        raise InputError(f"{text}: num_envs is {num_envs!r}, expected an integer of at least 1")
    kwargs = dict(env_kwargs)
    limit = kwargs.get("max_episode_steps")
    if limit == -1:
        kwargs["max_episode_steps"] = None
    elif limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InputError(f"{text}: max_episode_steps is {limit!r}, expected an integer of at least 1 (-1: no limit)")
    if device is None:
        device = getattr(env, "device", "cpu") if isinstance(env, VecEnv) else "cpu"
    return Request(text, num_envs, torch.device(device), backend, kwargs, workers or WorkerOptions())


def _family(request: Request) -> Family | None:
    """Who makes what is asked for."""
    able = (family for family in FAMILIES if request.backend in ("auto", *family.backends))
    return next((family for family in able if family.plays(request)), None)


def single_spec(env: EnvLike, num_envs: int = 1, backend: str = "auto", **env_kwargs: Any) -> EnvSpec | None:
    """The single Gymnasium environment that :func:`make_vec` would step; None where whole batches are made.

    Raises:
        InputError: on an unknown id.
    """
    request = _request(env, num_envs, None, backend, None, env_kwargs)
    if isinstance(env, VecEnv) or (isinstance(env, str) and _family(request) not in (PLUG_INS, GYMNASIUM)):
        return None
    if is_pettingzoo(env):
        return None
    found = resolve(cast("str | Callable[..., Any]", env))
    return found if isinstance(found, EnvSpec) else None


def env_text(env: EnvLike) -> str:
    """The id that files say for ``env``."""
    if isinstance(env, str):
        return env
    return env.env_id if isinstance(env, VecEnv) else callable_id(env)


def may_be(env: EnvLike, env_id: str | None) -> bool:
    """Whether ``env`` may be the environment that a file calls ``env_id``; only ids can differ from it."""
    return env_id is None or not isinstance(env, str) or same_environment(env, env_id)


@overload
def resolve_env(
    env_id: str, env_kwargs: Mapping[str, Any] | None = None, *, for_evaluation: bool = False
) -> tuple[str, dict[str, Any]]: ...


@overload
def resolve_env(
    env_id: EnvLike, env_kwargs: Mapping[str, Any] | None = None, *, for_evaluation: bool = False
) -> tuple[EnvLike, dict[str, Any]]: ...


def resolve_env(
    env_id: EnvLike, env_kwargs: Mapping[str, Any] | None = None, *, for_evaluation: bool = False
) -> tuple[EnvLike, dict[str, Any]]:
    """The full id and the keywords as they are saved, so that what was played can be played again.

    Atari games by their bare name get their id (``Pong``: ``ALE/Pong-v5``), and every Atari game all keywords of its
    protocol. All else is returned as it is, also where it is unknown.

    Args:
        env_id: an id, a bare name, or anything else that :func:`make_vec` takes.
        env_kwargs: keywords of the environment.
        for_evaluation: leave out what changes an Atari game for training only (clipped rewards, lives as episodes).

    Raises:
        InputError: on a bad Atari keyword, or one that :func:`make_vec` has for itself.
    """
    kwargs = dict(env_kwargs or {})
    for name in _OWN_KEYWORDS:
        if name in kwargs:
            raise InputError(f"{env_text(env_id)}: {name!r} is no keyword of an environment, but says how it is made")
    if not isinstance(env_id, str):
        return env_id, kwargs
    env_id = named_game(env_id) or env_id
    if not is_atari(env_id):
        return env_id, kwargs
    protocol = read_protocol(env_id, kwargs)
    return env_id, (protocol.for_evaluation() if for_evaluation else protocol).keywords()


@contextmanager
def open_vec(
    env: EnvLike,
    num_envs: int,
    device: torch.device | str | None = None,
    backend: str = "auto",
    *,
    workers: WorkerOptions | None = None,
    **env_kwargs: Any,
) -> Iterator[VecEnv]:
    """As :func:`make_vec`, and closed at the end, unless it is the caller's own object.

    A batch whose class is not of this package is watched (:class:`gail.envs.watched.WatchedVecEnv`).
    """
    made = make_vec(env, num_envs, device, backend, workers=workers, **env_kwargs)
    try:
        yield watched(made)
    finally:
        if made is not env:
            made.close()
