"""Models of dynamics predict held-out episodes better than a linear Gaussian model does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gail.generators import fit

pytestmark = pytest.mark.slow

SETTINGS: dict[str, dict[str, Any]] = {
    "mdrnn": {"data_kind": "segments", "length": 32, "steps": 300, "batch_size": 32},
    "transformer": {"data_kind": "innovations", "length": 4, "steps": 60, "batch_size": 32, "warmup": 20},
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("env_id", ["Hopper-v5", "LunarLander-v3"])
@pytest.mark.parametrize("kind", list(SETTINGS))
def test_steps_of_held_out_episodes_are_more_probable_than_under_a_linear_gaussian(
    kind: str, env_id: str, seed: int, third_party_data: Path
) -> None:
    file = third_party_data / "demos" / f"{env_id}.npz"
    result = fit(kind, file, seed=seed, holdout=0.2, previews=0, progress=False, **SETTINGS[kind])
    held = result.summary["held_out"]
    row = {name: round(held[name], 2) for name in ("nats_per_step", "linear_nats_per_step", "scored_steps")}
    print(json.dumps({"kind": kind, "env": env_id, "seed": seed, "seconds": result.summary["wall_seconds"], **row}))
    assert held["nats_per_step"] > held["linear_nats_per_step"] + 3.0
