"""The engine: one loop that trains every network of the toolkit.

Glossary:
    game      a schedule of players over data: :meth:`Game.round` yields (player, batch) turns.
    round     one pass of the schedule (for GAIL: one rollout, the discriminator's turns, the policy's turns).
    turn      one gradient step of one player on one batch.
    step      the unit of a run's length; environment steps wherever there is an environment.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from gail.core.checkpoint import BackgroundWrites, load_tree, save_tree
from gail.core.device import keep_freed_memory
from gail.core.errors import EnvironmentFault, InputError
from gail.core.files import write_text_atomic
from gail.core.player import Player
from gail.core.progress import ProgressBar

_EVENT_SECONDS = 0.2
"""TensorBoard gets a point of each curve at most this often; metrics.jsonl holds every round."""


@dataclass(frozen=True)
class Turn:
    """One gradient step that a game asks for."""

    player: str
    """Which player."""
    batch: Any
    """What its loss takes."""
    rows: float | Tensor
    """How many rows the batch's metrics are means of."""


class Game(Protocol):
    """What the engine can run."""

    players: Mapping[str, Player]
    steps: int
    """Steps taken so far."""

    @property
    def exact_resume(self) -> bool:
        """Whether a resumed run equals one that never stopped."""

    def round(self) -> Iterator[Turn]:
        """Play one round: collect, yield turns, advance ``steps``."""

    def round_metrics(self) -> dict[str, float]:
        """Metrics of the round that just ended, beside those of the players."""

    def shown_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The few of ``metrics`` that a progress bar shows."""

    def save_policy(self, path: Path) -> None:
        """Write the policy as it is now."""

    def state_dict(self) -> dict[str, Any]:
        """Everything but the players: environments, generators of random numbers, running statistics."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""


class TrainingDiverged(RuntimeError):
    """A loss became NaN or infinite; the last checkpoint is still good."""


def train(
    game: Game,
    *,
    total_steps: int,
    title: str,
    directory: Path | None = None,
    resume: bool = False,
    checkpoints: int = 25,
    progress: bool = True,
) -> float:
    """Run ``game`` until ``total_steps`` and return the wall-clock seconds of training (all parts summed).

    Args:
        game: what is trained.
        total_steps: the run's length; annealed learning rates reach zero there.
        title: names the run in the progress bar.
        directory: gets ``metrics.jsonl``, TensorBoard events and ``checkpoints/{latest,best}``; None writes nothing.
        resume: go on from ``directory/checkpoints/latest`` where there is one.
        checkpoints: how many are written over the run; a kill loses at most one interval, and what was played while the
            disk was still writing.
        progress: show a progress bar.

    Raises:
        InputError: where another version wrote the checkpoint.
        TrainingDiverged: where a player's loss is not finite.
        EnvironmentFault: where an environment breaks; the message says which checkpoint a resumed run goes on from.
    """
    started = time.perf_counter()
    keep_freed_memory()
    log = RunLog(directory) if directory is not None else None
    earlier, best = 0.0, -math.inf
    if log is not None and resume and log.checkpoint.exists():
        state = load_tree(log.checkpoint)
        try:
            for name, player in game.players.items():
                player.load_state_dict(state["players"][name])
            game.load_state_dict(state["game"])
            earlier, best = state["seconds"], float(state["best"])
        except KeyError as error:
            raise InputError(f"{log.checkpoint}: has no {error}; another version of the toolkit wrote it") from error
    if log is not None:
        log.open(game.steps)
    interval = max(total_steps / checkpoints, 1.0)
    next_checkpoint = (math.floor(game.steps / interval) + 1) * interval

    if progress and log is not None:
        log.announce()
    with (
        ProgressBar(title, total_steps, enabled=progress) as bar,
        _faults_say_what_is_saved(game, log),
        BackgroundWrites() as writes,
    ):
        bar.update(game.steps)
        while game.steps < total_steps:
            round_started, steps_before = time.perf_counter(), game.steps
            for player in game.players.values():
                player.set_progress(game.steps / total_steps)
            for turn in game.round():
                game.players[turn.player].step(turn.batch, turn.rows)
            metrics = game.round_metrics()
            for player in game.players.values():
                metrics.update(player.read_metrics())
            elapsed = time.perf_counter() - round_started
            _guard(game, metrics)
            bar.update(game.steps, **game.shown_metrics(metrics))
            if log is None:
                continue
            log.write(
                game.steps,
                {
                    "seconds": earlier + time.perf_counter() - started,
                    "steps_per_second": (game.steps - steps_before) / elapsed,
                    **metrics,
                },
            )
            if game.steps >= next_checkpoint or game.steps >= total_steps:
                _guard_parameters(game)
                while next_checkpoint <= game.steps:
                    next_checkpoint += interval
                score = metrics.get("return_mean", -math.inf)
                with writes.collect():
                    if score > best:
                        best = score
                        game.save_policy(log.best)
                    save_tree(
                        log.checkpoint,
                        {
                            "players": {name: player.state_dict() for name, player in game.players.items()},
                            "game": game.state_dict(),
                            "seconds": earlier + time.perf_counter() - started,
                            "best": best,
                        },
                    )
                log.saved = game.steps
    if log is not None:
        log.close()
    return earlier + time.perf_counter() - started


