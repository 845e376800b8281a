"""Several files as one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gail.cli.main import main
from gail.core.errors import InputError
from gail.demos import Demonstrations, Trajectory, file_hash, join_demos, load_demos, save_demos
from gail.demos.join import unrelated_transitions
from gail.demos.origin import describe_origin, expert_return, recorded_steps


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


@pytest.mark.parametrize("change", [{"env_id": "Other-v0"}, {"env_kwargs": {}}])
def test_what_does_not_belong_together_is_refused(change: dict) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        join_demos([episodes(1, 1.0), replace(episodes(1, 2.0), **change)])


def transitions(count: int, **changes: Any) -> Demonstrations:
    one = Trajectory(np.full((2, 2), 9, np.float32), np.zeros((1, 1), np.float32), np.ones(1), False, False)
    fields = {"kind": "transitions", "generator": {"kind": "vae", "hash": "h", "seed": 3}, **changes}
    return replace(episodes(1, 9.0), trajectories=(one,) * count, **fields)


def test_recorded_episodes_joined_with_synthetic_transitions_are_steps_and_the_file_says_which_are_whose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, made = save_demos(episodes(2, 1.0), tmp_path / "real.npz"), save_demos(transitions(4), tmp_path / "made.npz")
    assert main(["demos", "join", str(real), str(made), "-o", str(tmp_path / "mixed.npz"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["synthetic"] is True and said["return"] is None
    assert said["origin"] == "10 transitions: 6 recorded, 4 synthetic (vae)"
    mixed = load_demos(tmp_path / "mixed.npz")
    assert mixed.kind == "transitions" and [len(t) for t in mixed] == [1] * 10
    assert [t.truncated for t in mixed] == [False, False, True] * 2 + [False] * 4
    assert all(t.terminated is False for t in mixed)
    recorded, generated = mixed.generator["parts"] if mixed.generator else ()
    assert recorded == {
        "transitions": 6, "episodes": 2, "generator": None, "sha256": file_hash(real), "return_mean": 3.0,
    }  # fmt: skip
    assert generated["transitions"] == 4 and generated["generator"] == {"kind": "vae", "hash": "h", "seed": 3}
    assert (recorded_steps(mixed), expert_return(mixed)) == (6, 3.0)


def test_steps_of_an_episode_keep_their_states_actions_rewards_and_unknown_end() -> None:
    known = Trajectory(np.arange(8.0).reshape(4, 2), np.arange(3), np.asarray([1.0, 2.0, 3.0]), True, False, seed=4)
    demos = Demonstrations((known, replace(known, terminated=None, truncated=None)))
    steps = unrelated_transitions(demos).trajectories
    assert [t.terminated for t in steps] == [False, False, True, False, False, None]
    assert [t.observations.tolist() for t in steps[:3]] == [[[0, 1], [2, 3]], [[2, 3], [4, 5]], [[4, 5], [6, 7]]]
    assert [(int(t.actions[0]), t.rewards and float(t.rewards[0]), t.seed) for t in steps[:3]] == [
        (0, 1.0, None), (1, 2.0, None), (2, 3.0, None),
    ]  # fmt: skip


def test_a_joined_set_may_be_joined_again_but_not_cut() -> None:
    vae = replace(episodes(3, 2.0), generator={"kind": "vae"})
    joined = join_demos([join_demos([episodes(1, 1.0), vae]), episodes(2, 4.0)])
    assert joined.kind == "episodes" and joined.generator is not None
    assert [(p["episodes"], p["generator"]) for p in joined.generator["parts"]] == [
        (1, None), (3, {"kind": "vae"}), (2, None),
    ]  # fmt: skip
    assert describe_origin(joined) == "18 transitions: 9 recorded, 9 synthetic (vae)"
    with pytest.raises(InputError, match="joined of several sets"):
        joined.first(2)
    assert joined.first(6) == joined


def test_sets_of_one_generator_stay_that_generators() -> None:
    assert join_demos([transitions(2), transitions(3)]).generator == transitions(1).generator


def test_rewards_are_kept_only_where_every_part_has_them() -> None:
    bare = replace(episodes(1, 2.0), trajectories=(replace(episodes(1, 2.0).trajectories[0], rewards=None),))
    assert all(t.rewards is None for t in join_demos([episodes(2, 1.0), bare]))


@pytest.mark.parametrize(
    "parts", [None, [{}], [{"transitions": 5, "episodes": 1, "generator": None, "sha256": None, "return_mean": 1.0}]]
)
def test_parts_that_are_not_the_files_rows_are_refused(parts: Any, tmp_path: Path) -> None:
    path = save_demos(replace(episodes(1, 1.0), generator={"kind": "joined", "parts": parts}), tmp_path / "bad.npz")
    with pytest.raises(InputError, match=r"bad.npz: field 'generator': expected parts"):
        recorded_steps(load_demos(path))


def test_what_was_generated_gives_no_experts_return() -> None:
    assert expert_return(replace(episodes(1, 1.0), generator={"kind": "vae"})) is None
    assert expert_return(transitions(3, generator=None)) is None
    assert expert_return(join_demos([episodes(1, 1.0), replace(episodes(5, 1.0), generator={"kind": "vae"})])) == 3.0
