import subprocess
import sys

import counting_envs  # noqa: F401
import gymnasium as gym
import pytest

from gail.core.errors import InputError
from gail.envs import gym_family, make_vec


@pytest.mark.parametrize(
    "args,kwargs,words",
    [
        (("Hoper-v5", 2), {}, ["Hoper-v5", "did you mean", "Hopper-v5"]),
        (("CartPoleFixedHorizon-v1", 2), {}, ["did you mean", "CartPoleFixedHorizon-v0"]),
        (("Hopper-v5", 2), {"backend": "threads"}, ["threads", "native", "sync", "async"]),
        (("Hopper-v5", 2), {"backend": "native"}, ["Hopper-v5", "native", "CartPole-v1"]),
        (("CartPoleFixedHorizon-v0", 2), {"backend": "sync"}, ["native"]),
        (("Hopper-v5", 2), {"wheels": 4}, ["Hopper-v5", "wheels", "frame_skip"]),
        (("CartPole-v1", 2), {"wheels": 4}, ["CartPole-v1", "wheels", "sutton_barto_reward"]),
        (("Hopper-v5", 0), {}, ["num_envs", "0"]),
        (("Hopper-v5", 2), {"max_episode_steps": 0}, ["max_episode_steps", "0"]),
        (("TextObs-v0", 2), {}, ["Text(", "observation", "Box, Discrete", "MultiDiscrete", "Dict and Tuple"]),
        (("not_a_package.envs:Foo-v0", 2), {}, ["not_a_package", "pip install"]),
        (("CartPole-v1", 2), {"backend": "native", "render_mode": "human"}, ["render_mode", "rgb_array"]),
    ],
)
def test_bad_input_gets_one_clear_line(args, kwargs, words):
    with pytest.raises(InputError) as error:
        make_vec(*args, **kwargs)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_missing_dependency_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "Box2D", None)
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"Box2D.*pip install 'gymnasium\[box2d\]'"):
        make_vec("LunarLander-v3", 1)


def test_auto_takes_native_then_workers_for_many_then_this_process(monkeypatch):
    monkeypatch.setattr(gym_family.os, "cpu_count", lambda: 2)
    assert type(make_vec("CartPole-v1", 8)).__name__ == "CartPole"
    assert type(make_vec("CartPole-v1", 2, render_mode="rgb_array")).__name__ == "GymSyncVecEnv"
    assert gym_family._choose_backend(gym.spec("Hopper-v5"), 8) == "async"
    assert gym_family._choose_backend(gym.spec("Hopper-v5"), 7) == "sync"
    monkeypatch.setattr(gym_family.os, "cpu_count", lambda: 1)
    assert gym_family._choose_backend(gym.spec("Hopper-v5"), 8) == "sync"


@pytest.mark.parametrize("backend", ["native", "sync"])
def test_time_limit_means_the_same_in_every_backend(backend):
    assert make_vec("CartPole-v1", 1, backend=backend).max_episode_steps == 500
    assert make_vec("CartPole-v1", 1, backend=backend, max_episode_steps=9).max_episode_steps == 9
    for unlimited in (None, -1):
        env = make_vec("CartPole-v1", 1, backend=backend, max_episode_steps=unlimited)
        assert env.max_episode_steps is None


def test_module_prefix_is_imported_before_the_id_is_looked_up(tmp_path, monkeypatch):
    (tmp_path / "my_games.py").write_text(
        "import gymnasium\ngymnasium.register('MyGame-v0', 'counting_envs:CountingEnv', max_episode_steps=4)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert make_vec("my_games:MyGame-v0", 1).max_episode_steps == 4


def test_importing_the_package_does_not_import_torch():
    paths = [path for path in sys.path if path]
    code = f"import sys; sys.path[:] = {paths!r}; import gail.envs.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