@contextmanager
def _faults_say_what_is_saved(game: Game, log: RunLog | None) -> Iterator[None]:
    # The round that broke is lost, and with it the environments' states: a checkpoint of this moment would be of a
    # half-played round. The last one was written at a round's end, so a resumed run is still exact.
    try:
        yield
    except EnvironmentFault as fault:
        if log is not None:
            log.close()
            again = f"goes on from the checkpoint of step {log.saved:,}" if log.saved else "starts over"
            fault.consequence = f"training stopped after step {game.steps:,}; --out {log.directory} --resume {again}"
        raise


def _guard(game: Game, metrics: Mapping[str, float]) -> None:
    for name in game.players:
        loss = metrics.get(f"{name}/loss", 0.0)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the {name}'s loss became {loss} in the round that ended at step {game.steps}; "
                "the last checkpoint is intact"
            )


def _guard_parameters(game: Game) -> None:
    """A finite loss can still have a gradient that is not: no such network may reach a file."""
    for name, player in game.players.items():
        if not bool(torch.isfinite(player.weights).all()):
            raise TrainingDiverged(
                f"the {name}'s weights are no longer finite at step {game.steps}; the last checkpoint is intact"
            )


class RunLog:
    """The files of one run: a line of metrics per round, TensorBoard events, the checkpoint."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.metrics = directory / "metrics.jsonl"
        self.checkpoint = directory / "checkpoints" / "latest" / "state.safetensors"
        self.best = directory / "checkpoints" / "best" / "policy.safetensors"
        self.saved = 0
        """The step of the last checkpoint."""

    def open(self, step: int) -> None:
        """Start at ``step``: lines and events beyond it (of rounds that are played again) are dropped."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.saved = step
        kept = []
        if self.metrics.exists():
            for line in self.metrics.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except json.JSONDecodeError:
                    break  # the line that the kill cut
        write_text_atomic(self.metrics, "".join(kept))
        self._file = open(self.metrics, "a", encoding="utf-8")
        # Its queue of ten events would make a fast environment wait for the disk.
        self._events = SummaryWriter(str(self.directory), purge_step=step + 1 if step else None, max_queue=1000)
        self._last_event = -math.inf

    def announce(self) -> None:
        """Say where the run is: known from the start, so that an interrupted one can be resumed."""
        print(f"run directory: {self.directory}", file=sys.stderr)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """A line of ``metrics``, and now and then the same to TensorBoard; what is not finite becomes null."""
        clean = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        try:
            self._file.write(json.dumps({"step": step, **clean}) + "\n")
            self._file.flush()
        except OSError as error:
            raise InputError(f"{self.metrics}: cannot be written ({error.strerror})") from error
        # TensorBoard thins curves anyway; written every round it would cost a fast environment some of its speed.
        now = time.perf_counter()
        if now - self._last_event > _EVENT_SECONDS:
            self._last_event = now
            for name, value in metrics.items():
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Finish the files."""
        self._file.close()
        self._events.close()
