"""What becomes of worker processes that break."""

from __future__ import annotations

from dataclasses import dataclass

from gail.core.errors import InputError


@dataclass(frozen=True)
class WorkerOptions:
    """How worker processes are watched; none of it changes a result before one of them breaks."""

    worker_timeout: float = 60.0
    """Seconds that a worker process may take to answer; one that takes longer hangs."""
    restart_workers: bool = False
    """Where a worker process dies, hangs or raises, go on with a fresh one, whose environments start new episodes."""

    def __post_init__(self) -> None:
        if not self.worker_timeout > 0:
            raise InputError(f"--worker-timeout: {self.worker_timeout}, expected more than 0")
