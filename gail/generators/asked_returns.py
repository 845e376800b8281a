"""Whether an agent with a model of returns achieves the return that it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from gail.agents.evaluate import EVALUATION_SEED, evaluate_policy
from gail.core.device import resolve_device
from gail.core.errors import InputError
from gail.core.statistics import mean_interval
from gail.envs import EnvLike, env_text, open_vec
from gail.envs.ids import require_registered
from gail.generators.fit import FitResult
from gail.generators.kinds import FittedGenerator, load_generator
from gail.generators.return_policy import ReturnPolicy


def evaluate_targets(
    model: str | Path | FittedGenerator | FitResult,
    targets: Sequence[float],
    *,
    env_id: EnvLike | None = None,
    env_kwargs: dict[str, Any] | None = None,
    episodes: int = 10,
    deterministic: bool = False,
    temperature: float | None = None,
    seed: int = EVALUATION_SEED,
    device: str = "cpu",
) -> dict[str, Any]:
    """Play in the real environment, asking for each of the ``targets``; what ``gail evaluate --target-return`` does.

    Args:
        model: a run directory or model file of ``gail fit transformer --data-kind returns``, or what :func:`gail.fit`
            returned.
        targets: undiscounted returns to ask for.
        env_id: what is played; None: what the data was recorded in, where that is a registered environment.
        env_kwargs: its keywords; None: the data's.
        episodes: of each target.
        deterministic: the most probable action tokens instead of drawn ones.
        temperature: divides the logits of drawn ones; None: what the model is sampled with.
        seed: environment i starts from ``seed + i``; each target has environments of its own.
        device: where the model runs.

    Returns:
        Plain data: ``env_id, episodes, deterministic, temperature, seed``, ``rows`` (``target, return_mean,
        return_interval, return_std, return_min, return_max, length_mean`` of each) and ``spearman``, the rank
        correlation of the mean returns with the targets (None with fewer than 3 targets).

    Raises:
        InputError: where the model is none of returns, or does not fit the environment.
    """
    if not targets or episodes < 1 or not np.isfinite(targets).all():
        raise InputError("--target-return: expected finite returns and at least one episode of each")
    if isinstance(model, FitResult):
        fitted = model.generator
    else:
        fitted = model if isinstance(model, FittedGenerator) else load_generator(model, resolve_device(device))
    where = model if isinstance(model, str | Path) else "the model"
    if env_id is None:
        if fitted.origin.get("env_id") is None:
            raise InputError(f"--env: {where} does not say what its data was recorded in, expected an id")
        env_id = require_registered(fitted.origin["env_id"], where)
        env_kwargs = fitted.origin.get("env_kwargs") if env_kwargs is None else env_kwargs
    asked = [float(target) for target in targets for _ in range(episodes)]
    with open_vec(env_id, len(asked), device=device, **(env_kwargs or {})) as env:
        if env.num_envs != len(asked):
            raise InputError(f"{env.env_id}: has {env.num_envs} copies, expected {len(asked)}, one per episode")
        policy = ReturnPolicy(fitted, asked, env.observation_space, env.action_space, temperature=temperature)
        played = evaluate_policy(policy, env, episodes=len(asked), deterministic=deterministic, seed=seed)
    rows = []
    for index, target in enumerate(targets):
        place = slice(index * episodes, (index + 1) * episodes)
        returns = played.returns[place]
        interval = mean_interval(returns)
        rows.append(
            {
                "target": float(target),
                "return_mean": interval.mean,
                "return_interval": [interval.low, interval.high],
                "return_std": float(returns.std()),
                "return_min": float(returns.min()),
                "return_max": float(returns.max()),
                "length_mean": float(played.lengths[place].mean()),
            }
        )
    ranked = stats.spearmanr([row["target"] for row in rows], [row["return_mean"] for row in rows]).statistic
    return {
        "env_id": env_text(env_id),
        "episodes": episodes,
        "deterministic": deterministic,
        "temperature": temperature,
        "seed": seed,
        "rows": rows,
        "spearman": float(ranked) if len(rows) > 2 and np.isfinite(ranked) else None,
    }
