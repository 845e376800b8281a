"""PettingZoo environments as batches: deaths, joins, groups, seeds, saved states."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scripted_agents import DIE, Scripted

from gail.core.errors import EnvironmentFault, InputError
from gail.envs import check_environment, check_vec_env, make_vec, open_vec
from gail.envs.ids import require_registered
from gail.envs.multi_agent import UnlikeAgents, episode_seed, make_multi_agent, make_shared
from gail.envs.pettingzoo_family import PETTINGZOO
from gail.envs.resolve import load_named

A0, A1, A2 = 0, 1, 2


def play(env, steps):
    """Steps of ``env`` with action t in every row."""
    return [env.step(torch.full((env.num_envs,), t % 5)) for t in range(steps)]


def test_an_agent_that_dies_waits_until_the_others_are_done() -> None:
    env = make_shared(Scripted, 1)
    assert env.reset(70).tolist() == [[70, 0, 0], [70, 0, 1], [0, 0, 0]]
    steps = play(env, 6)
    assert [s.valid[A1].item() for s in steps] == [True, True, True, False, False, True]
    assert [s.terminated[A1].item() for s in steps] == [False, False, True, False, False, False]
    assert steps[2].next_obs[A1].tolist() == [70, 3, 1]  # its own last observation
    assert steps[2].obs[A1].tolist() == [0, 0, 0]
    assert steps[3].next_obs[A1].tolist() == steps[3].obs[A1].tolist() == [0, 0, 0]
    assert [s.reward[A1].item() for s in steps] == [110, 121, 132, 0, 0, 110]


def test_an_agent_that_joins_is_valid_from_its_first_action_on() -> None:
    env = make_shared(Scripted, 1)
    env.reset(70)
    steps = play(env, 6)
    assert [s.valid[A2].item() for s in steps] == [False, False, True, True, True, False]
    assert steps[1].obs[A2].tolist() == steps[1].next_obs[A2].tolist() == [70, 2, 2]
    assert [s.reward[A2].item() for s in steps] == [0, 0, 232, 243, 254, 0]
    assert [s.terminated[A2].item() for s in steps] == [False] * 4 + [True, False]


def test_the_episode_restarts_when_nobody_lives() -> None:
    env = make_shared(Scripted, 1)
    env.reset(70)
    steps = play(env, 6)
    following = episode_seed(70, 1)
    assert steps[4].truncated.tolist() == [True, False, False] and steps[4].terminated.tolist() == [False, False, True]
    assert steps[4].next_obs.tolist() == [[70, 5, 0], [following, 0, 1], [70, 5, 2]]
    assert steps[4].obs.tolist() == [[following, 0, 0], [following, 0, 1], [0, 0, 0]]
    assert [s.info["episode_over"].tolist() for s in steps] == [[False] * 3] * 4 + [[True] * 3, [False] * 3]


def test_copy_i_is_seeded_with_seed_plus_i_and_its_rows_lie_together() -> None:
    env = make_shared(Scripted, 3)
    assert (env.num_envs, env.rows_per_env, env.agents) == (9, 3, ("a_0", "a_1", "a_2"))
    assert env.reset(5)[:, 0].tolist() == [5, 5, 0, 6, 6, 0, 7, 7, 0]
    assert env.reset()[:, 0].tolist()[::3] == [episode_seed(seed, 1) for seed in (5, 6, 7)]


def test_the_time_limit_cuts_those_who_live() -> None:
    env = make_shared(Scripted, 1, max_episode_steps=4)
    env.reset(70)
    steps = play(env, 4)
    assert steps[3].truncated.tolist() == [True, False, True]
    assert steps[3].obs[A0].tolist() == [episode_seed(70, 1), 0, 0]


def test_absent_agents_observe_an_element_of_the_space() -> None:
    from gymnasium import spaces

    from gail.envs.agent_group import nearest_to_zero

    assert nearest_to_zero(spaces.Box(np.float32([-1, 2]), np.float32([1, 3]))).tolist() == [0, 2]
    assert nearest_to_zero(spaces.Discrete(3, start=4)) == 4
    assert nearest_to_zero(spaces.MultiDiscrete([2, 2], start=[-3, 0])).tolist() == [-2, 0]


def test_agents_with_unlike_spaces_are_stepped_together_in_groups() -> None:
    env = make_multi_agent(Scripted, 2, wide=True)
    assert {name: group.agents for name, group in env.groups.items()} == {"a": ("a_0", "a_2"), "a-1": ("a_1",)}
    first = env.reset(70)
    assert first["a-1"].tolist() == [[70, 0, 1, 7], [71, 0, 1, 7]]
    for t in range(3):
        steps = env.step({"a": torch.full((4,), 1), "a-1": torch.full((2,), t)})
    assert steps["a-1"].reward.tolist() == [132, 132] and steps["a-1"].terminated.tolist() == [True, True]
    assert steps["a"].reward.tolist() == [31, 231, 31, 231]
    with pytest.raises(InputError, match=r"groups \['a'\], expected \['a', 'a-1'\]"):
        env.step({"a": torch.zeros(4)})


def test_unlike_spaces_are_refused_where_one_policy_is_to_play_all() -> None:
    with pytest.raises(InputError, match=r"unlike spaces: a \(a_0, a_2\); a-1 \(a_1\)"):
        make_shared(Scripted, 1, wide=True)


@pytest.mark.parametrize("wide", [False, True])
def test_every_group_keeps_the_contract(wide: bool) -> None:
    def group(copies, name):
        return make_multi_agent(Scripted, copies, wide=wide).groups[name]

    for name in make_multi_agent(Scripted, 1, wide=wide).groups:
        assert check_vec_env(group(3, name), steps=23, factory=lambda n, name=name: group(n, name)) == []


def test_a_restored_batch_goes_on_inside_its_episodes() -> None:
    env, other = make_shared(Scripted, 2), make_shared(Scripted, 2)
    env.reset(70)
    play(env, 7)
    state = env.state_dict()
    assert torch.equal(other.load_state_dict(state), env.step(torch.zeros(6)).obs * 0 + state["groups"]["a"]["obs"])
    env.load_state_dict(state)
    for ours, theirs in zip(play(env, 9), play(other, 9), strict=True):
        for name in ("obs", "next_obs", "reward", "terminated", "truncated", "valid"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    assert other.saves_state


def test_an_environment_that_does_not_repeat_itself_starts_anew_and_says_so() -> None:
    class Forgetful(Scripted):
        total = 0

        def step(self, actions):
            Forgetful.total += 1
            observations, *rest = super().step(actions)
            return {a: o + np.array([0, Forgetful.total, 0]) for a, o in observations.items()}, *rest

    env = make_shared(Forgetful, 1)
    env.reset(70)
    play(env, 2)
    assert env.load_state_dict(env.state_dict())[A0].tolist() == [episode_seed(70, 1), 0, 0]
    assert not env.saves_state


@pytest.mark.parametrize(
    ("fault", "problem", "step"),
    [
        ("raises", r"raised ValueError: out of fuel, in step at .*scripted_agents\.py:\d+", 2),
        ("nan", r"returned nan in the observation of agent 'a_1' at \[0\]", 2),
        ("unpaid", "returned nan in reward of agent 'a_0'", 2),
        ("free", "returned NoneType as reward of agent 'a_0', expected a number", 2),
        ("long", r"returned an observation for agent 'a_1' of float64 \[4\], expected float64 \[3\]", 2),
        ("scalar", r"returned an observation for agent 'a_1' of float64 \[\], expected float64 \[3\]", 2),
        ("complex", r"returned an observation for agent 'a_1' of complex128 \[3\], expected float64 \[3\]", 2),
        ("four", r"returned a tuple of 4 \(dict, dict, dict, dict\) from step, expected five dicts .*", 2),
        ("nothing", "returned NoneType from step, expected five dicts .*", 2),
        ("stays", "agent 'a_1' ended and is still in env.agents; expected it to leave .*", DIE),
        ("vanishes", "agent 'a_1' left without an end; expected it to leave .*", DIE),
        ("blind", "returned no observation for agent 'a_0', expected one for each that acts", 1),
        ("stranger", r"has agents \['x'\], which are not possible_agents", 1),
    ],
)
def test_an_environment_that_breaks_is_named_with_seed_step_and_actions(fault: str, problem: str, step: int) -> None:
    env = make_shared(Scripted, 2, fault=fault)
    env.reset(7)
    said = (
        rf"environment 0 \(seed 7\): {problem}, in step {step} of episode 0 since that seed, action \{{'a_0': \d.*\}}$"
    )
    with pytest.raises(EnvironmentFault, match=said):
        play(env, 3)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("unready", r"raised ValueError: out of stock, in reset at .*scripted_agents\.py:\d+"),
        ("half", r"returned dict from reset, expected a tuple \(observations, infos\)"),
        ("empty", r"has no living agent after reset\(seed=7\), expected at least one"),
        ("lost", r"returned nan in the observation from reset of agent 'a_0' at \[1\]"),
    ],
)
def test_a_reset_that_breaks_is_named_with_its_seed(fault: str, problem: str) -> None:
    env = make_shared(Scripted, 2, fault=fault)
    with pytest.raises(EnvironmentFault, match=rf"environment 0 \(seed 7\): {problem}, at the start of episode 0"):
        env.reset(7)


def test_frames_are_those_of_each_rows_copy() -> None:
    env = make_shared(Scripted, 2, render_mode="rgb_array")
    env.reset(0)
    play(env, 2)
    assert [frame[0, 0, 0] for frame in env.render()] == [2] * 6


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("nowhere.env_v0", {}, "module 'nowhere' is missing; install it with: pip install 'gail-toolkit"),
        ("pettingzoo.butterfly.pistonbal_v6", {}, "did you mean pettingzoo.butterfly.pistonball_v6"),
        ("mpe2.simple_spread_v3", {"agents": 4}, "unknown keyword 'agents', expected one of N, local_ratio"),
        ("gail.core.errors", {}, "neither parallel_env nor env"),
    ],
)
def test_what_cannot_be_made_is_refused_with_advice(env_id: str, kwargs: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_vec(env_id, 1, **kwargs)


def test_a_file_may_name_pettingzoos_modules_and_no_others() -> None:
    assert require_registered("mpe2.simple_spread_v3", "file") == "mpe2.simple_spread_v3"
    assert require_registered("pettingzoo.classic.chess_v6", "file") == "pettingzoo.classic.chess_v6"
    for env_id in ("my_package.my_env_v0", "os.path", "pettingzoo.utils.env", "mpe2.simple.simple"):
        with pytest.raises(InputError, match="which names code to run"):
            require_registered(env_id, "file")


def test_the_installed_modules_are_listed_without_importing_them() -> None:
    assert {"mpe2.simple_tag_v3", "pettingzoo.atari.pong_v3", "pettingzoo.classic.chess_v6"} <= set(PETTINGZOO.ids())


def test_the_checker_looks_at_every_group_and_asks_pettingzoo(monkeypatch: pytest.MonkeyPatch) -> None:
    report = check_environment("mpe2.simple_tag_v3", num_envs=2, steps=30)
    assert (report.findings, report.checkers) == ((), ("pettingzoo", "contract"))
    monkeypatch.setattr("gail.envs.pettingzoo.find_maker", lambda env_id: functools.partial(Scripted, wide=True))
    monkeypatch.setattr(Scripted, "_obs", lambda self, agent: -np.ones(self.observation_space(agent).shape) - self.t)
    report = check_environment("mpe2.simple_tag_v3", num_envs=2, steps=30)
    assert [finding.rule for finding in report.findings] == ["obs-in-space"] * 2  # one per group


@pytest.mark.parametrize("make", [Scripted, lambda **kwargs: Scripted(**kwargs)])
def test_make_vec_plays_what_a_callable_makes_in_pettingzoos_interface(make) -> None:
    env = make_vec(make, 2, max_episode_steps=4)
    assert (env.num_envs, env.rows_per_env, env.max_episode_steps) == (6, 3, 4)
    assert env.env_id.startswith("callable:")
    assert env.reset(70)[:, 0].tolist() == [70, 70, 0, 71, 71, 0]
    assert play(env, 4)[3].truncated.tolist() == [True, False, True] * 2


_COUNTED = """
def make(**kwargs): return Scripted(**kwargs)
Scripted.made = []
init = Scripted.__init__
def counting(self, *args, **kwargs):
    self.made.append(self)
    init(self, *args, **kwargs)
