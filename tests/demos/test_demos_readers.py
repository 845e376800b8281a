from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gail.core.errors import InputError
from gail.demos import Columns, Demonstrations, load_demos


class Bomb:
    """Unpickling an instance would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def rows(demos: Demonstrations, name: str) -> np.ndarray:
    return np.concatenate([getattr(t, name) for t in demos])


def states_acted_in(demos: Demonstrations) -> np.ndarray:
    return np.concatenate([t.observations[:-1] for t in demos])


def assert_last_steps_dropped(loaded: Demonstrations, demos: Demonstrations) -> None:
    """What a format without last successors keeps: all but each episode's last step, ends unknown."""
    assert loaded.dropped == len(demos) == len(loaded)
    for got, true in zip(loaded, demos, strict=True):
        assert np.allclose(got.observations, true.observations[:-1], atol=1e-6)
        assert np.allclose(got.actions, true.actions[:-1], atol=1e-6)
        assert got.actions.dtype.kind == true.actions.dtype.kind
        assert got.terminated is None and got.truncated is None


def refused(path: Path, words: str, **options) -> None:
    with pytest.raises(InputError) as caught:
        load_demos(path, **options)
    message = str(caught.value)
    assert words in message and "\n" not in message and str(path) in message


# stable-baselines


@pytest.fixture(params=["CartPole-v1", "Pendulum-v1"])
def demos(request, play) -> Demonstrations:
    return play(request.param, episodes=3)


def baselines_arrays(demos: Demonstrations) -> dict[str, np.ndarray]:
    starts = np.concatenate([np.arange(len(t)) == 0 for t in demos])
    actions = rows(demos, "actions").reshape(len(starts), -1)
    return {
        "obs": states_acted_in(demos),
        "actions": actions,
        "rewards": rows(demos, "rewards").astype(np.float64),
        "episode_starts": starts,
        "episode_returns": demos.returns,
    }


def test_baselines_npz_drops_each_episodes_last_step(demos, tmp_path):
    np.savez(tmp_path / "d.npz", **baselines_arrays(demos))
    loaded = load_demos(tmp_path / "d.npz", env_id="Pendulum-v1")
    assert loaded.format == "stable-baselines-npz" and loaded.env_id == "Pendulum-v1"
    assert_last_steps_dropped(loaded, demos)
    assert np.array_equal(loaded.trajectories[1].rewards, demos.trajectories[1].rewards[:-1])


def test_baselines_npz_that_starts_inside_an_episode_is_refused(demos, tmp_path):
    arrays = baselines_arrays(demos)
    arrays["episode_starts"][0] = False
    np.savez(tmp_path / "d.npz", **arrays)
    refused(tmp_path / "d.npz", "'episode_starts'")


def test_baselines_npz_with_columns_of_unequal_length_is_refused(demos, tmp_path):
    arrays = baselines_arrays(demos)
    np.savez(tmp_path / "d.npz", **(arrays | {"obs": arrays["obs"][:-1]}))
    refused(tmp_path / "d.npz", "observations")


# imitation


def imitation_arrays(demos: Demonstrations, infos: np.ndarray) -> dict[str, np.ndarray]:
    """As imitation's `save` wrote them before 0.4."""
    return {
        "obs": rows(demos, "observations"),
        "acts": rows(demos, "actions"),
        "rews": rows(demos, "rewards"),
        "infos": infos,
        "terminal": np.array([True, True, False]),
        "indices": np.cumsum([len(t) for t in demos.trajectories[:-1]]),
    }


def assert_imitation_episodes(loaded: Demonstrations, demos: Demonstrations) -> None:
    for got, true in zip(loaded, demos, strict=True):
        assert np.array_equal(got.observations, true.observations)
        assert np.array_equal(got.actions, true.actions) and np.array_equal(got.rewards, true.rewards)
    ends = [(t.terminated, t.truncated) for t in loaded]
    assert ends == [(None, None), (None, None), (False, True)]
    assert loaded.dropped == 0


