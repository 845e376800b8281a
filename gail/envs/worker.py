"""The process that steps one chunk of the async backend's environments; imports no torch.

Protocol, over one socket: the parent writes one byte (:data:`STEP`, ...), for some followed by a message; the
worker answers with :data:`DONE`, for some followed by one message, or with :data:`FAILED` and a :class:`Failure`.
Actions and results lie in shared memory, so that a step moves one byte each way. End of file means that the
parent is gone: the worker leaves.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.registration import EnvSpec

from gail.envs.chunk import Array, Buffers, EnvChunk, RowFault, make_env
from gail.envs.resolve import find_spec

STEP, RESET, STATE, LOAD, RENDER, QUIT = b"s", b"r", b"g", b"l", b"v", b"q"
DONE, FAILED = b"k", b"e"

Layout = Mapping[str, tuple[tuple[int, ...], np.dtype]]

_CACHE_LINE = 64


class Failure(NamedTuple):
    """Why a worker gave up."""

    row: int | None
    """Which environment of its chunk broke, where one did."""
    problem: str
    """What went wrong, in words."""
    trace: str
    """The traceback."""


def shared_size(layout: Layout) -> int:
    """Bytes that :func:`map_buffers` needs."""
    return sum(_padded_bytes(shape, dtype) for shape, dtype in layout.values())


def map_buffers(memory: mmap.mmap, layout: Layout) -> Buffers:
    """Arrays over shared memory, each starting on its own cache line."""
    arrays: dict[str, Array] = {}
    offset = 0
    for name, (shape, dtype) in layout.items():
        arrays[name] = np.ndarray(shape, dtype, buffer=memory, offset=offset)
        offset += _padded_bytes(shape, dtype)
    return Buffers.of(arrays)


def _padded_bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    size = int(np.prod(shape)) * dtype.itemsize
    return -(-size // _CACHE_LINE) * _CACHE_LINE + _CACHE_LINE


def main(socket: int, shared: int, trace: int) -> None:
    """Serve the parent until it quits or is gone.

    Args:
        socket: file descriptor of the connection.
        shared: file descriptor of the shared memory.
        trace: file descriptor that gets the Python stack where a signal (SIGSEGV, SIGABRT, ...) ends this process.
    """
    faulthandler.enable(trace)
    # Ctrl-C reaches the whole process group; the parent decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(socket)
    chunk: EnvChunk | None = None
    try:
        setup = connection.recv()
        start, stop = setup["rows"]
        buffers = map_buffers(mmap.mmap(shared, shared_size(setup["layout"])), setup["layout"])
        spec = setup["spec"] if isinstance(setup["spec"], EnvSpec) else find_spec(setup["spec"])
        envs = [make_env(spec, setup["env_kwargs"]) for _ in range(start, stop)]
        chunk = EnvChunk(envs, buffers.rows(start, stop))
        os.write(socket, DONE)
        while (command := os.read(socket, 1)) not in (QUIT, b""):
            _serve(command, chunk, connection)
    except (EOFError, ConnectionError):
        pass
    except BaseException as error:
        fault = error if isinstance(error, RowFault) else RowFault.of(None, error)
        os.write(socket, FAILED)
        # A wrong value comes from this package's check of it: only an exception has a traceback of the environment's.
        own = "" if fault is error and error.__cause__ is None else traceback.format_exc()
        connection.send(Failure(fault.index, fault.problem, own))
    finally:
        if chunk is not None:
            chunk.close()


def _serve(command: bytes, chunk: EnvChunk, connection: Connection) -> None:
    answer: Any = None
    if command == STEP:
        chunk.step()
    elif command == RESET:
        chunk.reset(connection.recv())
    elif command == STATE:
        answer = chunk.state()
    elif command == LOAD:
        answer = chunk.load(connection.recv()), chunk.current_obs()
    elif command == RENDER:
        answer = chunk.render()
    os.write(connection.fileno(), DONE)
    if answer is not None:
        connection.send(answer)
