"""Run directories made by hand, with numbers that are easy to check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gail.core.rundir import open_run, write_summary

GAIL_METRICS = (
    "return_mean",
    "reward_imitation",
    "discriminator/accuracy_expert",
    "discriminator/accuracy_generated",
    "discriminator/logit_expert",
    "discriminator/logit_generated",
    "discriminator/gradient_norm",
    "discriminator/gradient_penalty",
    "policy/entropy",
    "policy/kl",
    "policy/clip_fraction",
    "policy/value_loss",
)


def write_seed(
    directory: Path,
    *,
    env_id: str = "CartPole-v1",
    algo: str = "gail",
    seed: int = 0,
    rounds: list[dict[str, float | None]] | None = None,
    return_mean: float | None = 100.0,
    **summary: Any,
) -> Path:
    """One seed's directory; ``return_mean=None`` leaves it unfinished."""
    open_run(
        directory,
        {"run": {"verb": "train", "env_id": env_id, "env_kwargs": {}, "seed": seed}, "config": {"algo": algo}},
        resume=False,
    )
    if rounds is None:
        names = GAIL_METRICS if algo == "gail" else ("policy/log_likelihood",)
        rounds = [{"step": 100 * r, **{name: 0.001 * r for name in names}} for r in range(1, 11)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rounds))
    if return_mean is not None:
        write_summary(
            directory,
            {
                "env_id": env_id,
                "algo": algo,
                "seed": seed,
                "steps": 1000,
                "wall_seconds": 10.0,
                "return_mean": return_mean,
                "return_interval": [return_mean - 5.0, return_mean + 5.0],
                "random_return": 0.0,
                "expert_return": 400.0,
                "demo_episodes": 4,
                "exact_resume": True,
                **summary,
            },
        )
    return directory


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run of one seed, or of several: ``returns`` per seed, and ``controls`` of the nonsense check."""

    def make(
        name: str = "run",
        returns: list[float | None] | None = None,
        controls: list[float] | None = None,
        **kwargs: Any,
    ) -> Path:
        if returns is None:
            return write_seed(tmp_path / name, **kwargs)
        for seed, value in enumerate(returns):
            if controls is not None:
                score = controls[seed] / 400.0
                kwargs["nonsense_check"] = {"return_mean": controls[seed], "normalized_return": score}
            write_seed(tmp_path / name / f"seed-{seed}", seed=seed, return_mean=value, **kwargs)
        if None not in returns:
            write_summary(tmp_path / name, {"seeds": []})
        return tmp_path / name

    return make
