"""What the user's word for an environment means, and that data files cannot choose code."""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
import torch
from counting_envs import CountingEnv, CountingVectorEnv

from gail.core.errors import InputError
from gail.envs import ids, make_vec, open_vec, resolve
from gail.envs.cartpole import CartPole

ENV_FILE = """
import gymnasium
import beside  # a module in the same folder
from counting_envs import CountingEnv

class Mine(CountingEnv):
    def __init__(self, length=beside.LENGTH, **kwargs):
        super().__init__(length, **kwargs)

def batch(num_envs, device, wide=False):
    from gail.envs.cartpole import CartPole  # here, so that worker processes do not import torch
    return CartPole(num_envs, device)

def not_a_batch(num_envs, device):
    return 3

def not_an_env():
    return 3

number = 5
gymnasium.register("FromFile-v0", Mine, max_episode_steps=2)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "beside.py").write_text("LENGTH = 6\n")
    path = tmp_path / "my_env.py"
    path.write_text(ENV_FILE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield "./my_env.py"
    sys.modules.pop("beside", None)
    gym.registry.pop("FromFile-v0", None)


def episode_length(env) -> int:
    env.reset(0)
    for step in range(1, 20):
        if bool((end := env.step(torch.zeros(env.num_envs, dtype=torch.int64))).terminated[0] | end.truncated[0]):
            return step
    return 0


@pytest.mark.parametrize("backend", ["sync", "async"])
def test_a_class_in_a_file_is_played_with_its_keywords_in_this_process_and_in_workers(file: str, backend: str) -> None:
    with open_vec(f"{file}:Mine", 2, backend=backend) as env:
        assert (env.env_id, episode_length(env)) == (f"{file}:Mine", 6)
    with open_vec(f"{file}:Mine", 2, backend=backend, length=4, max_episode_steps=3) as env:
        assert (env.max_episode_steps, env.env_kwargs, episode_length(env)) == (
            3,
            {"length": 4, "max_episode_steps": 3},
            3,
        )


@pytest.mark.parametrize("backend", ["sync", "async"])
def test_an_id_registered_by_a_file_has_its_time_limit(file: str, backend: str) -> None:
    with open_vec(f"{file}:FromFile-v0", 2, backend=backend) as env:
        assert (env.env_id, episode_length(env)) == (f"{file}:FromFile-v0", 2)


def test_a_function_with_num_envs_makes_the_batch(file: str) -> None:
    env = make_vec(f"{file}:batch", 3, wide=True)
    assert isinstance(env, CartPole) and env.num_envs == 3
    assert (env.env_id, env.env_kwargs) == (f"{file}:batch", {"wide": True})


def test_a_class_of_a_module_in_the_current_folder_is_found(file: str) -> None:
    code = (
        "from gail.envs import make_vec\n"
        "for backend in ('sync', 'async'):\n"
        "    env = make_vec('my_env:Mine', 2, backend=backend)\n"
        "    print(env.env_id, env.reset(0).shape[0])\n"
        "    env.close()\n"
    )
    # -P: the current folder is not on the search path by itself, as for the installed command.
    paths = [path for path in sys.path if path not in ("", os.getcwd())]
    code = f"import sys; sys.path[:] = {paths!r}\n{code}"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["my_env:Mine", "2"] * 2, done.stderr


_MAKING = """import pettingzoo
class Unlicensed:
    def __init__(self): raise OSError("no licence")
def unlicensed_batch(num_envs):
    raise OSError("no licence")
class Sized:
    def __init__(self, size): pass
def nothing(render_mode=None):
    pass
class UnlicensedTeam(pettingzoo.ParallelEnv):
    def __init__(self):
        raise OSError("no licence")
class SizedTeam(pettingzoo.ParallelEnv):
    def __init__(self, size): pass
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./my_env.py:Mien", ["Mien", "Mine"]),
        ("./my_env.py", ["FILE.py:NAME", "Mine", "batch"]),
        ("./missing.py:Mine", ["there is no file", "missing.py"]),
        ("./broken.py:Mine", ["broken.py, line 1"]),
        ("./lacking.py:Mine", ["not_installed_here", "pip install"]),
        ("./my_env.py:number", ["number", "Mine"]),
        ("./my_env.py:not_an_env", ["not_an_env", "int", "gymnasium.Env"]),
        ("./my_env.py:not_a_batch", ["not_a_batch", "int", "VecEnv"]),
        ("no_such_module_at_all:Mine", ["no_such_module_at_all"]),
        ("./raising.py:Mine", ["running it raised ZeroDivisionError", "in start at raising.py:2"]),
        ("raising:Mine", ["importing raising raised ZeroDivisionError", "in start at raising.py:2"]),
        ("./making.py:Unlicensed", ["making it raised OSError: no licence", "in __init__ at making.py:3"]),
        (
            "./making.py:unlicensed_batch",
            ["making it raised OSError: no licence", "in unlicensed_batch at making.py:5"],
        ),
        ("./making.py:Sized", ["needs the keyword size", "--env-kwargs"]),
        ("./making.py:UnlicensedTeam", ["making it raised OSError: no licence", "in __init__ at making.py:12"]),
        ("./making.py:SizedTeam", ["needs the keyword size", "--env-kwargs"]),
        ("./making.py:nothing", ["makes 'NoneType'", "PettingZoo"]),
    ],
)
def test_what_is_wrong_with_a_custom_name_is_said_in_one_line(file: str, name: str, words: list[str]) -> None:
    Path("broken.py").write_text("def (\n")
    Path("lacking.py").write_text("import not_installed_here\n")
    Path("raising.py").write_text("def start():\n    1 / 0\nstart()\n")
    Path("making.py").write_text(_MAKING)
    with pytest.raises(InputError) as error:
        make_vec(name, 2)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_environment_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="an environment is a name, a class or a function, found int"):
        make_vec(3, 2)


