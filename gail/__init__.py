"""Adversarial imitation learning: from an expert's rollouts to a policy, with proof.

The public names are imported on first use, so that ``import gail`` costs nothing::

    import gail

    result = gail.imitate("CartPole-v1", "expert.npz", steps=200_000, seed=0)
    print(result.summary["normalized_return"])
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Demonstrations": "gail.demos",
    "EnvironmentFault": "gail.core.errors",
    "ExpertConfig": "gail.agents",
    "ImitationConfig": "gail.imitation",
    "InputError": "gail.core.errors",
    "Proposals": "gail.generators",
    "ReplayModel": "gail.generators",
    "Step": "gail.envs",
    "Trajectory": "gail.demos",
    "Transitions": "gail.demos",
    "VecEnv": "gail.envs",
    "World": "gail.generators",
    "WorkerOptions": "gail.envs",
    "audit": "gail.generators",
    "build_report": "gail.report",
    "check_demos": "gail.demos",
    "check_environment": "gail.envs",
    "check_vec_env": "gail.envs",
    "collect_demos": "gail.agents",
    "evaluate": "gail.agents",
    "filter_synthetic": "gail.generators",
    "fit": "gail.generators",
    "imitate": "gail.imitation",
    "load_demos": "gail.demos",
    "load_policy": "gail.agents",
    "make_vec": "gail.envs",
    "replay": "gail.demos.replay",
    "sample": "gail.generators",
    "sample_transitions": "gail.generators",
    "save_demos": "gail.demos",
    "to_transitions": "gail.demos",
    "train_expert": "gail.agents",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
