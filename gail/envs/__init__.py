"""Floor 1: what is played.

Names are imported on first use: worker processes load this package and should not pay for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gail.envs.check import Finding as Finding
    from gail.envs.check import check_vec_env as check_vec_env
    from gail.envs.check_all import EnvReport as EnvReport
    from gail.envs.check_all import check_environment as check_environment
    from gail.envs.gym_vector import WrappedVectorEnv as WrappedVectorEnv
    from gail.envs.make import EnvLike as EnvLike
    from gail.envs.make import env_text as env_text
    from gail.envs.make import make_vec as make_vec
    from gail.envs.make import may_be as may_be
    from gail.envs.make import open_vec as open_vec
    from gail.envs.make import resolve_env as resolve_env
    from gail.envs.native import NativeVecEnv as NativeVecEnv
    from gail.envs.vec import State as State
    from gail.envs.vec import Step as Step
    from gail.envs.vec import VecEnv as VecEnv
    from gail.envs.video import record_video as record_video
    from gail.envs.video import side_by_side as side_by_side
    from gail.envs.worker_options import WorkerOptions as WorkerOptions

_HOMES = {
    "EnvLike": "make",
    "EnvReport": "check_all",
    "check_environment": "check_all",
    "Finding": "check",
    "NativeVecEnv": "native",
    "State": "vec",
    "Step": "vec",
    "VecEnv": "vec",
    "WorkerOptions": "worker_options",
    "WrappedVectorEnv": "gym_vector",
    "check_vec_env": "check",
    "env_text": "make",
    "make_vec": "make",
    "may_be": "make",
    "open_vec": "make",
    "record_video": "video",
    "resolve_env": "make",
    "side_by_side": "video",
}

__all__ = [
    "EnvLike",
    "EnvReport",
    "Finding",
    "NativeVecEnv",
    "State",
    "Step",
    "VecEnv",
    "WorkerOptions",
    "WrappedVectorEnv",
    "check_environment",
    "check_vec_env",
    "env_text",
    "make_vec",
    "may_be",
    "open_vec",
    "record_video",
    "resolve_env",
    "side_by_side",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
