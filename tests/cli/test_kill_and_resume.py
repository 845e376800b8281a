"""A killed run goes on bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from gail.agents.collect import collect_demos
from gail.agents.policy import RandomPolicy
from gail.demos import save_demos
from gail.envs import make_vec


def random_demos(env_id: str, path: Path, episodes: int = 2) -> Path:
    env = make_vec(env_id, 1)
    policy = RandomPolicy(env.observation_space, env.action_space)
    env.close()
    return save_demos(collect_demos(policy, env_id, episodes=episodes), path)


def command(env_id: str, demos: Path, out: Path, *more: str) -> list[str]:
    base = [sys.executable, "-m", "gail", "train", env_id, "--demos", str(demos), "--out", str(out)]
    return [*base, "--evaluation-episodes", "2", *more]


def same_policy(a: Path, b: Path) -> bool:
    ours, theirs = (load_file(path / "policy.safetensors") for path in (a, b))
    return ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)


def metrics_of(out: Path) -> list[dict[str, float]]:
    """Every line of the log without what the clock says."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "steps_per_second")} for line in lines]


SMALL = {
    "CartPole-v1": ["--steps", "60000", "--num-envs", "16", "--gail.ppo.horizon", "32", "--gail.ppo.epochs", "2"],
    # The time limit cuts nothing here: with 4 x 16 steps a round, checkpoints fall into the middle of episodes.
    "Hopper-v5": ["--steps", "3200", "--num-envs", "4", "--gail.ppo.horizon", "16", "--gail.ppo.epochs", "2"],
}


@pytest.mark.parametrize("env_id,backend", [("CartPole-v1", "native"), ("Hopper-v5", "sync"), ("Hopper-v5", "mujoco")])
def test_killed_at_random_moments_and_resumed_gives_the_same_policy(env_id: str, backend: str, tmp_path: Path) -> None:
    demos = random_demos(env_id, tmp_path / "demos.npz")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    flags = [*SMALL[env_id], "--backend", backend]
    subprocess.run(command(env_id, demos, whole, *flags), check=True, capture_output=True)
    draw = random.Random(0)
    last, kills = 0, 0
    for _ in range(4):
        process = subprocess.Popen(
            command(env_id, demos, cut, *flags, "--resume"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        # Wait until this part has trained at all, then kill at a random moment.
        metrics = cut / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and len(metrics.read_bytes().splitlines()) > last):
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.4))
        kills += process.poll() is None
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        last = len(metrics.read_bytes().splitlines())
    assert kills >= 1
    subprocess.run(command(env_id, demos, cut, *flags, "--resume"), check=True, capture_output=True)
    assert same_policy(whole, cut)
    assert metrics_of(cut) == metrics_of(whole)
    assert json.loads((cut / "summary.json").read_text())["exact_resume"] is True


def test_killed_while_a_checkpoint_is_being_written(tmp_path: Path) -> None:
    """The write stalls half-way; the kill then must leave the checkpoint before it."""
    demos = random_demos("CartPole-v1", tmp_path / "demos.npz")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    flags = SMALL["CartPole-v1"]
    subprocess.run(command("CartPole-v1", demos, whole, *flags), check=True, capture_output=True)
    stall = (
        "import sys, time, gail.core.checkpoint as c\n"
        "real, count = c.save_file, 0\n"
        "def slow(tensors, path, metadata):\n"
        "    global count\n"
        "    count += 1\n"
        "    real(tensors, path, metadata=metadata)\n"
        "    if 'state' in str(path) and count > 5:\n"
        "        half = open(path, 'rb').read()[:1000]\n"
        "        open(path, 'wb').write(half)\n"
        "        print('stalled', flush=True)\n"
        "        time.sleep(600)\n"
        "c.save_file = slow\n"
        "from gail.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = command("CartPole-v1", demos, cut, *flags)[3:]
    process = subprocess.Popen([sys.executable, "-c", stall, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip() == "stalled"
    process.kill()
    process.wait()
    subprocess.run(command("CartPole-v1", demos, cut, *flags, "--resume"), check=True, capture_output=True)
    assert same_policy(whole, cut)