def test_imitation_npz_is_read_without_touching_its_pickled_infos(demos, tmp_path):
    mark = tmp_path / "executed"
    np.savez(tmp_path / "d.npz", **imitation_arrays(demos, np.array([Bomb(mark)], dtype=object)))
    loaded = load_demos(tmp_path / "d.npz")
    assert loaded.format == "imitation-npz" and not mark.exists()
    assert_imitation_episodes(loaded, demos)


@pytest.mark.parametrize("indices", [[70, 20], [0, 5], [10_000, 10_001], [0.5, 1.5]])
def test_imitation_npz_with_impossible_cuts_is_refused(demos, tmp_path, indices):
    arrays = imitation_arrays(demos, np.zeros(1)) | {"indices": np.array(indices)}
    np.savez(tmp_path / "d.npz", **arrays)
    refused(tmp_path / "d.npz", "'indices'")


def write_huggingface_folder(demos: Demonstrations, folder: Path) -> None:
    """The layout of `datasets.Dataset.save_to_disk`, with two shards."""
    import pyarrow as pa

    folder.mkdir()
    names = []
    for shard, episodes in enumerate([demos.trajectories[:1], demos.trajectories[1:]]):
        table = pa.table(
            {
                "obs": [t.observations.tolist() for t in episodes],
                "acts": [t.actions.tolist() for t in episodes],
                "infos": [['{"py/object": "os.system"}'] * len(t) for t in episodes],
                "terminal": [[True], [True, False]][shard],
                "rews": [t.rewards.tolist() for t in episodes],
            },
        )
        fields = {
            "obs": pa.list_(pa.list_(pa.float32())),
            "acts": pa.list_(pa.int64() if demos.trajectories[0].actions.dtype.kind == "i" else pa.list_(pa.float32())),
            "infos": pa.list_(pa.string()),
            "terminal": pa.bool_(),
            "rews": pa.list_(pa.float32()),
        }
        table = table.cast(pa.schema(list(fields.items())))
        names.append(f"data-0000{shard}-of-00002.arrow")
        with pa.ipc.new_stream(str(folder / names[-1]), table.schema) as writer:
            writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


def test_imitation_huggingface_folder_is_read_exactly(demos, tmp_path):
    write_huggingface_folder(demos, tmp_path / "d")
    loaded = load_demos(tmp_path / "d")
    assert loaded.format == "imitation-huggingface"
    assert loaded.trajectories[0].observations.dtype == np.float32
    assert_imitation_episodes(loaded, demos)


def test_huggingface_folder_may_not_point_outside_itself(demos, tmp_path):
    write_huggingface_folder(demos, tmp_path / "d")
    (tmp_path / "d" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../x.arrow"}]}))
    refused(tmp_path / "d", "file names in the folder")


def test_huggingface_folder_that_is_damaged_is_refused(demos, tmp_path):
    write_huggingface_folder(demos, tmp_path / "d")
    shard = next((tmp_path / "d").glob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:100])
    refused(tmp_path / "d", "Arrow stream")
    shard.unlink()
    refused(tmp_path / "d", "Arrow stream")
    (tmp_path / "d" / "state.json").write_bytes(b"\xff{")
    refused(tmp_path / "d", "state.json")


# npy


def test_npy_episodes_take_the_last_column_as_action_unless_told(tmp_path):
    values = np.arange(2 * 5 * 4, dtype=np.float64).reshape(2, 5, 4) + 0.5
    np.save(tmp_path / "d.npy", values)
    loaded = load_demos(tmp_path / "d.npy")
    assert [len(t) for t in loaded] == [4, 4] and loaded.dropped == 2
    assert np.array_equal(loaded.trajectories[1].observations, values[1, :, :3].astype(np.float32))
    assert np.array_equal(loaded.trajectories[1].actions, values[1, :4, 3:].astype(np.float32))
    two = load_demos(tmp_path / "d.npy", columns=Columns(observations=("2", "0"), actions=("1", "3")))
    assert np.array_equal(two.trajectories[0].observations, values[0][:, [2, 0]].astype(np.float32))
    assert two.trajectories[0].actions.shape == (4, 2)


