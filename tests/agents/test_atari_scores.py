"""The published tables: complete, spelled as ALE spells them, and normalized the right way round."""

from __future__ import annotations

import ale_py
import gymnasium as gym
import pytest

from gail.agents.atari_scores import ATARI26, ATARI57, PUBLISHED, game_of, published_scores


def test_every_game_is_an_environment_of_ale() -> None:
    gym.register_envs(ale_py)
    assert len(ATARI57) == len(set(ATARI57)) == 57 and len(set(ATARI26)) == 26
    assert set(ATARI26) < set(ATARI57)
    assert [game for game in ATARI57 if f"ALE/{game}-v5" not in gym.registry] == []


def test_the_human_beats_random_play_on_every_game() -> None:
    assert all(scores.human > scores.random for scores in PUBLISHED.values())


@pytest.mark.parametrize(
    ("agent", "game", "score", "percent"),
    [
        ("random", "Pong", -20.7, 0.0),
        ("human", "Pong", 14.6, 100.0),
        ("better than the human", "Pong", 18.8, 100 * 39.5 / 35.3),
        ("half way", "Skiing", (-17098.1 - 4336.9) / 2, 50.0),
    ],
)
def test_normalized_scores_are_percentages_of_the_way_from_random_to_human(
    agent: str, game: str, score: float, percent: float
) -> None:
    assert 100 * PUBLISHED[game].human_normalized(score) == pytest.approx(percent, abs=0.05), agent


def test_only_v5_ids_of_ale_have_published_scores() -> None:
    assert published_scores("ALE/Pong-v5") == PUBLISHED["Pong"]
    assert published_scores("ALE/Adventure-v5") is None and game_of("ALE/Adventure-v5") == "Adventure"
    assert game_of("Pong-v4") is game_of("CartPole-v1") is published_scores("CartPole-v1") is None
