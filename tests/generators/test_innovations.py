"""Tokens of innovations: round trips, the density that a probability stands for, episodes that obey the model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_data import make_demos

from gail.core.errors import InputError
from gail.demos.types import Demonstrations, Trajectory
from gail.generators.fit import fit
from gail.generators.innovations import InnovationCodec, innovation_data
from gail.generators.load import codec_from_tree
from gail.generators.sample import sample


def walks(episodes: int, seed: int, *, discrete: bool = False) -> Demonstrations:
    """s' = 0.9 s + a + noise (wider where s > 0), reward s', 30 steps."""
    rng = np.random.default_rng(seed)
    trajectories = []
    for _ in range(episodes):
        states, actions = [rng.normal()], rng.integers(0, 2, 30)
        for action in actions:
            spread = 0.5 if states[-1] > 0 else 0.01
            states.append(0.9 * states[-1] + 0.4 * (2 * action - 1) + spread * rng.normal())
        obs = np.asarray(states, np.float32)[:, None]
        played = actions if discrete else (2.0 * actions - 1).astype(np.float32)[:, None]
        rewards = obs[1:, 0] + 0.01 * rng.normal(size=30)
        trajectories.append(Trajectory(obs, played, rewards.astype(np.float64), False, True))
    return Demonstrations(tuple(trajectories), env_id="Toy-v0")


@pytest.mark.parametrize("discrete", [False, True])
def test_windows_that_cover_an_episode_come_back_as_that_episode(discrete: bool) -> None:
    demos = walks(8, 0, discrete=discrete)
    data = innovation_data(demos, states=31, bins=400)  # as many as there are numbers: every bin is one value
    codec = codec_from_tree(data.codec.to_tree())
    for got, real in zip(codec.decode(data.encoded(torch.arange(8))[0]), demos, strict=True):
        np.testing.assert_allclose(got.observations, real.observations, atol=1e-4)
        np.testing.assert_array_equal(got.actions, real.actions)
        np.testing.assert_allclose(got.rewards, real.rewards, atol=1e-4)
        assert got.actions.dtype == real.actions.dtype and (got.terminated, got.truncated) == (False, True)


def codec_of(demos: Demonstrations, bins: int) -> InnovationCodec:
    codec = innovation_data(demos, states=8, bins=bins).codec
    assert isinstance(codec, InnovationCodec)
    return codec


def test_the_density_within_bins_integrates_to_one_per_bin() -> None:
    codec = codec_of(walks(20, 0), 12)
    column = codec.innovations.start
    grid = torch.linspace(-60, 60, 2_000_001, dtype=torch.float64).float()
    density = codec.log_density(column, grid).exp().double() * 120 / 2_000_000
    masses = torch.zeros(12, dtype=torch.float64).scatter_add_(0, codec.bins[column].tokens(grid), density)
    assert torch.allclose(masses, torch.ones(12, dtype=torch.float64), atol=0.02)
    inside = (codec.bins[column].edges[4] + codec.bins[column].edges[5]) / 2
    width = float(codec.bins[column].edges[5] - codec.bins[column].edges[4])
    assert float(codec.log_density(column, inside[None])) == pytest.approx(-math.log(width), rel=1e-5)


def test_equal_probabilities_of_all_tokens_give_the_histograms_density() -> None:
    demos = walks(20, 0)
    data = innovation_data(demos, states=31, bins=12)
    codec = data.codec
    assert isinstance(codec, InnovationCodec)
    items = data.items[data.index]
    found = codec.step_likelihood(torch.zeros(len(items), codec.shape[0], codec.vocabulary), items)
    by_hand = torch.zeros(found.model.shape)
    for column in range(codec.innovations.start, codec.innovations.stop):
        by_hand += codec.log_density(column, items[:, 1 + column]) - math.log(12)
    by_hand -= float(codec.segments.dynamics.log_volume)
    assert torch.allclose(found.model, by_hand, atol=1e-4)
    assert found.played.sum(1).tolist() == [30] * 20
    # The same measure as the Gaussian's: of near-normal numbers, twelve bins lose a little and heavy tails gain.
    assert abs(float((found.model - found.linear)[found.played].mean())) < 1.0


def test_a_model_that_sees_where_noise_is_wide_beats_the_linear_one_on_held_out_episodes() -> None:
    result = fit(
        "transformer", walks(60, 0), data_kind="innovations", length=4, bins=16, holdout=0.2, steps=120, batch_size=32,
        width=32, layers=1, warmup=10, learning_rate=1e-2, previews=0, progress=False,
    )  # fmt: skip
    held = result.summary["held_out"]
    assert held["scored_steps"] == 12 * 30
    assert held["nats_per_step"] > held["linear_nats_per_step"] + 0.5
    drawn = sample(result, episodes=20)
    assert isinstance(drawn, Demonstrations) and drawn.generator is not None
    steps = np.concatenate([np.c_[t.observations[:-1], t.actions, t.observations[1:], t.rewards] for t in drawn])
    left = steps[:, 2] - 0.9 * steps[:, 0] - 0.4 * steps[:, 1]
    assert left[steps[:, 0] < -0.3].std() < 0.15 < left[steps[:, 0] > 0.3].std()
    assert np.corrcoef(steps[:, 2], steps[:, 3])[0, 1] > 0.99


def test_states_that_are_integers_are_refused() -> None:
    demos = make_demos()
    whole = replace(demos, trajectories=tuple(replace(t, observations=t.observations.astype(int) % 9) for t in demos))
    with pytest.raises(InputError, match="'observations' holds integers"):
        innovation_data(whole, states=4, bins=8)
