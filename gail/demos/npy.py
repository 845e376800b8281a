"""Plain ``.npy`` arrays: ``[E, T, C]`` (episodes of equal length) or ``[N, C]`` (a table of steps)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gail.demos.columns import Columns
from gail.demos.errors import DemosError
from gail.demos.fields import require_numbers
from gail.demos.recorded import ReadOptions
from gail.demos.table import columns_to_table, demonstrations_from_table
from gail.demos.types import Demonstrations

FORMAT = "npy"


def read_npy(path: Path, options: ReadOptions) -> Demonstrations:
    """Read an array whose last axis holds the columns of a step.

    Columns are numbered from 0. Without ``options.columns`` the last one is the action and all others
    are the observation (see :meth:`Columns.resolve`).

    Raises:
        DemosError: one line naming the file, what was found and what was expected.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, SyntaxError) as error:
        raise DemosError(f"{path}: expected a numpy array of numbers ({' '.join(str(error).split())[:160]})") from error
    require_numbers(path, "the array", values)
    if values.ndim not in (2, 3) or values.size == 0:
        raise DemosError(f"{path}: expected shape [E, T, columns] or [N, columns], found {values.shape}")
    header = [str(number) for number in range(values.shape[-1])]
    columns = (options.columns or Columns()).resolve(header, str(path))
    table = columns_to_table(path, values.reshape(-1, values.shape[-1]), columns)
    if values.ndim == 3:
        # The first axis says where episodes begin, whatever the columns say.
        episode = np.repeat(np.arange(values.shape[0]), values.shape[1])
        table = type(table)(**{**vars(table), "episode": episode})
    return demonstrations_from_table(path, table, options, by_jump=columns.episode_by_jump, format=FORMAT)
