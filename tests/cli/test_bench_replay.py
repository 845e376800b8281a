"""``gail bench replay`` pairs seeds, takes equally many steps in every arm and does nothing twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gail.agents.expert import ExpertConfig
from gail.agents.sac import SACConfig
from gail.agents.synthetic import SyntheticConfig
from gail.cli import bench_replay
from gail.cli.bench_replay import ARMS, arm_settings, score_rows
from gail.cli.main import main
from gail.core.statistics import mean_interval

WORDS = [
    "bench", "replay", "CartPole-v1", "--algo", "dqn", "--steps", "1500", "--evaluation-episodes", "3",
    "--dqn.steps-per-update", "50", "--dqn.synthetic.generator", "gan", "--dqn.synthetic.refit-every", "1000",
    "--dqn.synthetic.updates", "2", "--dqn.synthetic.rows", "30",
]  # fmt: skip


def test_arms_differ_by_their_synthetic_experience_only() -> None:
    settings = ExpertConfig("sac", sac=SACConfig(synthetic=SyntheticConfig(generator="vae", rows=7)))
    plain, synthetic, rare = (arm_settings(settings, arm) for arm in ARMS)
    assert plain == settings
    assert synthetic.sac.synthetic == SyntheticConfig(share=0.5, generator="vae", rows=7)
    assert rare.sac.synthetic == SyntheticConfig(share=0.5, rare=0.5, generator="vae", rows=7)
    asked = replace(settings, sac=replace(settings.sac, synthetic=SyntheticConfig(share=0.2, rare=0.1)))
    shares = [
        (arm_settings(asked, arm).sac.synthetic.share, arm_settings(asked, arm).sac.synthetic.rare) for arm in ARMS
    ]
    assert shares == [(0.0, 0.0), (0.2, 0.0), (0.2, 0.1)]
    assert replace(rare, sac=plain.sac) == plain and replace(rare.sac, synthetic=plain.sac.synthetic) == plain.sac


def test_means_and_fifth_percentiles_are_compared_seed_by_seed() -> None:
    def seed(*arms: list[float]) -> dict[str, dict[str, Any]]:
        return {arm: {"returns": returns, "seconds": 1.0} for arm, returns in zip(ARMS, arms, strict=True)}

    twenty = [float(n) for n in range(21)]  # their 5th percentile is 1, their mean 10
    higher = [value + 3.0 for value in twenty]
    rows = score_rows([seed(twenty, higher, [10.0] * 21), seed(higher, higher, twenty)], ARMS)
    assert [row["arm"] for row in rows] == list(ARMS)
    assert rows[0]["return"] == pytest.approx(11.5) and rows[0]["p5"] == pytest.approx(2.5)
    assert rows[0]["gain"] is None and rows[0]["p5_gain_interval"] is None
    paired = mean_interval([3.0, 0.0])
    assert rows[1]["gain"] == rows[1]["p5_gain"] == pytest.approx(1.5)
    assert rows[1]["gain_interval"] == rows[1]["p5_gain_interval"] == pytest.approx([paired.low, paired.high])
    assert rows[2]["gain"] == pytest.approx((0.0 - 3.0) / 2) and rows[2]["p5_gain"] == pytest.approx((9.0 - 3.0) / 2)


def test_every_arm_takes_the_same_steps_and_finished_runs_are_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[int, float, float]] = []
    train_expert = bench_replay.train_expert

    def training(env: str, **options: Any) -> Any:
        synthetic = options["config"].dqn.synthetic
        trained.append((options["seed"], synthetic.share, synthetic.rare))
        return train_expert(env, **options)

    monkeypatch.setattr(bench_replay, "train_expert", training)
    words = [*WORDS, "--out", str(tmp_path / "o"), "--json"]
    assert main([*words, "--seeds", "1", "--arms", "plain", "rare"]) == 0
    assert trained == [(0, 0.0, 0.0), (0, 0.5, 0.5)]
    assert main([*words, "--seeds", "1"]) == 0
    assert trained[2:] == [(0, 0.5, 0.0)]
    data = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["arm"] for row in data["rows"]] == list(ARMS)
    assert [len(data["per_seed"][0][arm]["returns"]) for arm in ARMS] == [3, 3, 3]
    steps = {json.loads((tmp_path / "o" / "seed-0" / arm / "summary.json").read_text())["steps"] for arm in ARMS}
    assert len(steps) == 1
    assert main([*words, "--dqn.gamma", "0.5"]) == 2
    assert "cannot resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["CartPole-v1", "--algo", "ppo"], "--algo: 'ppo', expected dqn or sac"),
        (["CartPole-v1"], "--algo: 'ppo', expected dqn or sac"),
        (["--algo", "dqn"], "the environment comes first"),
        (["ALE/Pong-v5", "--algo", "dqn"], "ALE/Pong-v5 shows images (4x84x84 bytes), expected vectors"),
        (["CartPole-v1", "--algo", "dqn", "--dqn.synthetic.actions", "policy"], "expected --arms plain synthetic"),
        (["CartPole-v1", "--algo", "dqn", "--steps", "9999"], "refit_every: 10000, expected less than the 9999 steps"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "replay", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