Scripted.__init__ = counting
"""


@pytest.mark.parametrize("name", ["Scripted", "make"])
def test_a_class_or_function_in_a_file_is_played_and_none_is_made_only_to_look(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    source = Path(__file__).with_name("scripted_agents.py").read_text()
    file = tmp_path / "game.py"
    file.write_text(source + _COUNTED)
    env = make_vec(f"{file}:{name}", 2, max_episode_steps=4)
    assert (env.env_id, env.num_envs, env.rows_per_env) == (f"{file}:{name}", 6, 3)
    assert env.reset(70)[:, 0].tolist() == [70, 70, 0, 71, 71, 0]
    assert len(load_named(f"{file}:Scripted").made) == 2
    with pytest.raises(UnlikeAgents, match="agents have unlike spaces"):
        make_vec(f"{file}:{name}", 1, wide=True)
    assert len(make_multi_agent(f"{file}:{name}", 1, wide=True).groups) == 2


@pytest.mark.parametrize("make", [Scripted, lambda: Scripted(), Scripted()])
def test_the_checker_asks_pettingzoo_about_whatever_makes_an_environment(make) -> None:
    assert check_environment(make, steps=20).checkers[0] == "pettingzoo"


def test_the_checker_does_without_pettingzoos_test_where_that_cannot_be_imported(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pettingzoo.test", None)  # it needs pytest
    assert check_environment(Scripted, num_envs=1, steps=5).checkers == ("contract",)


def test_pettingzoo_has_no_worker_processes() -> None:
    with pytest.raises(InputError, match=r"has no backend 'async', expected one of auto, sync"):
        make_vec(Scripted, 2, backend="async")


def test_make_vec_takes_one_pettingzoo_environment_and_leaves_it_open() -> None:
    class Closable(Scripted):
        closed = False

        def close(self):
            self.closed = True

    own = Closable()
    with open_vec(own, 1) as env:
        assert env.reset(3)[:, 0].tolist() == [3, 3, 0]
        assert play(env, 3)[2].terminated.tolist() == [False, True, False]
    assert not own.closed
    with pytest.raises(InputError, match="is one environment, found num_envs 2; pass what makes it"):
        make_vec(own, 2)


def test_a_callable_that_makes_neither_kind_is_refused() -> None:
    class Neither:
        unwrapped, metadata = None, {"render_modes": []}

        def close(self):
            pass

    with pytest.raises(InputError, match=r"makes .*, expected a gymnasium\.Env"):
        make_vec(Neither, 1)


def test_an_environment_that_draws_nothing_says_how_to_make_it() -> None:
    class Blind(Scripted):
        def render(self):
            return None

    env = make_vec(Blind, 1)
    env.reset(0)
    with pytest.raises(InputError, match=r"render\(\) returned nothing, expected a frame; make it with render_mode"):
        env.render()
