"""Averaged weights and warm-up: what generators ask of a player."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gail.core.player import Player


def line(**options: float | int) -> Player:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)

    def loss(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return module(batch).mean(), {}

    return Player("line", module, loss, learning_rate=0.1, **options)  # type: ignore[arg-type]


def weight(player: Player) -> float:
    return float(player.module.weight.detach())  # type: ignore[operator, union-attr, arg-type]


def test_the_average_follows_the_weights_by_its_recursion() -> None:
    player, batch = line(average=0.5), torch.ones(4, 1)
    expected = 1.0
    for step in range(1, 6):
        player.step(batch, 4.0)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight(player)
        with player.averaged():
            assert weight(player) == pytest.approx(expected, rel=1e-6)


def test_own_weights_are_back_bit_for_bit_after_the_average_was_used() -> None:
    player, batch = line(average=0.9), torch.ones(4, 1)
    for _ in range(3):
        player.step(batch, 4.0)
    before = player.weights.detach().clone()
    with pytest.raises(RuntimeError, match="inside"), player.averaged():
        assert not torch.equal(player.weights.detach(), before)
        raise RuntimeError("inside")
    assert torch.equal(player.weights.detach(), before)


def test_adopting_the_average_makes_it_the_modules_weights() -> None:
    player = line(average=0.9)
    player.step(torch.ones(4, 1), 4.0)
    with player.averaged():
        expected = weight(player)
    player.adopt_average()
    assert weight(player) == expected


def test_without_an_average_the_weights_stand_for_it() -> None:
    player = line()
    player.step(torch.ones(4, 1), 4.0)
    before = weight(player)
    with player.averaged():
        assert weight(player) == before
    player.adopt_average()
    assert weight(player) == before


def test_warm_up_raises_the_learning_rate_linearly_and_then_leaves_the_schedule_alone() -> None:
    player, rates = line(warmup=4), []
    for _ in range(6):
        player.step(torch.ones(4, 1), 4.0)
        rates.append(player.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_state_goes_on_bit_for_bit_in_another_player() -> None:
    first, second, batch = line(average=0.9, warmup=3), line(average=0.9, warmup=3), torch.ones(4, 1)
    first.step(batch, 4.0)
    second.load_state_dict(first.state_dict())
    for player in (first, second):
        for _ in range(4):
            player.step(batch, 4.0)
    assert torch.equal(first.weights, second.weights)
    with first.averaged(), second.averaged():
        assert torch.equal(first.weights, second.weights)