def test_npy_action_shift_drops_the_first_action_not_the_last(tmp_path):
    values = np.stack([np.arange(5), np.arange(5) + 10], axis=1)[None]
    np.save(tmp_path / "d.npy", values)
    (trajectory,) = load_demos(tmp_path / "d.npy", action_shift=1)
    assert trajectory.actions.tolist() == [11, 12, 13, 14]
    assert trajectory.observations[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_npy_of_pickled_objects_is_refused_and_runs_nothing(tmp_path):
    mark = tmp_path / "executed"
    np.save(tmp_path / "d.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    refused(tmp_path / "d.npy", "array of numbers")
    assert not mark.exists()


def test_npy_of_another_shape_or_without_that_column_is_refused(tmp_path):
    np.save(tmp_path / "d.npy", np.zeros(3))
    refused(tmp_path / "d.npy", "[E, T, columns]")
    np.save(tmp_path / "d.npy", np.zeros((2, 3, 4)))
    refused(tmp_path / "d.npy", "no column '9'", columns=Columns(actions=("9",)))


def test_columns_are_refused_where_no_column_exists(demos, tmp_path):
    np.savez(tmp_path / "d.npz", **baselines_arrays(demos))
    refused(tmp_path / "d.npz", "columns are for", columns=Columns())


# text


def table_lines(demos: Demonstrations, separator: str, successors: bool) -> list[str]:
    width = demos.trajectories[0].observations.shape[1]
    names = [f"obs_{i}" for i in range(width)] + ["action", "reward", "episode", "terminated", "truncated"]
    lines = [separator.join(names + [f"next_obs_{i}" for i in range(width)] * successors)]
    for number, t in enumerate(demos):
        for step in range(len(t)):
            last = step == len(t) - 1
            cells = [*t.observations[step], float(np.ravel(t.actions[step])[0]), t.rewards[step], number]
            cells += [int(last and t.terminated), int(last and t.truncated)]
            cells += list(t.observations[step + 1]) * successors
            lines.append(separator.join(repr(float(cell)) for cell in cells))
    return lines


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_csv_separator_and_header_are_found(demos, tmp_path, separator):
    (tmp_path / "d.csv").write_text("\n".join(table_lines(demos, separator, False)))
    loaded = load_demos(tmp_path / "d.csv")
    assert_last_steps_dropped(loaded, demos)
    assert np.allclose(loaded.trajectories[2].rewards, demos.trajectories[2].rewards[:-1])


def test_csv_with_successors_keeps_every_step_and_its_end(demos, tmp_path):
    (tmp_path / "d.csv").write_text("\n".join(table_lines(demos, ",", True)))
    loaded = load_demos(tmp_path / "d.csv")
    assert loaded.dropped == 0
    for got, true in zip(loaded, demos, strict=True):
        assert np.array_equal(got.observations, true.observations)
        assert (got.terminated, got.truncated) == (true.terminated, true.truncated)


def test_csv_whose_successor_is_not_the_next_row_is_refused(demos, tmp_path):
    lines = table_lines(demos, ",", True)
    lines[3], lines[4] = lines[4], lines[3]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    refused(tmp_path / "d.csv", "differs from the next row")


def test_csv_with_an_end_flag_inside_an_episode_is_refused(demos, tmp_path):
    lines = table_lines(demos, ",", False)
    names = lines[0].split(",")
    cells = lines[3].split(",")
    cells[names.index("terminated")] = "1"
    lines[3] = ",".join(cells)
    (tmp_path / "d.csv").write_text("\n".join(lines))
    refused(tmp_path / "d.csv", "steps follow an end")


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCar-v0"])
def test_csv_without_marks_is_refused_until_jumps_are_allowed(play, tmp_path, env_id):
    demos = play(env_id, episodes=3)
    folder = tmp_path / "d"
    folder.mkdir()
    np.savetxt(folder / "observations.csv", states_acted_in(demos))
    np.savetxt(folder / "actions.csv", rows(demos, "actions").reshape(-1, 1))
    refused(folder, "nothing says where episodes begin")
    assert_last_steps_dropped(load_demos(folder, columns=Columns(episode_by_jump=True)), demos)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty file"),
        ("a,b,episode\n", "expected at least one step"),
        ("1,2,3\n1,2\n", "line 2: expected 3 columns, found 2"),
        ("obs,act,episode\n1,2,x\n", "line 2: expected numbers"),
        ("act,reward,episode\n1,2,0\n", "no observation column"),
        ("obs,act,done\n1,2,0\n1,2,3\n", "end flags 0 and 1"),
        ("x,x,act,done\n1,2,3,0\n1,2,3,1\n", "two columns are called 'x'"),
        ("reward,done\n1,0\n1,1\n", "no action column"),
    ],
)
def test_bad_text_tables_are_refused_with_the_line(tmp_path, content, words):
    (tmp_path / "d.csv").write_text(content)
    refused(tmp_path / "d.csv", words)


