"""Any Gymnasium environment, stepped by worker processes over shared memory.

Each worker steps a contiguous chunk through the same code as the in-process backend, so the results are the
same bit for bit. Workers are started as fresh interpreters (never forked: a fork beside torch's threads can
deadlock, and ``multiprocessing`` would import the caller's main script, and torch, into every worker).
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import pickle
import subprocess
import sys
import tempfile
import weakref
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec

from gail.core.errors import InputError
from gail.envs import worker
from gail.envs.chunk import Buffers, make_env
from gail.envs.host import HostVecEnv, split_state
from gail.envs.resolve import CustomSpec, spec_id

_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[3]); "
    "from gail.envs.worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_SECONDS_TO_LEAVE = 5.0


class GymAsyncVecEnv(HostVecEnv):
    """``num_envs`` Gymnasium environments stepped by worker processes."""

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        device: torch.device | str = "cpu",
        *,
        num_workers: int | None = None,
        **env_kwargs: Any,
    ) -> None:
        """Start the workers.

        Args:
            spec: the registered environment (``gymnasium.spec(env_id)``).
            num_envs: N.
            device: where the tensors of a step live.
            num_workers: processes, at most N; None: one per core.
            env_kwargs: passed to ``gymnasium.make``, ``max_episode_steps`` and ``render_mode`` included.

        Raises:
            InputError: on an unsupported space, or an environment that another process cannot import.
            RuntimeError: where a worker fails to start.
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
        self._busy = False
        self._connections: list[Connection] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        # Runs at close(), when the object is collected, and at the interpreter's exit, whichever is first.
        self._reap = weakref.finalize(self, _reap, self._connections, self._processes)
        with _shared_file(worker.shared_size(layout)) as shared:
            memory = mmap.mmap(shared.fileno(), worker.shared_size(layout))
            self._buffers = worker.map_buffers(memory, layout)
            for rows in self.worker_rows:
                self._start_worker(
                    shared.fileno(), {"spec": _portable(spec), "env_kwargs": env_kwargs, "rows": rows, "layout": layout}
                )
            self._collect(answers=False)

    def _start_worker(self, shared: int, setup: dict[str, Any]) -> None:
        ours, theirs = Pipe()
        self._connections.append(ours)
        arguments = [
            str(theirs.fileno()),
            str(shared),
            json.dumps([path or os.getcwd() for path in sys.path]),
        ]
        with theirs:
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", _BOOT, *arguments],
                    pass_fds=(theirs.fileno(), shared),
                    env={**os.environ, **_ONE_THREAD},
                    stdin=subprocess.DEVNULL,
                )
            )
        try:
            ours.send(setup)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self.close()
            raise InputError(
                f"{self.env_id}: its keywords cannot be sent to worker processes ({error}); use backend='sync'"
            ) from error

    def _call(self, command: bytes, messages: list[Any] | None = None, answers: bool = False) -> list[Any]:
        """One command to every worker, with a message each where given; returns their answers, if any."""
        if not self._reap.alive:
            raise RuntimeError(f"{self.env_id}: the environment is closed")
        if self._busy:
            self.close()
            raise RuntimeError(f"{self.env_id}: an earlier call was interrupted; make the environment again")
        self._busy = True
        for index, connection in enumerate(self._connections):
            try:
                os.write(connection.fileno(), command)
                if messages is not None:
                    connection.send(messages[index])
            except ConnectionError:
                self._fail(index)
        return self._collect(answers)

    def _collect(self, answers: bool) -> list[Any]:
        """Wait until every worker is done."""
        results = []
        for index, connection in enumerate(self._connections):
            try:
                byte = os.read(connection.fileno(), 1)
                result = connection.recv() if answers or byte == worker.FAILED else None
            except (ConnectionError, EOFError):
                byte = b""
            if byte != worker.DONE:
                self._fail(index, result if byte == worker.FAILED else None)
            results.append(result)
        self._busy = False
        return results

    def _fail(self, index: int, trace: str | None = None) -> NoReturn:
        """Close everything and raise what happened to worker ``index``."""
        start, stop = self.worker_rows[index]
        where = f"{self.env_id}: the worker of environments {start} to {stop - 1}"
        if trace is not None:
            self.close()
            raise RuntimeError(f"{where} failed:\n{trace}")
        try:
            code: int | str = self._processes[index].wait(timeout=_SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            code = "unknown"
        self.close()
        raise RuntimeError(f"{where} died (exit code {code})")

    def _reset_buffers(self, seed: int | None) -> None:
        self._call(worker.RESET, [None if seed is None else seed + start for start, _ in self.worker_rows])

    def _step_buffers(self) -> None:
        self._call(worker.STEP)

    def _chunk_states(self) -> list[dict[str, Any]]:
        return self._call(worker.STATE, answers=True)

    def _load_chunks(self, state: dict[str, Any]) -> tuple[list[bool], np.ndarray]:
        answers = self._call(worker.LOAD, split_state(state, self.worker_rows), answers=True)
        return [same for exact, _ in answers for same in exact], np.concatenate([obs for _, obs in answers])

    def render(self) -> list[np.ndarray]:
        """One RGB frame ``[H, W, 3]`` (uint8) per environment; needs ``render_mode="rgb_array"``."""
        return [frame for frames in self._call(worker.RENDER, answers=True) for frame in frames]

    def close(self) -> None:
        """Stop and reap every worker; calling it again does nothing."""
        self._reap()


def _portable(spec: EnvSpec) -> EnvSpec | str:
    """What a worker makes its environments from: the spec, or the name by which it finds it."""
    return spec.portable or spec if isinstance(spec, CustomSpec) else spec


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


def _shared_file(size: int) -> Any:
    """An unnamed file of ``size`` bytes, in memory where the system has such a folder.

    Unnamed, so that nothing is left behind however the processes end.
    """
    folder = "/dev/shm" if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None
    file = tempfile.TemporaryFile(dir=folder)
    file.truncate(size)
    return file


def _reap(connections: list[Connection], processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask the workers to leave, and kill those that do not."""
    for connection in connections:
        try:
            os.write(connection.fileno(), worker.QUIT)
        except OSError:
            pass  # it is gone already
        connection.close()
    for process in processes:
        try:
            process.wait(timeout=_SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
