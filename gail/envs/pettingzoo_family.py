"""PettingZoo's environments, as a family of ``make_vec``: one policy plays all agents."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gail.core.errors import InputError
from gail.envs.family import Family, Request
from gail.envs.ids import is_module_path
from gail.envs.vec import VecEnv

_PACKAGES = {"mpe2": ("",), "pettingzoo": ("atari", "butterfly", "classic", "sisl")}


def _ids() -> Iterator[str]:
    """The modules of the packages that are installed; nothing is imported."""
    for package, folders in _PACKAGES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for folder in folders:
            prefix = ".".join([package, folder]).rstrip(".")
            for module in pkgutil.iter_modules([str(Path(spec.origin).parent / folder)]):
                if re.search(r"_v\d+$", module.name):
                    yield f"{prefix}.{module.name}"


def make_agents(source: Any, request: Request) -> VecEnv:
    """A batch of the PettingZoo environment that ``source`` names, makes or is.

    Raises:
        InputError: on another backend, or see :func:`gail.envs.multi_agent.make_shared`.
    """
    from gail.envs.multi_agent import make_shared

    if request.backend not in ("auto", *PETTINGZOO.backends):
        raise InputError(f"{request.env_id}: has no backend {request.backend!r}, expected one of auto, sync")
    return make_shared(source, request.num_envs, request.device, **request.kwargs)


PETTINGZOO = Family(
    "PettingZoo",
    ("sync",),
    _ids,
    lambda request: is_module_path(request.env_id),
    lambda request: make_agents(request.env_id, request),
)
