"""The summary of a run: the same keys whatever was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from gail.agents.evaluate import Evaluation
from gail.core.rundir import hardware, versions, write_summary
from gail.core.statistics import normalized


class Trained(Protocol):
    """What a summary asks of the game that was played: :class:`~gail.core.engine.Game` says what each means."""

    @property
    def steps(self) -> int:
        """Environment steps (behaviour cloning: gradient steps)."""

    @property
    def exact_resume(self) -> bool:
        """Whether the run could go on bit for bit after a kill."""


def conclude(
    game: Trained,
    evaluation: Evaluation,
    out: Path | None,
    *,
    env_id: str,
    algo: str,
    seed: int,
    seconds: float,
    random_return: float,
    device: torch.device,
    expert_return: float | None = None,
    demo_episodes: int | None = None,
    synthetic_share: float | None = None,
    worker_restarts: int = 0,
    groups: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The summary of a finished run, written to ``summary.json`` in its directory.

    Args:
        game: what was trained.
        evaluation: of the final policy, deterministic actions.
        out: run directory; None writes nothing.
        env_id: what was played.
        algo: what was trained.
        seed: of the run.
        seconds: wall-clock seconds of training.
        random_return: mean return of random play.
        device: where it ran.
        expert_return: mean over all recorded episodes of the demonstration file, where there is one.
        demo_episodes: how many episodes were learned from; None where it was unrelated transitions.
        synthetic_share: of the transitions that were learned from.
        worker_restarts: how often a fresh worker process took over; from the first on, nothing is exact.
        groups: each group's scores, where several policies were trained.
    """
    interval = evaluation.interval
    score = None if expert_return is None else normalized(interval.mean, random_return, expert_return)
    summary = {
        "env_id": env_id,
        "algo": algo,
        "seed": seed,
        "steps": game.steps,
        "wall_seconds": seconds,
        "steps_per_second": game.steps / seconds if seconds else None,
        "return_mean": interval.mean,
        "return_std": float(evaluation.returns.std()),
        "return_interval": [interval.low, interval.high],
        "episodes": interval.count,
        "random_return": random_return,
        "expert_return": expert_return,
        "normalized_return": score,
        "demo_episodes": demo_episodes,
        "synthetic_share": synthetic_share,
        "exact_resume": game.exact_resume and worker_restarts == 0,
        "worker_restarts": worker_restarts,
        "device": str(device),
        "hardware": hardware(),
        "versions": versions(),
    }
    if groups is not None:
        summary["groups"] = groups
    if out is not None:
        write_summary(out, summary)
    return summary
