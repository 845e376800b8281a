"""EnvPool, as a family of ``make_vec``: played only when asked for, so none of its ids are listed."""

from __future__ import annotations

from gail.core.errors import InputError
from gail.envs.family import Family, Request
from gail.envs.resolve import dependency_advice
from gail.envs.vec import VecEnv


def _make(request: Request) -> VecEnv:
    try:
        from gail.envs.envpool import EnvPoolVecEnv
    except ImportError as error:
        raise InputError(f"{request.env_id}: {dependency_advice(error)}") from error
    return EnvPoolVecEnv(request.env_id, request.num_envs, request.device, **request.kwargs)


ENVPOOL = Family("EnvPool", ("envpool",), lambda: (), lambda request: request.backend == "envpool", _make)
