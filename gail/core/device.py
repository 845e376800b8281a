"""Where tensors live and how many threads work on them."""

from __future__ import annotations

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
