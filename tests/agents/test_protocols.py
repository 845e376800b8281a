"""Evaluation protocols: what they fix, what stays the policy's own, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from gail.agents.protocols import PROTOCOLS, choose_protocol
from gail.agents.setting import choose_setting
from gail.core.errors import InputError
from gail.envs import make_vec

TRAINED = {
    "frameskip": 5,
    "full_action_space": True,
    "repeat_action_probability": 0.0,
    "noop_max": 7,
    "episodic_life": True,
    "reward_clipping": True,
    "use_fire_reset": True,
    "stack_num": 2,
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("v5", (0.25, 4, 0, False, True)),
        ("machado", (0.25, 5, 0, True, False)),
        ("dqn", (0.0, 4, 30, False, False)),
    ],
)
def test_a_protocol_fixes_the_console_and_leaves_what_is_the_policys_own(name: str, expected: tuple[Any, ...]) -> None:
    kwargs = choose_setting("Pong", trained=TRAINED, protocol=name).env_kwargs
    names = ("repeat_action_probability", "frameskip", "noop_max", "full_action_space", "use_fire_reset")
    assert tuple(kwargs[key] for key in names) == expected
    assert kwargs["stack_num"] == 2 and kwargs["max_num_frames_per_episode"] == 108_000
    assert not kwargs["episodic_life"] and not kwargs["reward_clipping"]


def test_a_setting_plays_in_an_environment_with_exactly_its_keywords() -> None:
    setting = choose_setting("Pong", trained={}, protocol="dqn")
    env = make_vec(setting.env, 1, **setting.env_kwargs)
    assert env.env_id == "ALE/Pong-v5" and env.env_kwargs == setting.env_kwargs
    assert env.max_episode_steps == 27_000
    env.close()


@pytest.mark.parametrize(("name", "episodes"), [(None, 50), ("v5", 50), ("machado", 100), ("dqn", 30)])
def test_atari_games_are_played_by_v5_unless_asked_otherwise(name: str | None, episodes: int) -> None:
    setting = choose_setting("ALE/Pong-v5", trained={}, protocol=name)
    assert setting.plain()["protocol"] == (name or "v5") and setting.episodes == episodes


def test_other_environments_have_no_protocol_and_play_as_they_were_trained() -> None:
    setting = choose_setting("CartPole-v1", trained={"max_episode_steps": 9})
    assert (setting.protocol, setting.episodes, setting.env_kwargs) == (None, 50, {"max_episode_steps": 9})
    assert choose_protocol("Pong-v4", None) is None


def test_keywords_beside_the_protocol_are_added() -> None:
    setting = choose_setting("Pong", trained={"difficulty": 0}, env_kwargs={"mode": 1, "frameskip": 4})
    assert (setting.env_kwargs["mode"], setting.env_kwargs["difficulty"]) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"protocol": "v6"}, "--protocol: 'v6' is unknown, expected one of v5, machado, dqn"),
        ({"env": "CartPole-v1", "protocol": "dqn"}, "--protocol: dqn is for ALE/.* found CartPole-v1"),
        ({"env_kwargs": {"frameskip": 2}}, "frameskip is 2, but protocol v5 fixes it to 4"),
        ({"env_kwargs": {"episodic_life": True}}, "episodic_life is True, but protocol v5 fixes it to False"),
        ({"env_kwargs": {"max_episode_steps": 10}}, "max_episode_steps: protocol v5 fixes the limit to 108,000 frames"),
        ({"env_kwargs": {"colour": True}}, "unknown keyword 'colour'"),
        ({"protocol": "machado", "episodes": 99}, "--episodes: 99, protocol machado needs at least 100"),
        ({"protocol": "dqn", "episodes": 29}, "--episodes: 29, protocol dqn needs at least 30"),
        ({"episodes": 0}, "--episodes: 0"),
    ],
)
def test_settings_that_no_protocol_allows_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        choose_setting(**{"env": "Pong", "trained": {}, **arguments})


def test_every_protocol_names_its_source_and_can_be_played() -> None:
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name and protocol.source
        assert protocol.episodes >= protocol.fewest_episodes >= 1
