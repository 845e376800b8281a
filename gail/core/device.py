"""Where tensors live, how many threads work on them, and what becomes of the memory that they free."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import torch

from gail.core.errors import InputError


def resolve_device(name: str) -> torch.device:
    """The device called ``name`` (``cpu``, ``cuda``, ``cuda:1``, ``mps``).

    Raises:
        InputError: where this machine has no such device.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        # torch lists every backend that it knows; the first clause says what is wrong.
        reason = str(error).splitlines()[0].split(". ")[0][:100]
        raise InputError(f"--device: {name!r} cannot be used on this machine ({reason})") from error
    return device


def use_threads(count: int) -> None:
    """Let each tensor operation on the processor use ``count`` threads.

    Networks of this size gain nothing from more than one, and results depend on the number bit by bit.
    """
    torch.set_num_threads(count)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt(3)``."""
_KEPT_BYTES = 1 << 30


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that its tensors free, up to a gigabyte, where the C library is glibc.

    A training step frees and takes the same large blocks over and over. By default each of them goes back to the system
    and returns by one page fault per 4 KiB, which costs convolutional networks a tenth of their time and more.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
