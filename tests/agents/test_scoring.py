"""Evaluating runs: Atari by protocol with published scores beside, several runs, random play."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gail.agents.atari_scores import PUBLISHED
from gail.agents.entrants import RANDOM, find_entrants
from gail.agents.evaluate import Evaluation
from gail.agents.policy import new_policy, save_policy
from gail.agents.scoring import evaluate, evaluate_runs
from gail.core.errors import InputError
from gail.core.rundir import write_summary
from gail.envs import make_vec

pytestmark = pytest.mark.usefixtures("short_protocols")
SavePolicy = Callable[..., Path]


def test_an_atari_result_holds_protocol_keywords_and_normalized_score(
    tmp_path: Path, ram_policy: SavePolicy, short_protocols: int
) -> None:
    file = ram_policy(tmp_path / "policy.safetensors", "Boxing", reward_clipping=True)
    result = evaluate(file, protocol="dqn", seed=3)
    assert (result["env_id"], result["protocol"], result["episodes"]) == ("ALE/Boxing-v5", "dqn", 30)
    assert result["env_kwargs"]["obs_type"] == "ram" and not result["env_kwargs"]["reward_clipping"]
    assert result["length_mean"] == short_protocols / 4
    scores = PUBLISHED["Boxing"]
    assert (result["published"]["random"], result["published"]["human"]) == (scores.random, scores.human)
    assert result["human_normalized"] == pytest.approx((result["return_mean"] - 0.1) / 12.0)
    assert result["expert_return"] is result["normalized_return"] is result["random_return"] is None
    again = evaluate(file, protocol="dqn", seed=3)
    assert again == result


def test_what_the_training_measured_stands_beside_the_published_scores(tmp_path: Path, ram_policy: SavePolicy) -> None:
    ram_policy(tmp_path / "policy.safetensors", "Boxing")
    write_summary(tmp_path, {"random_return": 2.0, "expert_return": 10.0})
    result = evaluate(tmp_path, episodes=1)
    assert (result["random_return"], result["expert_return"]) == (2.0, 10.0)
    assert result["normalized_return"] == (result["return_mean"] - 2.0) / 8.0


def test_a_game_without_published_scores_has_none(tmp_path: Path, ram_policy: SavePolicy) -> None:
    result = evaluate(ram_policy(tmp_path / "policy.safetensors", "Adventure"), episodes=1)
    assert result["published"] is result["human_normalized"] is None


def test_other_environments_keep_their_result(tmp_path: Path) -> None:
    env = make_vec("CartPole-v1", 1)
    save_policy(new_policy(env, 0), tmp_path / "policy.safetensors", env_id="CartPole-v1", env_kwargs={})
    result = evaluate(tmp_path, episodes=5)
    assert result["protocol"] is None and "human_normalized" not in result
    assert result["random_return"] == pytest.approx(22, abs=4)


def test_several_runs_have_a_mean_over_runs(tmp_path: Path) -> None:
    env = make_vec("CartPole-v1", 1)
    for seed in (0, 1, 2):
        folder = tmp_path / "run" / f"seed-{seed}"
        save_policy(new_policy(env, seed), folder / "policy.safetensors", env_id="CartPole-v1", env_kwargs={})
    # A negative control inside a run is no run of its own.
    save_policy(new_policy(env, 9), folder / "control" / "policy.safetensors", env_id="CartPole-v1", env_kwargs={})
    result = evaluate_runs(find_entrants([tmp_path]), episodes=4, deterministic=False)
    assert [Path(run["policy"]).name for run in result["runs"]] == ["seed-0", "seed-1", "seed-2"]
    means = [run["return_mean"] for run in result["runs"]]
    assert result["return_mean"] == pytest.approx(sum(means) / 3)
    assert result["return_interval"][0] < min(result["return_mean"], *result["return_interval"][1:])


def test_random_play_is_an_entrant_of_any_environment() -> None:
    result = evaluate(None, env_id="Boxing", episodes=2)
    assert (result["policy"], result["env_kwargs"]["obs_type"]) == ("random", "pixels")
    with pytest.raises(InputError, match="--policy random: plays any environment"):
        evaluate_runs([RANDOM])


def test_runs_of_different_games_are_refused(tmp_path: Path, ram_policy: SavePolicy) -> None:
    ram_policy(tmp_path / "a" / "policy.safetensors", "Pong")
    ram_policy(tmp_path / "b" / "policy.safetensors", "Boxing")
    with pytest.raises(InputError, match=r"a plays ALE/Pong-v5 and .*b plays ALE/Boxing-v5"):
        evaluate_runs(find_entrants([tmp_path]))


def test_the_same_policy_does_not_count_twice(tmp_path: Path, ram_policy: SavePolicy) -> None:
    ram_policy(tmp_path / "a" / "policy.safetensors", "Pong")
    ram_policy(tmp_path / "b" / "policy.safetensors", "Pong")
    with pytest.raises(InputError, match=r"b: the same policy as .*a; it would count twice"):
        find_entrants([tmp_path / "a", tmp_path / "b"])


def test_a_policy_of_another_action_set_is_refused_and_machado_takes_it(tmp_path: Path, ram_policy: SavePolicy) -> None:
    file = ram_policy(tmp_path / "policy.safetensors", "Pong", full_action_space=True)
    with pytest.raises(InputError, match=r"Discrete\(18\), protocol v5 plays with Discrete\(6\).*minimal.*machado"):
        evaluate(file)
    result = evaluate(file, protocol="machado")
    assert result["env_kwargs"]["full_action_space"] and result["episodes"] == 100
    with pytest.raises(InputError, match=r"Discrete\(18\), protocol machado plays with Discrete\(6\)"):
        evaluate(file, protocol="machado", env_kwargs={"full_action_space": False})


def test_folders_without_policies_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no policy\.safetensors"):
        find_entrants([tmp_path / "empty"])
    with pytest.raises(InputError, match="no such file"):
        find_entrants([tmp_path / "missing"])


def test_each_run_stands_beside_random_play_with_its_own_keywords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[dict[str, Any]] = []

    def random_play(env: str, env_kwargs: dict[str, Any]) -> Evaluation:
        played.append(env_kwargs)
        return Evaluation(np.full(2, env_kwargs["g"]), np.ones(2))

    monkeypatch.setattr("gail.agents.scoring.random_return", random_play)
    policy = new_policy(make_vec("Pendulum-v1", 1), 0)
    for seed, gravity in enumerate((9.0, 10.0, 9.0)):
        file = tmp_path / f"seed-{seed}" / "policy.safetensors"
        policy.critic[-1].bias.data.fill_(float(seed))
        save_policy(policy, file, env_id="Pendulum-v1", env_kwargs={"g": gravity})
    runs = evaluate_runs(find_entrants([tmp_path]), episodes=1)["runs"]
    assert [run["random_return"] for run in runs] == [9.0, 10.0, 9.0] and played == [{"g": 9.0}, {"g": 10.0}]