def test_the_last_column_that_is_nothing_else_is_the_action(tmp_path):
    (tmp_path / "d.csv").write_text("x,y,push,reward,done\n1,2,3,5,0\n4,5,6,7,0\n8,9,1,2,1\n")
    episode = load_demos(tmp_path / "d.csv").trajectories[0]
    assert episode.observations.tolist() == [[1, 2], [4, 5], [8, 9]]
    assert episode.actions.tolist() == [3, 6] and episode.rewards.tolist() == [5, 7]


def test_a_header_of_the_columns_numbers_is_no_step(tmp_path):
    (tmp_path / "d.csv").write_text("0,1,2\n5,6,0\n7,8,0\n9,6,1\n")
    (tmp_path / "e.csv").write_text("0,1\n2,1\n3,0\n")  # two columns: as well a step
    columns = Columns(observations=("0",), actions=("1",), done="2")
    assert load_demos(tmp_path / "d.csv", columns=columns).trajectories[0].observations.tolist() == [[5], [7], [9]]
    assert load_demos(tmp_path / "e.csv", columns=Columns(episode_by_jump=True)).steps == 2


def test_a_column_has_one_use(tmp_path):
    (tmp_path / "d.csv").write_text("x,y,push,done\n1,2,3,0\n4,5,6,1\n")
    for observations in (("x", "x"), ("x", "push")):
        columns = Columns(observations=observations, actions=("push",))
        refused(tmp_path / "d.csv", "is taken twice", columns=columns)


def test_a_folder_with_several_files_of_observations_is_refused(tmp_path):
    for name in ("obs_0.csv", "obs_1.csv", "act_0.csv", "act_1.csv"):
        (tmp_path / name).write_text("1\n2\n3\n")
    refused(tmp_path, "expected one file of observations, found 2 (obs_0.csv, obs_1.csv)")


def test_binary_in_a_text_file_is_refused(tmp_path):
    (tmp_path / "d.csv").write_bytes(b"\xff\xfe\x00\x01" * 10)
    refused(tmp_path / "d.csv", "UTF-8")


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "Acrobot-v1", "Walker2d-v5"])
def test_jumps_are_found_exactly_where_the_named_environment_can_be_played(play, tmp_path, env_id):
    demos = play(env_id, episodes=4)
    folder = tmp_path / "d"
    folder.mkdir()
    np.savetxt(folder / "states.txt", states_acted_in(demos))
    np.savetxt(folder / "actions.txt", rows(demos, "actions").reshape(len(states_acted_in(demos)), -1))
    columns = Columns(episode_by_jump=True)
    assert_last_steps_dropped(load_demos(folder, columns=columns, env_id=env_id), demos)
    refused(folder, "cannot be made", columns=columns, env_id="Nowhere-v0")


