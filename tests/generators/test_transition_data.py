"""Demonstrations as transitions and segments: columns, round trips, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from toy_data import make_demos

from gail.core.errors import InputError
from gail.demos.join import unrelated_transitions
from gail.demos.types import Demonstrations
from gail.generators.fields import Scaling
from gail.generators.load import DataConfig, load_data
from gail.generators.transitions import segment_data, transition_data


def poisoned(demos: Demonstrations, name: str) -> Demonstrations:
    values = getattr(demos.trajectories[2], name).copy()
    values[3] = np.nan
    bad = replace(demos.trajectories[2], **{name: values})
    return replace(demos, trajectories=(*demos.trajectories[:2], bad, *demos.trajectories[3:]))


@pytest.mark.parametrize("discrete", [False, True])
def test_transitions_come_back_from_their_columns(discrete: bool) -> None:
    demos = make_demos(discrete=discrete)
    data = transition_data(demos)
    assert len(data) == demos.steps
    back = data.codec.decode(data.encoded(torch.arange(len(data)))[0])
    assert back.kind == "transitions" and all(len(t) == 1 for t in back)
    flat = [(t, s) for t in demos for s in range(len(t))]
    for (trajectory, step), got in zip(flat, back, strict=True):
        np.testing.assert_allclose(got.observations, trajectory.observations[step : step + 2], atol=1e-3)
        np.testing.assert_allclose(got.actions[0], trajectory.actions[step], atol=1e-3)
        assert got.actions.dtype == trajectory.actions.dtype and got.actions.shape[1:] == trajectory.actions.shape[1:]
        assert got.rewards[0] == pytest.approx(step, abs=1e-3)
        assert got.terminated == (step == 11 and bool(trajectory.terminated))


def test_columns_reach_the_network_in_unit_scale() -> None:
    data = transition_data(make_demos())
    encoded, _ = data.encoded(torch.arange(len(data)))
    std = encoded.std(0, correction=0)
    assert torch.allclose(encoded.mean(0), torch.zeros_like(std), atol=1e-4)
    # Both observation coordinates move by a constant every step: those columns carry nothing.
    assert sorted(std.round(decimals=3).tolist()) == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_generated_values_stay_in_the_range_that_occurred() -> None:
    data = transition_data(make_demos())
    wild = data.codec.decode(torch.full((3, *data.codec.shape), 50.0))
    real = np.concatenate([t.observations for t in make_demos()])
    assert all((t.observations <= real.max(0)).all() for t in wild)
    assert all(abs(t.actions).max() <= 2.0 for t in wild)


def test_what_never_varies_comes_back_exactly() -> None:
    columns = torch.tensor([[5.0, 1.0], [5.0, 3.0]])
    scaling = Scaling.of(columns)
    assert scaling.undo(torch.randn(4, 2))[:, 0].tolist() == [5.0] * 4
    assert scaling.apply(columns)[:, 0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("discrete", [False, True])
def test_segments_that_cover_an_episode_come_back_as_that_episode(discrete: bool) -> None:
    demos = make_demos(discrete=discrete)
    data = segment_data(demos, length=16)  # longer than the episodes of 13 states
    assert len(data) == 6 and data.codec.shape[1] == 16
    back = data.codec.decode(data.encoded(torch.arange(6))[0])
    for got, real in zip(back, demos, strict=True):
        np.testing.assert_allclose(got.observations, real.observations, atol=1e-3)
        np.testing.assert_allclose(got.actions, real.actions, atol=1e-3)
        np.testing.assert_allclose(got.rewards, real.rewards, atol=1e-3)
        assert (got.terminated, got.truncated) == (real.terminated, real.truncated)


def test_windows_lie_within_one_episode_and_are_views() -> None:
    demos = make_demos()
    data = segment_data(demos, length=5)
    assert len(data) == 6 * (13 - 5 + 1)
    states = data.codec.decode(data.encoded(torch.arange(len(data)))[0])
    for trajectory in states:
        assert np.allclose(np.diff(trajectory.observations[:, 0]), 1.0, atol=1e-3)
    assert data.items.untyped_storage().nbytes() == 6 * 13 * data.codec.shape[0] * 4


def test_a_window_in_the_middle_of_an_episode_has_no_end() -> None:
    data = segment_data(make_demos(), length=5)
    (first,) = data.codec.decode(data.encoded(torch.tensor([0]))[0])
    assert len(first) == 4 and first.terminated is False and first.truncated is False


def test_the_last_episodes_are_held_out() -> None:
    demos = make_demos()
    data = transition_data(demos, holdout=0.3)
    assert data.held_out is not None
    assert len(data) == 48 and len(data.held_out) == 24
    held = data.codec.decode(data.encoded(torch.arange(48))[0])
    assert max(t.observations[0, 0] for t in held) < 45
    segments = segment_data(demos, length=4, holdout=0.3).held_out
    assert segments is not None and len(segments) == 2 * 4  # 13 states in windows side by side, the last filled up


@pytest.mark.parametrize("make", [transition_data, lambda demos: segment_data(demos, length=4)])
@pytest.mark.parametrize("name", ["observations", "actions", "rewards"])
def test_nan_is_named_with_its_field_and_episode(make, name: str) -> None:
    with pytest.raises(InputError, match=rf"'{name}' of episode 2 holds NaN"):
        make(poisoned(make_demos(), name))


def test_mixed_shapes_are_named() -> None:
    demos = make_demos()
    odd = replace(demos.trajectories[1], observations=np.zeros((13, 3), np.float32))
    with pytest.raises(InputError, match=r"'observations' of episode 1 has shape \(3,\) per step, expected \(2,\)"):
        transition_data(replace(demos, trajectories=(demos.trajectories[0], odd)))


def test_too_little_data_is_refused() -> None:
    with pytest.raises(InputError, match="holds no episodes"):
        load_data(replace(make_demos(), trajectories=()))
    with pytest.raises(InputError, match="holds 1 transitions, expected at least 2"):
        transition_data(make_demos(1, 1))
    with pytest.raises(InputError, match="leaves none to learn from"):
        transition_data(make_demos(1), holdout=0.5)


def test_segments_need_rewards() -> None:
    demos = make_demos()
    bare = tuple(replace(t, rewards=None) for t in demos)
    with pytest.raises(InputError, match="'rewards' is missing"):
        load_data(replace(demos, trajectories=bare), DataConfig(data_kind="segments"))
    assert transition_data(replace(demos, trajectories=bare)).codec.rewards is False


@pytest.mark.parametrize("kind", ["segments", "returns", "innovations"])
def test_windows_are_not_made_of_unrelated_transitions(kind: Literal["segments", "returns", "innovations"]) -> None:
    steps = unrelated_transitions(make_demos())
    with pytest.raises(InputError, match="holds unrelated transitions, expected episodes"):
        load_data(steps, DataConfig(data_kind=kind, length=2))
