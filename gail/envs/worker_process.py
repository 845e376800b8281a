"""A worker process seen from its parent: started, commanded, waited for, and taken apart when it breaks."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Pipe
from typing import IO, Any

import numpy as np

from gail.envs import worker
from gail.envs.chunk import RowFault
from gail.envs.wording import place

_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[4]); "
    "from gail.envs.worker import main; main(*map(int, sys.argv[1:4]))"
)
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_SECONDS_TO_LEAVE = 5.0
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (\w+)', re.MULTILINE)


class BrokenWorker(Exception):
    """A worker is of no use any more."""

    def __init__(self, fault: RowFault, trace: str) -> None:
        """``fault`` says what happened to which of its environments; ``trace`` is the worker's Python stack."""
        super().__init__(fault.problem)
        self.fault, self.trace = fault, trace


class WorkerProcess:
    """One process that steps ``len(playing)`` environments; see :mod:`gail.envs.worker` for the protocol."""

    def __init__(self, shared: IO[bytes], playing: np.ndarray) -> None:
        """Start the process; its environments are made when it gets the setup.

        Args:
            shared: the file whose memory parent and workers share.
            playing: ``[n]`` of that memory: whose code the process is running.
        """
        self._playing = playing
        playing[:] = False
        self._trace = tempfile.TemporaryFile()
        self._connection, theirs = Pipe()
        descriptors = (theirs.fileno(), shared.fileno(), self._trace.fileno())
        path = json.dumps([entry or os.getcwd() for entry in sys.path])
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, *map(str, descriptors), path],
                pass_fds=descriptors,
                env={**os.environ, **_ONE_THREAD},
                stdin=subprocess.DEVNULL,
            )
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)

    def send(self, command: bytes, *messages: Any) -> None:
        """Write a command and its message, if it has one; that nobody reads it shows in :meth:`answer`."""
        try:
            os.write(self._connection.fileno(), command)
            for message in messages:
                self._connection.send(message)
        except ConnectionError:
            pass

    def answer(self, deadline: float, *, message: bool = False) -> Any:
        """Wait until the command is done; returns what follows, where a ``message`` does.

        Raises:
            BrokenWorker: where the process failed, died, or is not done by ``deadline`` on the monotonic clock.
        """
        if not self._poll.poll(max(deadline - time.monotonic(), 0.0) * 1000.0):
            self.process.send_signal(signal.SIGABRT)  # its faulthandler writes where it is
            trace = self._end()
            problem = f"the worker process hangs (no answer within its timeout){_innermost(trace)}"
            raise BrokenWorker(RowFault(self._running(), problem), trace)
        failure = None
        try:
            byte = os.read(self._connection.fileno(), 1)
            if byte == worker.DONE:
                return self._connection.recv() if message else None
            if byte == worker.FAILED:
                failure = worker.Failure(*self._connection.recv())
        except (ConnectionError, EOFError):
            pass
        trace = self._end()
        if failure is not None:
            raise BrokenWorker(RowFault(failure.row, failure.problem), failure.trace)
        problem = f"the worker process died ({_in_words(self.process.returncode)}){_innermost(trace)}"
        raise BrokenWorker(RowFault(self._running(), problem), trace)

    def _running(self) -> int | None:
        """The environment whose code ran last, where that is known."""
        running = np.flatnonzero(self._playing)
        return int(running[0]) if len(running) else 0 if len(self._playing) == 1 else None

    def _end(self) -> str:
        """Wait for the process, kill it where it stays, and return the Python stack that it left behind."""
        try:
            self.process.wait(timeout=_SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._trace.seek(0)
        return self._trace.read().decode(errors="replace")

    def ask_to_leave(self) -> None:
        """The process ends on its own, unless it hangs."""
        if not self._connection.closed:
            self.send(worker.QUIT)
            self._connection.close()

    def reap(self) -> None:
        """Wait until the process has left, and kill it where it does not."""
        self.ask_to_leave()
        if not self._trace.closed:
            self._end()
            self._trace.close()


def _in_words(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _innermost(trace: str) -> str:
    """Where a process was, from what its faulthandler wrote."""
    frame = _FRAME.search(trace)
    return place(frame[1], frame[2], frame[3]) if frame else ""
