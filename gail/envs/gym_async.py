"""Any Gymnasium environment, stepped by worker processes over shared memory.

Each worker steps a contiguous chunk through the same code as the in-process backend, so the results are the
same bit for bit. Workers are started as fresh interpreters (never forked: a fork beside torch's threads can
deadlock, and ``multiprocessing`` would import the caller's main script, and torch, into every worker).
"""

from __future__ import annotations

import itertools
import mmap
import os
import pickle
import tempfile
import time
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec

from gail.core.errors import EnvironmentFault, InputError
from gail.core.leaves import join_leaves, named_leaves
from gail.core.random import derive_seed
from gail.envs import worker
from gail.envs.chunk import Buffers, make_env
from gail.envs.host import HostVecEnv, split_state
from gail.envs.resolve import CustomSpec, spec_id
from gail.envs.vec import VecEnv
from gail.envs.worker_options import WorkerOptions
from gail.envs.worker_process import BrokenWorker, WorkerProcess

_SECONDS_TO_START = 60.0
"""A worker gets at least this long to start: imports and the making of environments are no steps."""
_REPLAYED_PER_TIMEOUT = 1000
"""A worker that replays saved episodes gets its timeout once more for every so many steps."""
_CLOSE_RESTARTS = 5
_CLOSE_STEPS = 100
"""A worker that broke so many times, each within so few steps of the last, will break for ever."""


