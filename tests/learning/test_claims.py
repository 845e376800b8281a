"""The learning claims of the README on third-party demonstrations: over half an hour; `scripts/test --slow`.

They are the lines of `gail bench learning`, held to the same bars. Where GAIL_LEARNING_RUNS names the ``--out`` folder
of such a bench, its finished runs are evaluated again instead of being trained again.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gail.cli.bench_learning import LINES, Line, demonstrations_of, learning_rows

pytestmark = pytest.mark.slow
BARS = [line for line in LINES if line.at_least is not None or line.at_most is not None]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ.get("GAIL_LEARNING_RUNS") or tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("line", BARS, ids=lambda line: str(line.directory))
def test_the_score_over_three_seeds_meets_its_bar(line: Line, third_party_data: Path, runs: Path) -> None:
    beside = [Line(line.environment, "bc", line.subsample)] if line.above_bc else []
    demos = {line.environment: demonstrations_of(line.environment, third_party_data / "demos")}
    rows = learning_rows([*beside, line], demos, (0, 1, 2), runs)
    assert rows[-1]["met"], rows
