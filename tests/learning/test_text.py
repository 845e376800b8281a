"""A transformer learns characters to its bar within its share of tokens; an LSTM of equal size stands beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gail.generators import fit

pytestmark = pytest.mark.slow

MOST_TOKENS = 16_000_000
MOST_NATS = 1.60
STEPS, BATCH, LENGTH = 3_900, 16, 256
SIZES = {"transformer": {"width": 256, "layers": 4, "learning_rate": 2e-3}, "recurrent": {"width": 440, "layers": 2}}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_last_tenth_of_a_text_costs_the_transformer_no_more_nats_than_the_bar(
    third_party_data: Path, seed: int
) -> None:
    assert STEPS * BATCH * LENGTH <= MOST_TOKENS
    rows = {}
    for kind, size in SIZES.items():
        result = fit(
            kind,
            third_party_data / "media" / "shakespeare-train.txt",
            seed=seed,
            steps=STEPS,
            batch_size=BATCH,
            length=LENGTH,
            holdout=0.1,
            progress=False,
            weight_decay=0.1,
            **size,
        )
        names = ("parameters", "wall_seconds")
        rows[kind] = {
            "nats": result.summary["held_out"][f"{kind}/loss"],
            **{name: result.summary[name] for name in names},
        }
        print(json.dumps({"kind": kind, "seed": seed, **rows[kind]}))
    assert 0.9 < rows["recurrent"]["parameters"] / rows["transformer"]["parameters"] < 1.1
    assert rows["transformer"]["nats"] <= MOST_NATS
