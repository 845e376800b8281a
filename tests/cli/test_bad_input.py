"""Bad input gets one clear line and exit status 2, and nothing is overwritten."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from gail.agents.collect import collect_demos
from gail.agents.policy import RandomPolicy
from gail.cli.main import main
from gail.demos import save_demos
from gail.envs import make_vec
from gail.generators import fit


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    env = make_vec("CartPole-v1", 1)
    policy = RandomPolicy(env.observation_space, env.action_space)
    return save_demos(collect_demos(policy, "CartPole-v1", episodes=2), tmp_path_factory.mktemp("d") / "d.npz")


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run the command; returns its only line on standard error."""
    status = main(list(argv))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert status == 2, lines
    assert len(lines) == 1, lines
    return lines[0]


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


class Bomb:
    """Unpickling it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_malicious_npz_is_refused_and_runs_nothing(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trap = tmp_path / "executed"
    assert pickle.loads(pickle.dumps(Bomb(tmp_path / "works"))) is None and (tmp_path / "works").exists()
    data = arrays(demos)
    data["observations"] = np.array([Bomb(trap)], dtype=object)
    np.savez(tmp_path / "evil.npz", **data)
    line = refused(capsys, "train", "CartPole-v1", "--demos", str(tmp_path / "evil.npz"), "--out", str(tmp_path / "o"))
    assert "evil.npz" in line and "observations" in line
    assert not trap.exists() and not (tmp_path / "o").exists()


def test_a_truncated_file_is_named(demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(demos.read_bytes()[:-200])
    assert "broken.npz" in refused(capsys, "train", "CartPole-v1", "--demos", str(broken), "--out", str(tmp_path / "o"))


def test_a_missing_key_is_named(demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = arrays(demos)
    del data["lengths"]
    np.savez(tmp_path / "keyless.npz", **data)
    line = refused(
        capsys, "train", "CartPole-v1", "--demos", str(tmp_path / "keyless.npz"), "--out", str(tmp_path / "o")
    )
    assert "keyless.npz" in line and "lengths" in line


def test_nan_is_found_before_training(demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = arrays(demos)
    data["observations"][3, 0] = np.nan
    np.savez(tmp_path / "nan.npz", **data)
    line = refused(capsys, "train", "CartPole-v1", "--demos", str(tmp_path / "nan.npz"), "--out", str(tmp_path / "o"))
    assert "nan.npz" in line and "observations" in line and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["train", "CartPole-v7"], ["CartPole-v7", "CartPole-v1"]),
        (["train", "Pendulum-v1"], ["env_id", "CartPole-v1", "Pendulum-v1"]),
        (["train", "CartPole-v1", "--demo-episodes", "9"], ["2 episodes", "9"]),
        (["train", "CartPole-v1", "--steps", "0"], ["--steps", "0"]),
        (["train", "CartPole-v1", "--device", "cuda:7"], ["--device", "cuda:7"]),
        (["train", "CartPole-v1", "--seed", "1", "1"], ["--seed"]),
        (["train", "CartPole-v1", "--env-kwargs", "{bad"], ["--env-kwargs"]),
        (["train", "CartPole-v1", "--config", "missing.toml"], ["missing.toml"]),
        (["train", "CartPole-v1", "--backend", "fast"], ["backend", "fast"]),
    ],
)
def test_wrong_settings_are_named(
    argv: list[str], words: list[str], demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, *argv, "--demos", str(demos), "--out", str(tmp_path / "o"))
    assert all(word in line for word in words), line
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["evaluate", "{missing}"],
        ["report", "{missing}", "--out", "{page}"],
        ["demos", "info", "{missing}"],
        ["demos", "frobnicate"],
        ["envs", "check", "NoSuchEnv-v0"],
        ["expert", "NoSuchEnv-v0"],
        ["frobnicate"],
    ],
)
def test_every_verb_refuses_what_is_not_there(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, *(word.format(missing=tmp_path / "missing", page=tmp_path / "p.html") for word in argv))


def test_an_existing_run_is_not_overwritten(demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "precious.txt").write_text("mine")
    line = refused(capsys, "train", "CartPole-v1", "--demos", str(demos), "--out", str(tmp_path / "o"))
    assert "exists already" in line
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["precious.txt"]
    line = refused(capsys, "demos", "convert", str(demos), "-o", str(demos))
    assert "exists" in line


def test_a_name_that_no_demonstrations_have_is_refused_before_the_work(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit("vae", demos, steps=1, previews=0, progress=False, hidden=(4,), out=tmp_path / "model")
    kept, audit = str(tmp_path / "kept"), str(tmp_path / "audit")
    for words in (
        ("demos", "collect", "gail.agents:RandomPolicy", "--env", "NoSuchEnv-v0", "-o", kept),
        ("demos", "replay", str(tmp_path / "nowhere.npz"), "-o", kept),
        ("audit", str(tmp_path / "nowhere.npz"), "--real", str(demos), "--out", audit, "--keep", kept),
        ("sample", str(tmp_path / "model"), "--transitions", "5", "--label", "7", "-o", kept),
    ):
        line = refused(capsys, *words)
        assert kept in line and "Minari dataset id" in line and ".npz" in line


def test_a_full_disk_is_one_line(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gail.core.files.os.fsync", full)
    line = refused(capsys, "train", "CartPole-v1", "--demos", str(demos), "--out", str(tmp_path / "o"))
    assert "No space left on device" in line and str(tmp_path / "o") in line


def test_resuming_with_other_settings_names_the_difference(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["train", "CartPole-v1", "--demos", str(demos), "--out", str(tmp_path / "o"), "--evaluation-episodes", "1"]
    assert main([*base, "--steps", "2048"]) == 0
    capsys.readouterr()
    assert "config.steps was 2048 and is now 4096" in refused(capsys, *base, "--steps", "4096", "--resume")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("expert", "CartPole-v1", "--dqn.gamma", "0.9"), ("--dqn.gamma", "--algo dqn", "--algo ppo")),
        (("expert", "CartPole-v1", "--algo", "sb3:PPO", "--ppo.horizon=8"), ("--ppo.horizon", "--algo sb3:PPO")),
        (
            ("bench", "replay", "CartPole-v1", "--algo", "dqn", "--sac.synthetic.share", "0.5"),
            ("--sac.synthetic.share",),
        ),
    ],
)
def test_a_flag_of_another_learner_is_refused_instead_of_ignored(
    words: tuple[str, ...], expected: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, *words, "--out", str(tmp_path / "o"))
    assert all(part in line for part in expected)
    assert not (tmp_path / "o").exists()


def test_a_flag_of_the_other_method_is_refused_instead_of_ignored(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "CartPole-v1", "--demos", str(demos), "--out", str(tmp_path / "o"))
    assert "--gail.ppo.horizon" in refused(capsys, *words, "--algo", "bc", "--gail.ppo.horizon", "8")
    assert "--bc.steps" in refused(capsys, *words, "--bc.steps", "8")
    assert not (tmp_path / "o").exists()
