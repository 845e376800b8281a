"""``gail bench throughput --envs``: how fast batches of MuJoCo environments step, peers beside them.

Every side plays random actions, one whole batch at a time. Beside Gymnasium and EnvPool stands the *bare loop*: plain
threads that make the same calls into MuJoCo for the same simulations, and nothing else; no wrapper of MuJoCo can be
faster by more than its scheduling.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gail.cli.peers.setup import run_peer
from gail.envs import VecEnv, make_vec
from gail.envs.mujoco_family import MUJOCO_IDS
from gail.envs.mujoco_tasks import TASKS
from gail.envs.mujoco_team import available_processors

NUM_ENVS = (8, 64)
"""Sizes of the batches."""
SECONDS = 1.0
"""Length of one timed run."""

_ACTION_BATCHES = 64
_PHYSICS_BOUND = ("Ant-v5", "Humanoid-v5", "HumanoidStandup-v5", "Pusher-v5")


@dataclass(frozen=True)
class EnvBenchmark:
    """One environment and batch size; gives a row for each peer."""

    environment: str
    num_envs: int

    @property
    def title(self) -> str:
        """What ``--only`` looks at."""
        return f"envs {self.environment} x {self.num_envs}"

    def target(self, peer: str) -> float | None:
        """The ratio of speeds to reach; None where none is promised."""
        if peer == "gymnasium":
            return None if self.environment in _PHYSICS_BOUND else 2.5
        if peer == "bare loop":
            return 0.9 if self.environment in _PHYSICS_BOUND else None
        return 0.9


ENV_BENCHMARKS = tuple(EnvBenchmark(env_id, count) for env_id in MUJOCO_IDS for count in NUM_ENVS)

Side = Callable[[], dict[str, Any]]
"""One timed run; returns at least ``steps_per_second``, and ``peer`` where that has a version."""


def env_rows(benchmark: EnvBenchmark, envpool: Path, *, repeats: int, seconds: float = SECONDS) -> list[dict[str, Any]]:
    """Time all sides in turn, ``repeats`` times, and compare ours with each.

    Args:
        benchmark: what is played.
        envpool: the interpreter of EnvPool's environment.
        repeats: timed runs of each side.
        seconds: length of each.

    Returns:
        Rows with the keys ``benchmark, environment, num_envs, ours_steps_per_second, peer, peer_steps_per_second,
        ratio`` (median over the rounds)``, target, met`` (None without a target)``, measurements, notes``.

    Raises:
        InputError: where a peer fails.
    """
    threads = available_processors()
    words = ["--env", benchmark.environment, "--num-envs", str(benchmark.num_envs), "--seconds", str(seconds)]
    python = Path(sys.executable)
    ours, bare = _sides(benchmark, threads, seconds)
    sides: dict[str, Side] = {
        "ours": ours,
        "bare loop": bare,
        "gymnasium sync": lambda: run_peer(python, "run_gymnasium.py", [*words, "--mode", "sync"]),
        "gymnasium async": lambda: run_peer(python, "run_gymnasium.py", [*words, "--mode", "async"]),
        "envpool": lambda: run_peer(envpool, "run_envpool.py", [*words, "--threads", str(threads)]),
    }
    rounds = []
    for number in range(1, repeats + 1):
        print(f"bench throughput: {benchmark.title} [{number}/{repeats}]", file=sys.stderr, flush=True)
        rounds.append({name: side() for name, side in sides.items()})
    return [compare_rounds(benchmark, peer, rounds, threads) for peer in ("gymnasium", "bare loop", "envpool")]


def compare_rounds(
    benchmark: EnvBenchmark, peer: str, rounds: Sequence[dict[str, dict[str, Any]]], threads: int
) -> dict[str, Any]:
    """The row of one peer; Gymnasium's is the faster of its two vectorizations."""
    name = peer
    if peer == "gymnasium":
        name = max(
            ("gymnasium sync", "gymnasium async"),
            key=lambda side: statistics.median(sides[side]["steps_per_second"] for sides in rounds),
        )
    pairs = [
        {
            "ours_steps_per_second": sides["ours"]["steps_per_second"],
            "peer_steps_per_second": sides[name]["steps_per_second"],
            "ratio": sides["ours"]["steps_per_second"] / sides[name]["steps_per_second"],
        }
        for sides in rounds
    ]
    medians = {key: statistics.median(pair[key] for pair in pairs) for key in pairs[0]}
    target = benchmark.target(peer)
    return {
        "benchmark": "envs",
        "environment": benchmark.environment,
        "num_envs": benchmark.num_envs,
        "ours_steps_per_second": medians["ours_steps_per_second"],
        "peer": rounds[0][name].get("peer", name),
        "peer_steps_per_second": medians["peer_steps_per_second"],
        "ratio": medians["ratio"],
        "target": target,
        "met": None if target is None else medians["ratio"] >= target,
        "measurements": pairs,
        "notes": f"random actions, {len(rounds)} rounds, {threads} threads for ours, the bare loop and EnvPool",
    }


