"""The engine: means over rounds, the guard, logs and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gail.core.checkpoint import load_tree, save_tree
from gail.core.engine import TrainingDiverged, Turn, train
from gail.core.errors import InputError
from gail.core.player import Player


class Regression:
    """A game with one player that fits y = 2x; every batch of a round has another size."""

    exact_resume = True

    def __init__(self, *, learning_rate: float = 0.05, split: int = 4, poison_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self.players: Mapping[str, Player] = {
            "model": Player("model", self.module, self.loss, learning_rate=learning_rate, anneal=True)
        }
        self.generator = torch.Generator().manual_seed(1)
        self.steps, self.split, self.poison_at = 0, split, poison_at

    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        error = (self.module(batch) - 2 * batch).square()
        return error.mean(), {"x": batch.mean()}

    def round(self) -> Iterator[Turn]:
        x = torch.rand(10, 1, generator=self.generator)
        if self.poison_at is not None and self.steps >= self.poison_at:
            x = x * float("nan")
        for part in x.split(self.split):
            yield Turn("model", part, float(len(part)))
        self.steps += 10

    def round_metrics(self) -> dict[str, float]:
        return {"return_mean": float(self.steps)}

    def shown_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        return {}

    def save_policy(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(self.steps))

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.generator.set_state(state["generator"])


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def run(game: Regression, directory: Path | None, steps: int, **options: Any) -> None:
    train(game, total_steps=steps, title="t", directory=directory, progress=False, **options)


@pytest.mark.parametrize("split", [1, 3, 4, 10])
def test_metrics_are_means_over_the_round_whatever_the_minibatch_size(split: int, tmp_path: Path) -> None:
    run(Regression(learning_rate=0.0, split=split), tmp_path, 30)
    run(Regression(learning_rate=0.0, split=10), tmp_path / "whole", 30)
    for ours, whole in zip(lines(tmp_path), lines(tmp_path / "whole"), strict=True):
        assert ours["model/x"] == pytest.approx(whole["model/x"], rel=1e-5)
        assert ours["model/loss"] == pytest.approx(whole["model/loss"], rel=1e-5)


def test_a_run_that_was_cut_and_resumed_equals_one_that_never_stopped(tmp_path: Path) -> None:
    whole = Regression()
    run(whole, tmp_path / "whole", 400)
    cut = Regression()
    rounds = cut.round
    calls = 0

    def stop_after_27() -> Iterator[Turn]:
        nonlocal calls
        calls += 1
        if calls > 27:
            raise KeyboardInterrupt
        yield from rounds()

    cut.round = stop_after_27  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(cut, tmp_path / "cut", 400)
    resumed = Regression()
    run(resumed, tmp_path / "cut", 400, resume=True)
    for ours, theirs in zip(resumed.module.parameters(), whole.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert [line["step"] for line in lines(tmp_path / "cut")] == list(range(10, 401, 10))
    assert [line["model/loss"] for line in lines(tmp_path / "cut")] == [
        line["model/loss"] for line in lines(tmp_path / "whole")
    ]


def test_a_checkpoint_of_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    run(Regression(), tmp_path, 100)
    file = tmp_path / "checkpoints" / "latest" / "state.safetensors"
    tree = load_tree(file)
    del tree["players"]["model"]["moments"]
    save_tree(file, tree)
    with pytest.raises(InputError, match=r"state\.safetensors: has no 'moments'; another version"):
        run(Regression(), tmp_path, 200, resume=True)


def test_a_line_cut_by_a_kill_is_replaced(tmp_path: Path) -> None:
    run(Regression(), tmp_path, 200)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 210, "mod')
    run(Regression(), tmp_path, 300, resume=True)
    assert [line["step"] for line in lines(tmp_path)] == list(range(10, 301, 10))


def test_learning_rate_falls_linearly_to_zero() -> None:
    player = Regression().players["model"]
    player.set_progress(0.25)
    assert player.optimizer.param_groups[0]["lr"] == pytest.approx(0.05 * 0.75)
    player.set_progress(1.0)
    assert player.optimizer.param_groups[0]["lr"] == 0.0


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match="model's loss became nan"):
        run(Regression(poison_at=100), tmp_path, 200)
    healthy = Regression()
    run(healthy, tmp_path, 200, resume=True)
    assert all(torch.isfinite(p).all() for p in healthy.module.parameters())


def test_best_policy_is_kept_apart_from_the_latest(tmp_path: Path) -> None:
    game = Regression()
    game.round_metrics = lambda: {"return_mean": -abs(game.steps - 100.0)}  # type: ignore[method-assign]
    run(game, tmp_path, 200)
    assert (tmp_path / "checkpoints" / "best" / "policy.safetensors").read_text() == "100"


@pytest.mark.parametrize(("bound", "expected"), [(0.5, 0.5), (1000.0, 500.0)])
def test_the_gradient_is_clipped_by_its_global_norm_and_logged_as_it_was(bound: float, expected: float) -> None:
    module = nn.Linear(1, 1)

    def loss(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return 100.0 * module(batch).sum(), {}  # gradient: 300 of the weight, 400 of the bias

    player = Player("model", module, loss, learning_rate=0.0, max_grad_norm=bound)
    player.step(torch.tensor([[1.5], [0.5], [0.5], [0.5]]), 4.0)
    assert player.weights.grad is not None
    assert float(player.weights.grad.norm()) == pytest.approx(expected, rel=1e-4)
    assert player.read_metrics()["model/grad_norm"] == pytest.approx(500.0, rel=1e-4)
