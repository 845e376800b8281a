"""The generative player of a replay: rows like the replay's, ends as a class of their own, scales that follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from gail.agents.synthetic import SyntheticConfig
from gail.core.engine import Turn
from gail.core.player import Player
from gail.demos.types import Transitions
from gail.generators.fields import field_of
from gail.generators.replay_model import ReplayModel

CONFIG = SyntheticConfig(share=0.5, generator="vae", updates=2)
BOX = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
SPACES = {
    "continuous": (BOX, gym.spaces.Box(-1.0, 1.0, (1,), np.float32)),
    "discrete": (BOX, gym.spaces.MultiDiscrete([3])),
    "numbered": (gym.spaces.Discrete(5, start=2), gym.spaces.MultiDiscrete([3])),
}


def rows_of(kind: str, ends: int = 10, count: int = 100) -> Transitions:
    """A walk to the right; where it ends, both numbers are far from where it goes on, and so is the reward."""
    generator = np.random.default_rng(0)
    ended = torch.arange(count) < ends
    if kind == "numbered":
        obs = torch.from_numpy(generator.integers(2, 7, count))
        next_obs = (obs - 1) % 5 + 2
    else:
        obs = torch.from_numpy(generator.normal(size=(count, 2))) + 20.0 * ended[:, None]
        next_obs = obs + 0.1
    if kind == "continuous":
        samples = torch.from_numpy(generator.uniform(-1, 1, (count, 1)).astype(np.float32))
    else:
        samples = torch.from_numpy(generator.integers(0, 3, (count, 1)))
    return Transitions(obs, samples, next_obs, ended, torch.where(ended, -5.0, 1.0))


def model(kind: str = "continuous", **changes: Any) -> ReplayModel:
    return ReplayModel(replace(CONFIG, **changes), *SPACES[kind], 0, torch.device("cpu"))


def train(made: ReplayModel, rows: Transitions) -> list[Turn]:
    turns = []
    for turn in made.turns(rows):
        made.players[turn.player].step(turn.batch, turn.rows)
        turns.append(turn)
    return turns


@pytest.mark.parametrize("generator", ["vae", "gan", "diffusion"])
@pytest.mark.parametrize("kind", SPACES)
def test_rows_are_like_those_of_the_replay(generator: str, kind: str) -> None:
    made, real = model(kind, generator=generator), rows_of(kind)
    train(made, real)
    drawn = made.sample(7)
    for name in ("obs", "actions", "next_obs", "terminated", "rewards"):
        ours, theirs = getattr(drawn, name), getattr(real, name)
        assert ours.shape == (7, *theirs.shape[1:]) and ours.dtype == theirs.dtype, name
    if kind == "numbered":
        assert 2 <= int(drawn.obs.min()) and int(drawn.obs.max()) <= 6
    if kind != "continuous":
        assert 0 <= int(drawn.actions.min()) and int(drawn.actions.max()) <= 2


@pytest.mark.parametrize(("rare", "learned", "drawn"), [(0.0, 0.25, 2), (0.125, 0.25, 12), (0.5, 0.5, 50), (1, 1, 100)])
def test_ends_are_as_many_as_asked_for_and_at_least_a_quarter_of_what_is_learned(
    rare: float, learned: float, drawn: int
) -> None:
    made = model(rare=rare)
    turns = train(made, rows_of("continuous", ends=2))
    for turn in turns:
        # The last column says how rows ended; two of the hundred did.
        ended = turn.batch.x[:, -1] > 1.0
        assert int(ended.sum()) == round(learned * len(ended)) and torch.equal(ended, turn.batch.labels == 1)
    assert int(made.sample(100).terminated.sum()) == drawn


@pytest.mark.parametrize("rare", [0.0, 0.5])
@pytest.mark.parametrize(("ends", "drawn"), [(0, 0), (100, 20)])
def test_where_a_class_is_empty_all_rows_are_of_the_other(ends: int, drawn: int, rare: float) -> None:
    made = model(rare=rare)
    train(made, rows_of("continuous", ends=ends))
    assert int(made.sample(20).terminated.sum()) == drawn


@pytest.mark.parametrize("rare", [0.0, 0.5])
def test_ends_are_learned_apart_from_the_rest(rare: float) -> None:
    made = model(rare=rare, updates=300)
    train(made, rows_of("continuous", ends=5))
    drawn = made.sample(400)
    for ended, place, reward in ((True, 20.0, -5.0), (False, 0.0, 1.0)):
        rows = drawn[drawn.terminated == ended]
        assert rows.rewards is not None
        assert float(rows.obs.mean()) == pytest.approx(place, abs=2.0)
        assert float(rows.rewards.mean()) == pytest.approx(reward, abs=1.0)
        torch.testing.assert_close(rows.next_obs, rows.obs + 0.1, atol=0.3, rtol=0.0)


def test_outcomes_are_those_of_the_given_states_and_actions() -> None:
    generator = torch.Generator().manual_seed(0)
    obs = 5.0 + 2.0 * torch.randn((2000, 2), generator=generator, dtype=torch.float64)
    actions = 2.0 * torch.rand((2000, 1), generator=generator) - 1.0
    ended = actions[:, 0] > 0.8  # a tenth of the rows
    real = Transitions(obs, actions, obs + torch.cat([actions, -actions], 1), ended, 3.0 * actions[:, 0])
    made = model("continuous", generator="diffusion", actions="policy", updates=600)
    train(made, real[:1800])
    for held_out in (real[1800:], real[1800:1801]):
        drawn = made.outcomes(held_out.obs, held_out.actions)
        assert torch.equal(drawn.obs, held_out.obs) and torch.equal(drawn.actions, held_out.actions)
        assert drawn.next_obs.dtype == torch.float64 and drawn.rewards is not None and held_out.rewards is not None
        assert float((drawn.next_obs - held_out.next_obs).abs().mean()) < 0.1
        assert float((drawn.rewards - held_out.rewards).abs().mean()) < 0.3
        assert float((drawn.terminated == held_out.terminated).float().mean()) > 0.95


def test_ends_of_outcomes_are_as_probable_as_in_the_replay_where_chance_decides() -> None:
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn((4000, 2), generator=generator, dtype=torch.float64)
    actions = 2.0 * torch.rand((4000, 1), generator=generator) - 1.0
    # To the left one in twenty ends, to the right none does.
    ended = (torch.rand(4000, generator=generator) < 0.05) & (obs[:, 0] < 0)
    made = model("continuous", generator="diffusion", actions="policy", updates=300)
    train(made, Transitions(obs, actions, obs + 0.1 * actions, ended, torch.ones(4000)))
    drawn = made.outcomes(obs, actions).terminated
    assert 0.03 < float(drawn[obs[:, 0] < -0.3].float().mean()) < 0.08
    assert float(drawn[obs[:, 0] > 0.3].float().mean()) < 0.005


@pytest.mark.parametrize(("ends", "expected"), [(0, False), (100, True)])
def test_outcomes_where_all_transitions_are_of_one_class(ends: int, expected: bool) -> None:
    made, real = model(generator="diffusion", actions="policy"), rows_of("continuous", ends=ends)
    assert {turn.player for turn in train(made, real)} == {"synthetic_denoiser"}
    assert bool((made.outcomes(real.obs, real.actions).terminated == expected).all())


@pytest.mark.parametrize("kind", SPACES)
def test_outcomes_have_the_types_of_the_replay(kind: str) -> None:
    made, real = model(kind, generator="diffusion", actions="policy"), rows_of(kind)
    train(made, real)
    drawn = made.outcomes(real.obs[:7], real.actions[:7])
    for name in ("obs", "actions", "next_obs", "terminated", "rewards"):
        ours, theirs = getattr(drawn, name), getattr(real, name)
        assert ours.shape == (7, *theirs.shape[1:]) and ours.dtype == theirs.dtype, name
    if kind == "numbered":
        assert 2 <= int(drawn.next_obs.min()) and int(drawn.next_obs.max()) <= 6


def test_scales_follow_the_replay_and_learning_rates_start_anew() -> None:
    made, rows = model(updates=3), rows_of("continuous", ends=0)
    (player,) = made.players.values()
    train(made, rows)
    slow = player.optimizer.param_groups[0]["lr"]
    moved = replace(rows, obs=rows.obs + 1000.0, next_obs=rows.next_obs + 1000.0)
    turns = made.turns(moved)
    first = next(turns)
    assert player.optimizer.param_groups[0]["lr"] == pytest.approx(3 * slow)
    assert abs(float(first.batch.x[:, 0].mean())) < 1.0
    list(turns)
    assert float(made.sample(50).obs.min()) > 900.0


@pytest.mark.parametrize(
    ("generator", "actions"), [("vae", "replay"), ("gan", "replay"), ("diffusion", "replay"), ("diffusion", "policy")]
)
def test_a_training_step_needs_no_read_back_and_draws_nothing(
    generator: str, actions: str, forbid_copies_and_draws: Callable[[], None]
) -> None:
    made = model(generator=generator, actions=actions, updates=1)
    turns = train(made, rows_of("continuous"))
    forbid_copies_and_draws()
    for turn in turns:
        made.players[turn.player].step(turn.batch, turn.rows)
    players = dict(made.generative.model.to("meta").players())
    if (ends := made.players.get("synthetic_ends")) is not None:
        players["ends"] = Player("ends", ends.module.to("meta"), ends.loss, learning_rate=1e-3)
    assert {turn.player.removeprefix("synthetic_") for turn in turns} == set(players)
    for turn in turns:
        batch = {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in vars(turn.batch).items()}
        players[turn.player.removeprefix("synthetic_")].step(type(turn.batch)(**batch), turn.rows)
    assert all(player.weights.grad is not None and player.weights.grad.is_meta for player in players.values())


def test_fields_of_spaces() -> None:
    assert field_of(gym.spaces.Discrete(5, start=2)).to_tree() == {"shape": [], "dtype": "int64", "low": 2, "count": 5}
    assert field_of(gym.spaces.MultiDiscrete([2, 4])).count == 4
    assert field_of(gym.spaces.Discrete(500)).count is None
    assert field_of(gym.spaces.Box(0, 255, (3,), np.uint8)).to_tree() == {
        "shape": [3],
        "dtype": "uint8",
        "low": 0,
        "count": None,
    }