Starts = Mapping[int, tuple[list[int], NDArray[np.float64]]]
"""After which steps which rows begin an episode, and their integration states ``[rows, S]``."""


def _sides(benchmark: EnvBenchmark, threads: int, seconds: float) -> tuple[Side, Side]:
    """Ours, and the bare loop over the very simulations that ours plays."""
    env = make_vec(benchmark.environment, benchmark.num_envs, backend="mujoco", threads=threads)
    space = env.action_space
    assert isinstance(space, gym.spaces.Box)
    draw = np.random.default_rng(0)
    shape = (_ACTION_BATCHES, benchmark.num_envs, *space.shape)
    actions = torch.from_numpy(draw.uniform(space.low, space.high, shape).astype(np.float32))

    def play(count: int) -> float:
        env.reset(0)
        start = time.perf_counter()
        for number in range(count):
            env.step(actions[number % len(actions)])
        return time.perf_counter() - start

    play(len(actions))
    count = max(len(actions), round(len(actions) * seconds / play(len(actions))))
    loop = BareLoop(benchmark.environment, benchmark.num_envs, threads)
    first, starts = record_starts(env, actions, count)
    controls = actions.double().numpy()

    def speed(taken: float) -> dict[str, Any]:
        return {"steps_per_second": count * benchmark.num_envs / taken}

    return lambda: speed(play(count)), lambda: speed(loop.run(count, first, starts, controls))


def record_starts(env: VecEnv, actions: Tensor, count: int) -> tuple[NDArray[np.float64], Starts]:
    """Play ``count`` steps from seed 0, ``actions`` ``[B, N, A]`` in turn, and note where episodes begin.

    Returns:
        The integration states ``[N, S]`` after the reset, and the later starts.
    """
    env.reset(0)
    first = env.state_dict()["physics"].numpy()
    starts = {}
    for number in range(count):
        step = env.step(actions[number % len(actions)])
        rows = (step.terminated | step.truncated).nonzero().flatten()
        if len(rows):
            starts[number] = rows.tolist(), env.state_dict()["physics"][rows].numpy()
    return first, starts


class BareLoop:
    """Plain threads, each calling MuJoCo for its share of the simulations; no observations, no rewards.

    Attributes:
        datas: the simulations.
    """

    def __init__(self, env_id: str, num_envs: int, threads: int) -> None:
        env: Any = gym.make(env_id).unwrapped
        self._model, self._substeps = env.model, env.frame_skip
        self._forces = TASKS[env_id].reads_contact_forces
        self.datas = [mujoco.MjData(self._model) for _ in range(num_envs)]
        self._shares = [self.datas[index::threads] for index in range(threads)]

    def _advance(self, datas: Sequence[Any]) -> None:
        for data in datas:
            mujoco.mj_step(self._model, data, self._substeps)
            if self._forces:
                mujoco.mj_rnePostConstraint(self._model, data)

    def _start(self, data: Any, state: NDArray[np.float64]) -> None:
        mujoco.mj_resetData(self._model, data)
        mujoco.mj_setState(self._model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(self._model, data)

    def run(
        self,
        count: int,
        first: NDArray[np.float64],
        starts: Starts,
        controls: NDArray[np.float64],
    ) -> float:
        """Seconds for ``count`` steps.

        Args:
            count: steps of the batch.
            first: the integration states ``[N, S]`` to begin with.
            starts: the episodes that begin on the way.
            controls: ``[B, N, A]``, played in turn.
        """
        for data, state in zip(self.datas, first, strict=True):
            self._start(data, state)
        helpers = [(threading.Semaphore(0), threading.Semaphore(0), share) for share in self._shares[1:]]

        def help_out(begin: threading.Semaphore, done: threading.Semaphore, share: Sequence[Any]) -> None:
            for _ in range(count):
                begin.acquire()
                self._advance(share)
                done.release()

        workers = [threading.Thread(target=help_out, args=helper) for helper in helpers]
        for worker in workers:
            worker.start()
        start = time.perf_counter()
        for number in range(count):
            for data, control in zip(self.datas, controls[number % len(controls)], strict=True):
                data.ctrl[:] = control
            for begin, _, _ in helpers:
                begin.release()
            self._advance(self._shares[0])
            for _, done, _ in helpers:
                done.acquire()
            if number in starts:
                for row, state in zip(*starts[number], strict=True):
                    self._start(self.datas[row], state)
        taken = time.perf_counter() - start
        for worker in workers:
            worker.join()
        return taken
