"""The expert npz of stable-baselines: ``obs``, ``actions``, ``rewards``, ``episode_starts``, no successors.

Layout: ``ExpertDataset`` and ``generate_expert_traj`` of hill-a/stable-baselines (``gail/dataset/``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gail.demos.archive import read_npz
from gail.demos.errors import DemosError
from gail.demos.fields import require_numbers, squeeze_discrete
from gail.demos.recorded import ReadOptions
from gail.demos.table import StepTable, demonstrations_from_table
from gail.demos.types import Demonstrations

FORMAT = "stable-baselines-npz"


def read_baselines_npz(path: Path, options: ReadOptions) -> Demonstrations:
    """Read stable-baselines' layout; one transition per episode is dropped for want of its successor.

    ``episode_returns`` is not read: the rewards give the returns.

    Raises:
        DemosError: one line naming the file, the field, what was found and what was expected.
    """
    data = read_npz(path, ("obs", "actions", "episode_starts"), ("rewards",))
    for name, value in data.items():
        require_numbers(path, name, value)
    starts = data["episode_starts"].reshape(-1).astype(bool)
    if len(starts) and not starts[0]:
        raise DemosError(f"{path}: field 'episode_starts': expected the first row to start an episode")
    rewards = data.get("rewards")
    table = StepTable(
        data["obs"],
        squeeze_discrete(data["actions"]),
        None if rewards is None else rewards.reshape(-1),
        episode=np.cumsum(starts),
    )
    return demonstrations_from_table(path, table, options, by_jump=False, format=FORMAT)
