"""Several files as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gail.cli.main import main
from gail.core.errors import InputError
from gail.demos import Demonstrations, Trajectory, join_demos, load_demos, save_demos


def episodes(count: int, value: float) -> Demonstrations:
    one = Trajectory(np.full((4, 2), value, np.float32), np.zeros((3, 1), np.float32), np.ones(3), False, True)
    return Demonstrations((one,) * count, env_id="Toy-v0", env_kwargs={"g": 1}, source=f"level {value}")


def test_the_episodes_follow_each_other_in_one_file(tmp_path: Path) -> None:
    files = [
        str(save_demos(episodes(count, value), tmp_path / f"{count}.npz")) for count, value in ((2, 1.0), (3, 5.0))
    ]
    assert main(["demos", "join", *files, "-o", str(tmp_path / "all.npz")]) == 0
    joined = load_demos(tmp_path / "all.npz")
    assert [float(t.observations[0, 0]) for t in joined] == [1, 1, 5, 5, 5]
    assert (joined.env_id, joined.env_kwargs) == ("Toy-v0", {"g": 1}) and "level 1.0; level 5.0" in joined.source


@pytest.mark.parametrize(
    "change", [{"env_id": "Other-v0"}, {"env_kwargs": {}}, {"kind": "transitions"}, {"generator": {"kind": "vae"}}]
)
def test_what_does_not_belong_together_is_refused(change: dict) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        join_demos([episodes(1, 1.0), replace(episodes(1, 2.0), **change)])