class GymAsyncVecEnv(HostVecEnv):
    """``num_envs`` Gymnasium environments stepped by worker processes."""

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        device: torch.device | str = "cpu",
        *,
        num_workers: int | None = None,
        options: WorkerOptions | None = None,
        **env_kwargs: Any,
    ) -> None:
        """Start the workers.

        Args:
            spec: the registered environment (``gymnasium.spec(env_id)``).
            num_envs: N.
            device: where the tensors of a step live.
            num_workers: processes, at most N; None: one per core.
            options: what becomes of workers that break; None: the defaults.
            env_kwargs: passed to ``gymnasium.make``, ``max_episode_steps`` and ``render_mode`` included.

        Raises:
            InputError: on an unsupported space, or an environment that another process cannot import.
            EnvironmentFault: where a worker fails to start.
        """
        _check_importable(spec)
        probe = make_env(spec, env_kwargs)
        try:
            super().__init__(spec_id(spec), num_envs, device, env_kwargs, probe)
            layout = Buffers.layout(num_envs, self.observation_space, self.action_space)
        finally:
            probe.close()
        count = min(num_workers or os.cpu_count() or 1, num_envs)
        edges = [round(i * num_envs / count) for i in range(count + 1)]
        self.worker_rows = list(itertools.pairwise(edges))
        """``[start, stop)`` of the environments of each worker."""
        self.options = options or WorkerOptions()
        setup = {"spec": _portable(spec), "env_kwargs": env_kwargs, "layout": layout}
        self._setups = [{**setup, "rows": rows} for rows in self.worker_rows]
        self._busy = False
        self._workers: list[WorkerProcess] = []
        self._shared = _shared_file(worker.shared_size(layout))
        # Runs at close(), when the object is collected, and at the interpreter's exit, whichever is first.
        self._reap = weakref.finalize(self, _reap, self._workers, self._shared)
        memory = mmap.mmap(self._shared.fileno(), worker.shared_size(layout))
        self._buffers = worker.map_buffers(memory, layout)
        self._steps = 0
        # Of each worker: the step of its last restart, and how many restarts before it were close together.
        self._restarted = [(-_CLOSE_STEPS, 0)] * count
        self._renewed: set[int] = set()
        """Workers that were restarted between two steps: their episodes' loss is still to be told."""
        self._workers += [WorkerProcess(self._shared, self._playing(index)) for index in range(count)]
        try:
            self._call(b"", self._setups, seconds=self._seconds_to_start)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self.close()
            raise InputError(
                f"{self.env_id}: its keywords cannot be sent to worker processes ({error}); use backend='sync'"
            ) from error

    @property
    def _seconds_to_start(self) -> float:
        return max(self.options.worker_timeout, _SECONDS_TO_START)

    def _playing(self, index: int) -> np.ndarray:
        start, stop = self.worker_rows[index]
        return self._buffers.playing[start:stop]

    def _call(
        self,
        command: bytes,
        messages: Sequence[Any] | None = None,
        *,
        answers: bool = False,
        seconds: float | None = None,
    ) -> list[Any]:
        """One command to every worker, with a message each where given; returns their answers, if any.

        Raises:
            EnvironmentFault: where a worker broke; all are closed then.
        """
        results, broken = self._exchange(command, messages, answers=answers, seconds=seconds)
        for index, error in broken.items():
            raise self._give_up(self._named(index, error))
        return results

    def _exchange(
        self,
        command: bytes,
        messages: Sequence[Any] | None = None,
        *,
        answers: bool = False,
        seconds: float | None = None,
    ) -> tuple[list[Any], dict[int, BrokenWorker]]:
        """As :meth:`_call`, with the workers that broke beside the answers of the others."""
        if not self._reap.alive:
            raise RuntimeError(f"{self.env_id}: the environment is closed")
        if self._busy:
            self.close()
            raise RuntimeError(f"{self.env_id}: an earlier call was interrupted; make the environment again")
        self._busy = True
        for index, process in enumerate(self._workers):
            process.send(command, *(() if messages is None else (messages[index],)))
        deadline = time.monotonic() + (self.options.worker_timeout if seconds is None else seconds)
        results: list[Any] = []
        broken: dict[int, BrokenWorker] = {}
        for index, process in enumerate(self._workers):
            try:
                results.append(process.answer(deadline, message=answers))
            except BrokenWorker as error:
                broken[index] = error
                results.append(None)
        self._busy = False
        return results, broken

    def _named(self, index: int, error: BrokenWorker, *, stepping: bool = False) -> EnvironmentFault:
        return self._fault(error.fault, range(*self.worker_rows[index]), stepping=stepping, trace=error.trace)

    def _give_up(self, fault: EnvironmentFault) -> EnvironmentFault:
        """Close everything; returns ``fault``, to be raised."""
        self.close()
        return fault

    def _restart(self, index: int, fault: EnvironmentFault) -> None:
        """Put a fresh process in the place of worker ``index`` and start new episodes in its environments.

        Raises:
            EnvironmentFault: where that is not asked for, or has no prospect.
        """
        if not self.options.restart_workers:
            raise self._give_up(fault)
        last, close = self._restarted[index]
        close = close + 1 if self._steps - last < _CLOSE_STEPS else 0
        if close >= _CLOSE_RESTARTS:
            fault.consequence = f"its worker was restarted {close} times, each within {_CLOSE_STEPS} steps of the last"
            raise self._give_up(fault)
        self._restarted[index] = (self._steps, close)
        self.worker_restarts += 1
        warnings.warn(f"{fault}; a fresh worker starts new episodes", RuntimeWarning, stacklevel=2)
        start, stop = self.worker_rows[index]
        first = self._seeds[start]
        if first is not None:
            # Other episodes than those that led here, and the same ones whenever that happens again.
            first = derive_seed(first, f"restart {self.worker_restarts}")
            self._seeds[start:stop] = range(first, first + stop - start)
        self._episodes[start:stop] = -1  # the end of the lost ones makes it 0
        self._workers[index].reap()
        fresh = self._workers[index] = WorkerProcess(self._shared, self._playing(index))
        for command, message in ((b"", self._setups[index]), (worker.RESET, first)):
            fresh.send(command, message)
            try:
                fresh.answer(time.monotonic() + self._seconds_to_start)
            except BrokenWorker as error:
                raise self._give_up(self._named(index, error)) from fault

    def _reset_buffers(self, seed: int | None) -> None:
        self._renewed.clear()
        self._call(worker.RESET, [None if seed is None else seed + start for start, _ in self.worker_rows])

    def _step_buffers(self) -> np.ndarray | None:
        _, broken = self._exchange(worker.STEP)
        self._steps += 1
        if not broken and not self._renewed:
            return None
        for index in self._renewed - broken.keys():
            # What it just played was an action for an episode that is lost.
            self._workers[index].send(worker.RESET, None)
            try:
                self._workers[index].answer(time.monotonic() + self.options.worker_timeout)
            except BrokenWorker as error:
                broken[index] = error
        for index, reason in broken.items():
            self._restart(index, self._named(index, reason, stepping=True))
        self._renewed |= broken.keys()
        buffers, lost = self._buffers, self._lost_rows()
        self._renewed.clear()
        for (_, rows), (_, first) in zip(
            named_leaves("", buffers.next_obs), named_leaves("", buffers.reset_obs), strict=True
        ):
            rows[lost] = first[lost]
        buffers.reward[lost] = 0.0
        buffers.terminated[lost] = False
        buffers.truncated[lost] = True
        return lost

    def _lost_rows(self) -> np.ndarray:
        lost = np.zeros(self.num_envs, dtype=np.bool_)
        for index in self._renewed:
            lost[slice(*self.worker_rows[index])] = True
        return lost

    def _chunk_states(self) -> list[dict[str, Any]]:
        states, broken = self._exchange(worker.STATE, answers=True)
        while broken:
            for index, error in broken.items():
                self._restart(index, self._named(index, error))
            self._renewed |= broken.keys()
            states, broken = self._exchange(worker.STATE, answers=True)
        return states

    def _load_chunks(self, state: dict[str, Any]) -> tuple[list[bool], np.ndarray]:
        parts = split_state(state, self.worker_rows)
        replayed = max(int(np.maximum(part["lengths"], 0).sum()) for part in parts)
        seconds = self.options.worker_timeout * (1 + replayed / _REPLAYED_PER_TIMEOUT)
        self._renewed.clear()
        answers = self._call(worker.LOAD, parts, answers=True, seconds=seconds)
        return [same for exact, _ in answers for same in exact], join_leaves(
            np.concatenate, [obs for _, obs in answers]
        )

    def render(self) -> list[np.ndarray]:
        """One RGB frame ``[H, W, 3]`` (uint8) per environment; needs ``render_mode="rgb_array"``."""
        return [frame for frames in self._call(worker.RENDER, answers=True) for frame in frames]

    def close(self) -> None:
        """Stop and reap every worker; calling it again does nothing."""
        self._reap()


