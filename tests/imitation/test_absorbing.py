"""Absorbing states: shares and the closed form of the tail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gail.demos.types import Demonstrations, Trajectory
from gail.imitation.absorbing import GeneratedShare, absorbing_steps, expert_share


def episode(length: int, terminated: bool | None) -> Trajectory:
    truncated = None if terminated is None else not terminated
    return Trajectory(np.zeros((length + 1, 1)), np.zeros(length), np.zeros(length), terminated, truncated)


def test_the_tail_is_the_geometric_sum_up_to_the_time_limit() -> None:
    steps = absorbing_steps(torch.tensor([7, 10, 12]), gamma=0.9, time_limit=10)
    assert steps.tolist() == pytest.approx([1 + 0.9 + 0.81, 0.0, 0.0], rel=1e-5)
    assert float(absorbing_steps(torch.tensor([3]), gamma=0.9, time_limit=None)) == pytest.approx(10.0)


def test_only_terminations_of_the_expert_count() -> None:
    truncated = Demonstrations((episode(10, False), episode(4, None)))
    assert expert_share(truncated, gamma=0.9, time_limit=10) == 0.0
    mixed = Demonstrations((episode(10, False), episode(9, True)))
    # One absorbing step (gamma^0) beside 19 real ones.
    assert expert_share(mixed, gamma=0.9, time_limit=10) == pytest.approx(1 / 20)


def test_the_generated_share_remembers_the_whole_run() -> None:
    share = GeneratedShare(gamma=0.9, time_limit=None, device=torch.device("cpu"))
    valid = torch.ones(5, 2, dtype=torch.bool)
    ended, lengths = torch.zeros_like(valid), torch.zeros(5, 2, dtype=torch.int64)
    ended[3, 1], lengths[3, 1] = True, 4
    # One termination: 10 absorbing steps beside 10 real ones.
    assert float(share.update(lengths, ended, valid)) == pytest.approx(0.5)
    nothing = torch.zeros_like(valid)
    assert float(share.update(lengths * 0, nothing, valid)) == pytest.approx(10 / 30)


def test_truncated_episodes_add_no_absorbing_steps() -> None:
    share = GeneratedShare(gamma=0.9, time_limit=None, device=torch.device("cpu"))
    valid = torch.ones(2, 1, dtype=torch.bool)
    lengths = torch.tensor([[0], [9]])
    assert float(share.update(lengths, torch.zeros_like(valid), valid)) == 0.0
