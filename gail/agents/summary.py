"""The summary of a run: the same keys whatever was trained."""

from __future__ import annotations

from typing import Any

from gail.agents.evaluate import Evaluation
from gail.core.rundir import hardware, versions
from gail.core.statistics import normalized


def run_summary(
    *,
    env_id: str,
    algo: str,
    seed: int,
    steps: int,
    seconds: float,
    evaluation: Evaluation,
    random_return: float,
    expert_return: float | None,
    demo_episodes: int | None,
    exact_resume: bool,
    worker_restarts: int,
    device: str,
) -> dict[str, Any]:
    """What ``summary.json`` holds.

    Args:
        env_id: what was played.
        algo: what was trained.
        seed: of the run.
        steps: environment steps (behaviour cloning: gradient steps).
        seconds: wall-clock seconds of training.
        evaluation: of the final policy, deterministic actions.
        random_return: mean return of random play.
        expert_return: mean over all episodes of the demonstration file, where there is one.
        demo_episodes: how many episodes were learned from.
        exact_resume: whether the run could go on bit for bit after a kill.
        worker_restarts: how often a fresh worker process took over; from the first on, nothing is exact.
        device: where it ran.
    """
    interval = evaluation.interval
    score = None if expert_return is None else normalized(interval.mean, random_return, expert_return)
    return {
        "env_id": env_id,
        "algo": algo,
        "seed": seed,
        "steps": steps,
        "wall_seconds": seconds,
        "steps_per_second": steps / seconds if seconds else None,
        "return_mean": interval.mean,
        "return_std": float(evaluation.returns.std()),
        "return_interval": [interval.low, interval.high],
        "episodes": interval.count,
        "random_return": random_return,
        "expert_return": expert_return,
        "normalized_return": score,
        "demo_episodes": demo_episodes,
        "exact_resume": exact_resume and worker_restarts == 0,
        "worker_restarts": worker_restarts,
        "device": device,
        "hardware": hardware(),
        "versions": versions(),
    }
