"""Atari games by a stated protocol, as a family of ``make_vec``; imports ale-py only for games."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable

import gymnasium as gym

from gail.core.errors import InputError
from gail.envs.atari import find_game, is_atari, read_protocol
from gail.envs.family import Family, Request
from gail.envs.gym_family import make_resolved
from gail.envs.native_family import NATIVE_IDS
from gail.envs.resolve import find_spec, installed_entry_points
from gail.envs.vec import VecEnv

_NOT_RULES = ("render_mode", "num_workers")


def named_game(name: str) -> str | None:
    """The id of the game that a bare name means, or None where it means something else or nothing."""
    if not name.isidentifier() or name in gym.registry or name in NATIVE_IDS or name in installed_entry_points():
        return None
    with contextlib.suppress(ImportError):
        return find_game(name)
    return None


def _ids() -> Iterable[str]:
    with contextlib.suppress(ImportError):
        find_game("")
    return [name for name in gym.registry if is_atari(name)]


def _plays(request: Request) -> bool:
    return is_atari(request.env_id) or named_game(request.env_id) is not None


def _make(request: Request) -> VecEnv:
    spec = find_spec(request.env_id)
    rules = {name: value for name, value in request.kwargs.items() if name not in _NOT_RULES}
    others = {name: request.kwargs[name] for name in _NOT_RULES if request.kwargs.get(name) is not None}
    protocol = read_protocol(spec.id, rules)
    if request.backend == "atari" and others:
        raise InputError(f"{spec.id}: {', '.join(others)}: not with backend 'atari', expected 'sync' or 'async'")
    if request.backend == "atari" or (request.backend == "auto" and not others and not protocol.needs_single):
        from gail.envs.atari_vector import AtariVecEnv

        return AtariVecEnv(spec, request.num_envs, protocol, request.device)
    return make_resolved(spec, dataclasses.replace(request, kwargs={**protocol.keywords(), **others}))


ATARI = Family("Atari, protocol v5", ("atari", "sync", "async"), _ids, _plays, _make)
