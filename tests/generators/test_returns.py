"""Trajectories as tokens: round trips, windows, and episodes drawn to a return that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_data import make_demos

from gail.core.errors import InputError
from gail.demos.types import Demonstrations, Trajectory
from gail.generators.columns import Bins
from gail.generators.fit import fit
from gail.generators.load import codec_from_tree
from gail.generators.returns import ReturnCodec, return_data, sample_episodes
from gail.generators.sample import sample


def test_few_values_are_their_own_bins() -> None:
    bins = Bins.of(torch.tensor([3.0, 1.0, 1.0, 7.0]), 4)
    assert bins.centers.tolist() == [1.0, 3.0, 7.0]
    assert bins.tokens(torch.tensor([1.0, 3.0, 7.0, -9.0, 99.0])).tolist() == [0, 1, 2, 0, 2]


def test_many_values_fill_their_bins_evenly() -> None:
    values = torch.randn(4000, generator=torch.Generator().manual_seed(0)).exp()
    bins = Bins.of(values, 10)
    places = bins.tokens(values)
    assert torch.bincount(places).tolist() == pytest.approx([400] * 10, abs=2)
    for token in range(10):
        assert float(bins.centers[token]) == pytest.approx(float(values[places == token].mean()), rel=1e-4)


def test_a_value_that_fills_several_bins_leaves_no_empty_one() -> None:
    values = torch.cat([torch.zeros(900), torch.linspace(1, 2, 100)])
    bins = Bins.of(values, 20)
    places = bins.tokens(values)
    assert len(bins.edges) == len(bins.centers) - 1
    assert bool((torch.bincount(places, minlength=len(bins.centers)) > 0).all())
    assert float(bins.centers[0]) == 0.0 and places[:900].unique().tolist() == [0]


@pytest.mark.parametrize("discrete", [False, True])
def test_windows_that_cover_an_episode_come_back_as_that_episode(discrete: bool) -> None:
    demos = make_demos(discrete=discrete)
    data = return_data(demos, states=15, bins=200)
    assert len(data) == 6
    codec = codec_from_tree(data.codec.to_tree())
    for got, real in zip(codec.decode(data.encoded(torch.arange(6))[0]), demos, strict=True):
        np.testing.assert_allclose(got.observations, real.observations, atol=1e-5)
        np.testing.assert_allclose(got.actions, real.actions, atol=1e-5)
        assert got.actions.dtype == real.actions.dtype
        np.testing.assert_allclose(got.rewards, real.rewards)
        assert (got.terminated, got.truncated) == (real.terminated, real.truncated)


def test_the_return_to_go_is_what_is_still_to_come() -> None:
    data = return_data(make_demos(), states=13, bins=200)
    codec = data.codec
    assert isinstance(codec, ReturnCodec)
    tokens = data.encoded(torch.tensor([0]))[0][0, 1:].reshape(13, codec.width)
    to_go = codec.value(0, tokens[:, 0])
    assert to_go.tolist() == [float(sum(range(t, 12))) for t in range(13)]


def test_only_the_first_window_of_an_episode_begins_it() -> None:
    data = return_data(make_demos(2), states=4, bins=50)
    codec = data.codec
    assert isinstance(codec, ReturnCodec)
    marks = data.encoded(torch.arange(len(data)))[0][:, 0]
    assert marks.tolist() == ([codec.start_mark] + [codec.middle_mark] * 9) * 2
    assert int(data.encoded(torch.arange(len(data)))[0].max()) < codec.vocabulary


def test_an_unknown_end_stays_unknown() -> None:
    demos = make_demos(2)
    vague = replace(demos, trajectories=tuple(replace(t, terminated=None, truncated=None) for t in demos))
    data = return_data(vague, states=15, bins=200)
    assert [t.terminated for t in data.codec.decode(data.encoded(torch.arange(2))[0])] == [None, None]


class Recorded:
    """A model that plays a recorded episode: the next token is the recorded one, wherever its window begins."""

    device = torch.device("cpu")

    def __init__(self, codec: ReturnCodec, rows: torch.Tensor) -> None:
        self.codec, self.flat = codec, rows.flatten()
        self.seen: list[torch.Tensor] = []

    def start(self, n: int, labels: torch.Tensor | None = None) -> tuple[dict, torch.Tensor]:
        self.seen.append(torch.empty(n, 0, dtype=torch.int64))
        return {}, torch.zeros(n, self.codec.vocabulary)

    def feed(self, tokens: torch.Tensor, state: dict) -> torch.Tensor:
        self.seen[-1] = torch.cat([self.seen[-1], tokens], dim=1)
        assert self.seen[-1].shape[1] <= self.codec.shape[0] - 1, "fed beyond the window"
        window = self.seen[-1][0, 1:]
        if self.seen[-1][0, 0] == self.codec.middle_mark and len(self.seen[-1][0]) > 1:
            starts = self.flat.unfold(0, len(window), 1)
            place = int(torch.nonzero((starts == window).all(1))[0]) + len(window)
        else:
            place = len(window)
        return torch.nn.functional.one_hot(self.flat[[place]], self.codec.vocabulary).float().expand(len(tokens), -1)


@pytest.mark.parametrize("states", [2, 3, 5, 13, 20])
def test_an_episode_is_drawn_across_windows_as_one(states: int) -> None:
    demos = make_demos(2)
    data = return_data(demos, states=states, bins=200)
    codec = data.codec
    assert isinstance(codec, ReturnCodec)
    whole = return_data(demos, states=13, bins=200)
    rows = whole.encoded(torch.tensor([1]))[0][0, 1:].reshape(13, codec.width)
    model = Recorded(codec, rows)
    tokens = sample_episodes(model, codec, 2, lambda logits: logits.argmax(-1))
    (got, _), real = codec.decode(tokens), demos.trajectories[1]
    np.testing.assert_allclose(got.observations, real.observations)
    np.testing.assert_allclose(got.rewards, real.rewards)
    assert got.terminated is True and got.truncated is False


def test_the_asked_return_is_what_the_model_sees_minus_what_was_got() -> None:
    demos = make_demos(2)
    data = return_data(demos, states=13, bins=200)
    codec = data.codec
    assert isinstance(codec, ReturnCodec)
    rows = data.encoded(torch.tensor([0]))[0][0, 1:].reshape(13, codec.width)
    tokens = sample_episodes(Recorded(codec, rows), codec, 1, lambda logits: logits.argmax(-1), target_return=45.0)
    seen = codec.value(0, tokens[0, 1:].reshape(13, codec.width)[:, 0])
    exact = 45.0 - np.concatenate([[0], np.cumsum(np.arange(12))])
    # Bins stand for values of the data: the nearest of them is shown.
    values = codec.bins[0].centers.numpy()
    assert seen.tolist() == pytest.approx([values[np.abs(values - x).argmin()] for x in exact], abs=4)


def test_a_model_of_good_and_bad_episodes_gives_the_return_that_is_asked_for() -> None:
    def episode(good: bool, seed: int) -> Trajectory:
        obs = np.random.default_rng(seed).normal(size=(7, 1)).round()
        return Trajectory(obs, np.full(6, int(good)), np.full(6, 1.0 if good else 0.0), False, True)

    demos = Demonstrations(tuple(episode(i % 2 == 0, i) for i in range(20)))
    result = fit(
        "transformer", demos, steps=100, batch_size=16, length=7, width=32, layers=1, warmup=10, learning_rate=1e-2,
        previews=0, progress=False,
    )  # fmt: skip
    for target in (0.0, 6.0):
        drawn = sample(result, episodes=10, target_return=target)
        assert isinstance(drawn, Demonstrations) and drawn.generator is not None and drawn.kind == "episodes"
        assert np.abs(np.asarray([t.total_reward for t in drawn]) - target).mean() < 1.0


def test_a_window_needs_rewards_and_episodes() -> None:
    demos = make_demos()
    with pytest.raises(InputError, match="'rewards' is missing"):
        return_data(replace(demos, trajectories=tuple(replace(t, rewards=None) for t in demos)), states=4, bins=8)