def test_an_unknown_keyword_of_a_batch_is_named(file: str) -> None:
    with pytest.raises(InputError, match=r"batch.*'wheels'"):
        make_vec(f"{file}:batch", 2, wheels=3)
    with pytest.raises(InputError, match="backend 'sync'"):
        make_vec(f"{file}:batch", 2, backend="sync")


def test_callables_are_played_and_those_that_workers_can_import_in_workers() -> None:
    for callable_, backend in ((lambda length=5: CountingEnv(length), "sync"), (CountingEnv, "async")):
        with open_vec(callable_, 2, backend=backend, length=5) as env:
            assert episode_length(env) == 5
            assert env.env_id.startswith("callable:")
    with pytest.raises(InputError, match="backend='sync'"):
        make_vec(lambda: CountingEnv(), 8, backend="async")
    with open_vec(lambda: CountingEnv(), 8) as env:
        assert type(env).__name__ == "GymSyncVecEnv"
    with open_vec(CountingVectorEnv, 3) as env:
        assert env.reset(0).shape == (3, 2)


def test_a_batch_is_used_as_it_is_and_stays_open() -> None:
    class Closing(CartPole):
        closed = False

        def close(self) -> None:
            self.closed = True

    own = Closing(3)
    assert make_vec(own, 50) is own
    with open_vec(own, 50) as env:  # watched
        assert env.reset(0).equal(own.reset(0)) and env.template is own.template
    assert not own.closed
    with pytest.raises(InputError, match="used as it is, found length"):
        make_vec(own, 3, length=5)
    with pytest.raises(InputError, match="device cpu, expected meta"):
        make_vec(own, 3, device="meta")
    del own.max_episode_steps
    with pytest.raises(InputError, match="lacks max_episode_steps"):
        make_vec(own, 3)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "mazes-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mazes\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[gail.envs]\nmaze = counting_envs:CountingEnv\nlost = counting_envs:Missing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    resolve.installed_entry_points.cache_clear()
    yield
    resolve.installed_entry_points.cache_clear()


@pytest.mark.parametrize("backend", ["sync", "async"])
def test_an_installed_package_names_environments(installed: None, backend: str) -> None:
    with open_vec("maze", 2, backend=backend, length=4) as env:
        assert (env.env_id, episode_length(env)) == ("maze", 4)


def test_an_entry_point_that_cannot_be_loaded_names_its_package(installed: None) -> None:
    with pytest.raises(InputError, match=r"lost: the entry point 'counting_envs:Missing' of package 'mazes'"):
        make_vec("lost", 2)
    with pytest.raises(InputError, match="did you mean maze"):
        make_vec("mazes", 2)


def test_a_file_may_name_registered_environments_only() -> None:
    assert ids.require_registered("ALE/Pong-v5", "x.npz") == "ALE/Pong-v5"
    with pytest.raises(InputError, match="names code to run"):  # what it makes is its keyword env_id
        ids.require_registered("GymV26Environment-v0", "x.npz")
    for name in ("os:system", "./my_env.py:Mine", "my_env.py"):
        with pytest.raises(InputError, match=r"x\.npz.*--env " + name):
            ids.require_registered(name, "x.npz")
    with pytest.raises(InputError, match="pass the environment itself"):
        ids.require_registered("callable:Mine", "x.npz")


def test_ids_are_the_same_wherever_the_file_lies() -> None:
    assert ids.same_environment("./my_env.py:Mine", "/home/me/my_env.py:Mine")
    assert not ids.same_environment("./my_env.py:Mine", "./my_env.py:Other")
    assert not ids.same_environment("ALE/Pong-v5", "Pong-v5")
    assert ids.same_environment("callable:<lambda>", "./my_env.py:Mine")
