"""How a part of the package offers its environments to ``make_vec`` and ``gail envs list``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

from gail.envs.vec import VecEnv
from gail.envs.worker_options import WorkerOptions


@dataclass(frozen=True)
class Request:
    """What the caller of ``make_vec`` asked for, checked as far as it does not depend on the environment."""

    env_id: str
    """The id, as the user wrote it."""
    num_envs: int
    """N, at least 1."""
    device: torch.device
    """Where every tensor of a step lives."""
    backend: str
    """``auto``, or one of the family's own backends."""
    kwargs: dict[str, Any]
    """The environment's keywords; ``max_episode_steps`` is absent, an int of at least 1, or None for no limit."""
    workers: WorkerOptions = field(default_factory=WorkerOptions)
    """What becomes of worker processes that break."""

    @property
    def renders(self) -> bool:
        """Whether frames are wanted."""
        return self.kwargs.get("render_mode") is not None


@dataclass(frozen=True)
class Family:
    """Environments that one part of the package makes."""

    title: str
    """The heading in ``gail envs list``."""
    backends: tuple[str, ...]
    """The names that choose this family explicitly."""
    ids: Callable[[], Iterable[str]]
    """What it can play with the packages that are installed."""
    plays: Callable[[Request], bool]
    """Whether it takes the request; cheap, and without importing what other ids do not need."""
    make: Callable[[Request], VecEnv]
    """The batch; raises InputError for whatever the user can mend."""
