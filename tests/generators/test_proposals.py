"""The generative player of the imitation game: what it proposes, and which of it counts as plausible."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from toy_data import make_demos

from gail.demos.types import Demonstrations, to_transitions
from gail.generators.proposals import Proposals


def new(kind: str = "vae", *, discrete: bool = False) -> tuple[Proposals, Demonstrations]:
    demos = make_demos(discrete=discrete)
    return Proposals(kind, demos, to_transitions(demos), 0), demos


def scripted(proposals: Proposals, samples: Tensor) -> tuple[Any, Tensor]:
    proposals.generative.sample = lambda n, condition=None: samples  # type: ignore[method-assign]
    return proposals.propose(len(samples))


@pytest.mark.parametrize("kind", ["vae", "gan", "diffusion"])
@pytest.mark.parametrize("discrete", [False, True])
def test_proposals_are_rows_like_the_experts(kind: str, discrete: bool) -> None:
    proposals, demos = new(kind, discrete=discrete)
    for turn in proposals.turns():
        proposals.players[turn.player].step(turn.batch, turn.rows)
    rows, plausible = proposals.propose(5)
    real = to_transitions(demos)
    for name in ("obs", "actions", "next_obs", "terminated"):
        ours, theirs = getattr(rows, name), getattr(real, name)
        assert ours.shape == (5, *theirs.shape[1:])
        assert ours.dtype == theirs.dtype, name
    assert plausible.shape == (5,)
    assert all(name.startswith("proposer_") for name in proposals.players)


def test_copies_and_rows_far_from_all_real_ones_are_not_plausible() -> None:
    proposals, _ = new()
    real = proposals.real
    between = (real[0:1] + real[1:2]) / 2
    distance = float(torch.cdist(between, real).min())
    assert proposals.near < distance < proposals.far, "the test needs a row at an ordinary distance"
    _, plausible = scripted(proposals, torch.cat([real[:3], between, real[:1] + 100.0]))
    assert plausible.tolist() == [False, False, False, True, False]


def test_near_and_far_are_quantiles_of_each_rows_distance_to_the_others() -> None:
    proposals, _ = new()
    distances = torch.cdist(proposals.real, proposals.real)
    distances.fill_diagonal_(torch.inf)
    nearest = distances.amin(1)
    assert proposals.near == pytest.approx(float(nearest.quantile(0.01)), abs=1e-4)
    assert proposals.far == pytest.approx(float(nearest.quantile(0.99)), abs=1e-4)


def test_the_player_learns_the_experts_rows() -> None:
    proposals, _ = new()

    def mean_distance() -> float:
        samples = proposals.generative.sample(256)
        return float(torch.cdist(samples, proposals.real).amin(1).mean())

    before = mean_distance()
    for _ in range(300):
        for turn in proposals.turns():
            proposals.players[turn.player].step(turn.batch, turn.rows)
    assert mean_distance() < 0.85 * before
