"""An environment of the user's own goes through every verb; folders of theirs named like ours break nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gail
from gail.agents import RandomPolicy
from gail.cli.main import main
from gail.envs import EnvLike, open_vec

CORRIDOR = '''
import gymnasium as gym
import numpy as np


class Corridor(gym.Env):
    """Walk right for a fixed number of steps; the position is observed, each step to the right pays 1."""

    observation_space = gym.spaces.Box(-20, 20, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, length=8, render_mode=None):
        self.length, self.render_mode = length, render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = float(self.np_random.uniform(-1, 1)), 0
        return self._obs(), {}

    def step(self, action):
        self.place += 1 if action == 1 else -1
        self.time += 1
        return self._obs(), float(action == 1), False, self.time == self.length, {}

    def render(self):
        return np.full((32, 32, 3), 90, np.uint8)

    def _obs(self):
        return np.array([self.place, self.time], np.float32)
'''
FAST = ["--num-envs", "4", "--evaluation-episodes", "4"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "corridor.py").write_text(CORRIDOR)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 0) -> dict | str:
    capsys.readouterr()
    found = main([*argv, *(["--json"] if status == 0 and argv[0] != "report" else [])])
    out, err = capsys.readouterr()
    assert found == status, err
    return err if status else (json.loads(out.splitlines()[-1]) if argv[0] != "report" else out)


def test_a_file_goes_through_every_verb(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = "./corridor.py:Corridor"
    kwargs = ["--env-kwargs", '{"length": 6}']
    expert = run(capsys, "expert", env, *kwargs, "--steps", "512", "--out", "expert", *FAST)
    assert expert["env_id"] == env
    # The policy's file may not choose what is run: the user says it, and then its keywords are known.
    refused = run(capsys, "demos", "collect", "expert", "-o", "demos.npz", "--episodes", "3", status=2)
    assert f"--env {env}" in refused
    described = run(capsys, "demos", "collect", "expert", "--env", env, "-o", "demos.npz", "--episodes", "3")
    assert (described["env_id"], described["env_kwargs"], described["steps"]) == (env, {"length": 6}, 18)
    assert run(capsys, "demos", "info", "demos.npz")["env_id"] == env
    assert run(capsys, "demos", "check", "demos.npz", "--env", env)["findings"] == []
    skipped = run(capsys, "demos", "check", "demos.npz")["skipped"]
    assert any("names code" in row["reason"] for row in skipped)
    assert run(capsys, "demos", "convert", "demos.npz", "-o", "demos-v0")["env_id"] == env

    training = ["train", env, "--demos", "demos-v0", "--steps", "512", "--out", "run", *FAST]
    trained = run(capsys, *training)
    assert (trained["env_id"], trained["return_mean"] >= 0) == (env, True)
    again = run(capsys, *training, "--resume")
    assert again["return_mean"] == trained["return_mean"]
    assert "--env" in run(capsys, "evaluate", "run", status=2)
    evaluated = run(capsys, "evaluate", "run", "--env", str(folder / "corridor.py:Corridor"), "--video", "v.mp4")
    assert evaluated["expert_return"] == trained["expert_return"]
    assert Path("v.mp4").stat().st_size > 0
    run(capsys, "report", "run", "--out", "page.html")
    assert "corridor.py:Corridor" in Path("page.html").read_text()


def test_other_demonstrations_are_refused_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "other.py").write_text(CORRIDOR)
    gail.save_demos(random_demos("./corridor.py:Corridor"), "demos.npz")
    line = run(capsys, "train", "./other.py:Corridor", "--demos", "demos.npz", *FAST, status=2)
    assert "corridor.py:Corridor" in line and "other.py:Corridor" in line
    assert len(line.splitlines()) == 1 and not (folder / "runs").exists()


def random_demos(env: EnvLike) -> gail.Demonstrations:
    with open_vec(env, 1) as made:
        policy = RandomPolicy(made.observation_space, made.action_space)
    return gail.collect_demos(policy, env, episodes=3)


def test_callables_and_objects_are_imitated_in_python(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    from corridor import Corridor

    demos = random_demos(Corridor)
    settings = {"steps": 256, "num_envs": 4, "evaluation_episodes": 3, "progress": False}
    result = gail.imitate(lambda **kw: Corridor(**kw), demos, out="by-callable", **settings)
    assert result.summary["env_id"].startswith("callable:")
    assert gail.evaluate("by-callable", env_id=Corridor, episodes=2)["expert_return"] is not None
    with pytest.raises(gail.InputError, match="pass the environment itself"):
        gail.evaluate("by-callable", episodes=2)

    own = gail.make_vec(Corridor, 5)
    result = gail.imitate(own, demos, out="by-object", **settings)
    assert result.seeds[0].evaluation.returns.shape == (3,)
    expert = gail.train_expert(
        own, config=gail.ExpertConfig(steps=256, evaluation_episodes=3), out=Path("expert"), progress=False
    )
    assert len(gail.collect_demos(expert.policy, own, episodes=7)) == 7
    assert own.reset(0).shape == (5, 2)  # still open


HOSTILE = "raise RuntimeError('the user has a module of this name, and nobody may import it')\n"
SCRIPT = """
import gail

env = gail.make_vec("./corridor.py:Corridor", 2, backend="async")
env.reset(0)
env.close()
result = gail.imitate("CartPole-v1", "demos.npz", steps=64, num_envs=2, progress=False, evaluation_episodes=1)
print("fine", result.summary["env_id"])
"""


def in_shell(command: list[str]) -> str:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["folders", "files"])
def test_folders_and_files_named_envs_or_agents_are_left_alone(folder: Path, kind: str) -> None:
    for name in ("envs", "agents", "core", "demos", "report", "cli"):
        if kind == "files":
            (folder / f"{name}.py").write_text(HOSTILE)
        else:
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(HOSTILE)
    gail.save_demos(random_demos("CartPole-v1"), "demos.npz")
    (folder / "script.py").write_text(SCRIPT)
    assert "fine CartPole-v1" in in_shell(["script.py"])
    check = ["envs", "check", "./corridor.py:Corridor", "--backend", "async", "--steps", "20"]
    assert json.loads(in_shell(["-m", "gail", *check, "--json"]).splitlines()[-1])["findings"] == []


def test_a_user_package_named_envs_is_played_by_its_name(folder: Path) -> None:
    (folder / "envs").mkdir()
    (folder / "envs" / "__init__.py").write_text(
        "import gymnasium\ngymnasium.register('Walk-v0', 'envs.walk:Corridor', max_episode_steps=5)\n"
    )
    (folder / "envs" / "walk.py").write_text(CORRIDOR)
    out = in_shell(["-m", "gail", "envs", "check", "envs:Walk-v0", "--backend", "async", "--steps", "20", "--json"])
    assert json.loads(out.splitlines()[-1])["findings"] == []


def test_nothing_is_printed_before_bad_input_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gail.save_demos(random_demos("CartPole-v1"), "demos.npz")
    line = run(capsys, "train", "CartPole-v1", "--demos", "demos.npz", "--demo-episodes", "9", status=2)
    assert len(line.splitlines()) == 1 and "run directory" not in line
