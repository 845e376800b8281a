"""What somebody else's code raised or returned, in a few words of one line; imports no torch."""

from __future__ import annotations

import os
import traceback
from typing import Any

import numpy as np

_LIBRARIES = frozenset(("gail", "gymnasium", "importlib", "numpy", "pettingzoo", "torch"))
"""Packages between the caller and the code that somebody looks for."""


def raised(error: BaseException) -> str:
    """``ValueError: out of rails, in step at my_env.py:88``; the place where there is one outside of libraries."""
    own = error.__cause__ or error
    if type(own) is not type(error) or not str(error).startswith(str(own)):
        own = error  # else Gymnasium only added where it came from
    first = str(own).strip().partition("\n")[0]
    frames = [
        place(frame.f_code.co_filename, line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(own.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in _LIBRARIES
    ]
    return f"{type(own).__name__}{': ' if first else ''}{first}{frames[-1] if frames else ''}"


def place(file: str, line: int | str, function: str) -> str:
    """``, in step at my_env.py:88``, to follow what happened there."""
    here = os.path.join(os.getcwd(), "")
    return f", in {function} at {file.removeprefix(here)}:{line}"


def described(value: Any) -> str:
    """The type of ``value``, with the shape of an array and the parts of a tuple."""
    if isinstance(value, tuple):
        return f"a tuple of {len(value)} ({', '.join(type(part).__name__ for part in value)})"
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def is_own(error: BaseException) -> bool:
    """Whether code of this package raised ``error``, and not what it called."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).startswith("gail.")