# JSON lines


def test_columns_that_json_lines_do_not_read_are_refused(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"observation": [1], "action": 0, "done": true}\n' * 2)
    refused(tmp_path / "d.jsonl", "name their values themselves", columns=Columns(rewards="mine"))


def test_jsonl_episodes_keep_rows_ends_and_seed(demos, tmp_path):
    lines = [json.dumps({"env_id": "CartPole-v1", "env_kwargs": {"a": 1}, "source": "me"})]
    for t in demos:
        episode = {"observations": t.observations.tolist(), "actions": t.actions.tolist()}
        episode |= {"rewards": t.rewards.tolist(), "terminated": t.terminated, "truncated": t.truncated}
        lines.append(json.dumps(episode | {"seed": t.seed}))
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    loaded = load_demos(tmp_path / "d.jsonl")
    assert (loaded.env_id, loaded.env_kwargs, loaded.source) == ("CartPole-v1", {"a": 1}, "me")
    for got, true in zip(loaded, demos, strict=True):
        assert np.array_equal(got.observations, true.observations)
        assert np.array_equal(got.actions, true.actions) and got.actions.dtype == true.actions.dtype
        assert (got.terminated, got.truncated, got.seed) == (true.terminated, true.truncated, true.seed)


def test_jsonl_steps_are_cut_at_done(demos, tmp_path):
    lines = [
        json.dumps(
            {
                "observation": t.observations[step].tolist(),
                "action": t.actions[step].tolist(),
                "done": step == len(t) - 1,
            }
        )
        for t in demos
        for step in range(len(t))
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    assert_last_steps_dropped(load_demos(tmp_path / "d.jsonl"), demos)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "found none"),
        ("{\n", "line 1: expected a JSON object"),
        ("[1]\n", "line 1: expected a JSON object"),
        ('{"observations": [[1], [2, 3]], "actions": [1]}', "ragged"),
        ('{"observations": [[1], [2], [3]], "actions": [1]}', "expected 1 observations for 1 actions"),
        ('{"observations": [["a"], ["b"]], "actions": [1]}', "expected numbers"),
        ('{"observations": [[1], [2]], "actions": [1], "terminated": 7}', "true or false"),
        ('{"env_id": 7}\n{"observations": [[1], [2]], "actions": [1]}', "expected an id"),
        ('{"observation": [1], "action": 1}\n{"observation": [1]}', "in all 2 lines, found 1"),
    ],
)
def test_bad_json_lines_are_refused_in_one_line(tmp_path, content, words):
    (tmp_path / "d.jsonl").write_text(content)
    refused(tmp_path / "d.jsonl", words)


# files that no one on the project made


def test_foreign_files_load_with_the_counts_of_their_sources(third_party_data):
    folder = third_party_data / "foreign"
    cartpole = load_demos(folder / "sb2_expert_cartpole.npz")
    assert (len(cartpole), cartpole.steps, cartpole.dropped) == (100, 49_427, 100)
    pendulum = load_demos(folder / "sb2_expert_pendulum.npz")
    assert (len(pendulum), pendulum.steps) == (100, 19_900)
    assert pendulum.trajectories[0].actions.shape == (199, 1)
    car = load_demos(folder / "mountaincar_state_action.npy", env_id="MountainCar-v0")
    assert (len(car), car.steps, car.trajectories[0].actions.dtype) == (20, 2_580, np.int64)
    csv = load_demos(folder / "csv_cartpole", columns=Columns(episode_by_jump=True))
    assert (len(csv), csv.steps, csv.dropped) == (20, 3_977, 20)