def _portable(spec: EnvSpec) -> EnvSpec | str:
    """What a worker makes its environments from: the spec, or the name by which it finds it."""
    return spec.portable or spec if isinstance(spec, CustomSpec) else spec


def check_restarts(env: VecEnv, options: WorkerOptions | None) -> None:
    """Refuse ``restart_workers`` for an environment without worker processes: nothing would keep that promise.

    Raises:
        InputError: saying what to do instead.
    """
    if options is not None and options.restart_workers and not isinstance(env, GymAsyncVecEnv):
        raise InputError(
            f"--restart-workers: {env.env_id} is stepped by {type(env).__name__}, which has no worker processes; "
            "expected --backend async"
        )


def _check_importable(spec: EnvSpec) -> None:
    """Raise an InputError where another process could not find the environment's class."""
    if isinstance(_portable(spec), str):
        return
    entry = spec.entry_point
    module = entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "__main__")
    name = "" if isinstance(entry, str) else getattr(entry, "__qualname__", "<lambda>")
    if module == "__main__" or "<" in name:
        raise InputError(
            f"{spec_id(spec)}: its class is defined in the running script, where worker processes cannot import "
            "it; move it to a module, or use backend='sync'"
        )


def _shared_file(size: int) -> IO[bytes]:
    """An unnamed file of ``size`` bytes, in memory where the system has such a folder.

    Unnamed, so that nothing is left behind however the processes end.
    """
    folder = "/dev/shm" if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None
    file = tempfile.TemporaryFile(dir=folder)
    file.truncate(size)
    return file


def _reap(workers: list[WorkerProcess], shared: IO[bytes]) -> None:
    """Ask the workers to leave, and kill those that do not."""
    for process in workers:
        process.ask_to_leave()
    for process in workers:
        process.reap()
    shared.close()
