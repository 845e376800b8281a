"""What MuJoCo itself warns of: kept from standard error and MUJOCO_LOG.TXT, and said with what was played."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np

_KNOWN_DEPRECATION = "compiler attribute 'settotalmass' is deprecated"
"""Of Gymnasium's half_cheetah.xml, which whoever plays it cannot change."""


@contextmanager
def without_known_deprecations() -> Iterator[None]:
    """Models of Gymnasium are loaded without MuJoCo's word on what their XML should not use any more.

    Every other warning is passed on.
    """
    outer = mujoco.get_mju_user_warning()

    def pass_on(message: str) -> None:
        if message.startswith(_KNOWN_DEPRECATION):
            return
        if outer is not None:
            outer(message)
        else:
            print(f"WARNING: {message}", file=sys.stderr)

    mujoco.set_mju_user_warning(pass_on)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(outer)


def take_warnings(datas: Sequence[Any]) -> dict[int, str]:
    """What each ``mujoco.MjData`` warned of since it was last asked, by its index; others are left out."""
    told = {}
    for row, data in enumerate(datas):
        counts = data.warning.number
        if (kinds := np.flatnonzero(counts)).size:
            told[row] = "; ".join(mujoco.mju_warningText(int(kind), int(data.warning.lastinfo[kind])) for kind in kinds)
            counts[:] = 0
    return told
