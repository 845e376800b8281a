"""Counter-based numbers and named streams."""

from __future__ import annotations

import torch

from gail.core.random import counter_uniform, derive_seed, seeded_initialization, stream_keys


def test_draws_of_a_stream_do_not_depend_on_its_neighbours() -> None:
    many = counter_uniform(stream_keys(torch.arange(8)), torch.arange(8), 5)
    alone = counter_uniform(stream_keys(torch.tensor([6])), torch.tensor([6]), 5)
    assert torch.equal(many[6:7], alone)


def test_numbers_are_uniform_and_uncorrelated() -> None:
    numbers = counter_uniform(stream_keys(torch.arange(20_000)), torch.zeros(20_000, dtype=torch.int64), 4)
    assert 0.0 <= float(numbers.min()) and float(numbers.max()) < 1.0
    assert torch.allclose(numbers.mean(0), torch.tensor(0.5), atol=0.01)
    assert torch.allclose(numbers.var(0), torch.tensor(1 / 12), atol=0.002)
    off_diagonal = torch.corrcoef(numbers.T) - torch.eye(4)
    assert float(off_diagonal.abs().max()) < 0.03


def test_neighbouring_seeds_and_episodes_share_no_numbers() -> None:
    keys = stream_keys(torch.arange(100))
    rows = torch.cat([counter_uniform(keys, torch.full((100,), e), 3, torch.float64) for e in range(20)])
    assert len(torch.unique(rows.flatten())) == rows.numel()


def test_double_precision_uses_more_bits_of_the_same_number() -> None:
    keys, counter = stream_keys(torch.arange(50)), torch.arange(50)
    single, double = (counter_uniform(keys, counter, 4, dtype) for dtype in (torch.float32, torch.float64))
    assert torch.allclose(single.double(), double, atol=1e-7)
    assert not torch.equal(single.double(), double)


def test_parts_of_a_run_have_seeds_of_their_own() -> None:
    seeds = {derive_seed(seed, name) for seed in range(50) for name in ("a", "b", "c")}
    assert len(seeds) == 150


def test_initialization_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with seeded_initialization(1, "policy"):
        first = torch.nn.Linear(2, 2).weight.detach().clone()
    assert torch.equal(torch.rand(3), expected)
    with seeded_initialization(1, "policy"):
        assert torch.equal(torch.nn.Linear(2, 2).weight, first)
