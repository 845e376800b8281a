"""Advantages against numbers computed by hand."""

from __future__ import annotations

import pytest
import torch

from gail.agents.gae import advantages


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def flags(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.bool)[:, None]


NO = flags(0, 0, 0)


def gae(
    rewards: torch.Tensor,
    values: torch.Tensor,
    next_values: torch.Tensor,
    terminated: torch.Tensor = NO,
    truncated: torch.Tensor = NO,
) -> list[float]:
    result = advantages(rewards, values, next_values, terminated, truncated, gamma=0.5, gae_lambda=0.5)
    return result[:, 0].tolist()


def test_normal_rows_chain_to_the_rollouts_end() -> None:
    # deltas: 1 + .5*2 - 1 = 1;  2 + .5*3 - 2 = 1.5;  3 + .5*4 - 3 = 2
    # A2 = 2;  A1 = 1.5 + .25*2 = 2;  A0 = 1 + .25*2 = 1.5
    assert gae(column(1, 2, 3), column(1, 2, 3), column(2, 3, 4)) == [1.5, 2.0, 2.0]


def test_terminated_row_neither_bootstraps_nor_chains() -> None:
    # delta1 = 2 - 2 = 0, and row 2 (another episode) leaves it alone: A1 = 0, A0 = 1 + .25*0 = 1
    assert gae(column(1, 2, 3), column(1, 2, 3), column(2, 9, 4), terminated=flags(0, 1, 0)) == [1.0, 0.0, 2.0]


def test_truncated_episode_bootstraps_from_true_successor() -> None:
    # delta1 = 2 + .5*9 - 2 = 4.5 with the true successor's value 9, the chain still cut: A0 = 1 + .25*4.5
    assert gae(column(1, 2, 3), column(1, 2, 3), column(2, 9, 4), truncated=flags(0, 1, 0)) == [2.125, 4.5, 2.0]


def test_a_rollout_cut_in_the_middle_of_an_episode_bootstraps_from_its_last_successor() -> None:
    assert gae(column(0, 0, 0), column(0, 0, 0), column(0, 0, 8)) == [0.25, 1.0, 4.0]


def test_lambda_one_gives_discounted_returns_minus_values() -> None:
    rewards, values = torch.randn(6, 2), torch.randn(6, 2)
    next_values = torch.cat([values[1:], torch.randn(1, 2)])
    never = torch.zeros(6, 2, dtype=torch.bool)
    result = advantages(rewards, values, next_values, never, never, gamma=0.9, gae_lambda=1.0)
    expected, running = [], next_values[-1]
    for t in reversed(range(6)):
        running = rewards[t] + 0.9 * running
        expected.append(running - values[t])
    assert torch.allclose(result, torch.stack(expected[::-1]), atol=1e-5)


@pytest.mark.parametrize("flag", ["terminated", "truncated"])
def test_no_advantage_leaks_into_the_previous_episode(flag: str) -> None:
    ends = {flag: flags(0, 1, 0)}
    calm = gae(column(1, 2, 3), column(1, 2, 3), column(2, 9, 4), **ends)
    wild = gae(column(1, 2, 1e6), column(1, 2, 3), column(2, 9, 4), **ends)
    assert calm[:2] == wild[:2]
