"""Many MuJoCo simulations advanced by a few threads of this process.

MuJoCo's functions release the interpreter's lock while they compute, so threads that only call them run side by
side. The calling thread works too; its helpers sleep on a lock between two rounds, so they take no time from what
runs there (torch, mostly).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import mujoco


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class StepTeam:
    """Advances N simulations of one model; results do not depend on the number of threads."""

    def __init__(self, model: Any, datas: Sequence[Any], substeps: int, *, contact_forces: bool, threads: int) -> None:
        """Start ``threads - 1`` helpers.

        Args:
            model: the ``mujoco.MjModel`` of all simulations.
            datas: a ``mujoco.MjData`` for each simulation.
            substeps: physics steps in one :meth:`step`.
            contact_forces: compute ``cfrc_ext`` after them, as Gymnasium's classes do.
            threads: how many work, the calling one included; at least 1.
        """
        # Simulations differ in cost (contacts), so whoever is done takes the next one; None: all are taken.
        self._round = [*datas, *repeat(None, threads)]
        self._todo: deque[Any] = deque()
        self._work = _work(model, substeps, contact_forces, self._todo)
        self._helpers = [_Helper(self._work) for _ in range(threads - 1)]
        for helper in self._helpers:
            weakref.finalize(self, helper.stop)

    def step(self) -> None:
        """Advance every simulation under the controls that it holds."""
        self._todo.extend(self._round)
        for helper in self._helpers:
            helper.begin()
        try:
            self._work()
        finally:
            # On an exception too (Ctrl-C): the caller must not go on while others still write.
            for helper in self._helpers:
                helper.finish()
            self._todo.clear()


def _work(model: Any, substeps: int, contact_forces: bool, todo: deque[Any]) -> Callable[[], None]:
    """The function that takes simulations from ``todo`` and advances them until it takes a None."""
    step, forces, models, counts = mujoco.mj_step, mujoco.mj_rnePostConstraint, repeat(model), repeat(substeps)

    def advance() -> None:
        deque(map(step, models, iter(todo.popleft, None), counts), maxlen=0)

    def advance_with_forces() -> None:
        for data in iter(todo.popleft, None):
            step(model, data, substeps)
            forces(model, data)

    return advance_with_forces if contact_forces else advance


class _Helper:
    """A thread that does ``work`` once per :meth:`begin`."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._running = True
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()
        threading.Thread(target=self._loop, name="gail-mujoco", daemon=True).start()

    def _loop(self) -> None:
        while True:
            self._go.acquire()
            if not self._running:
                return
            try:
                self._work()
            except BaseException as error:
                self._error = error
            self._done.release()

    def begin(self) -> None:
        self._go.release()

    def finish(self) -> None:
        """Wait for the work to be done; raise what it raised."""
        # Where it has not woken up yet (a busy machine), the work is done without it: it need not wake up at all.
        if self._go.acquire(blocking=False):
            return
        self._done.acquire()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def stop(self) -> None:
        self._running = False
        self._go.release()
