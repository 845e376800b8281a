"""Times stable-baselines3's PPO on an Atari game; runs inside the peer environment `sb3`, imports nothing of gail.

The environments and settings are those that SB3's documentation and its zoo give for Atari: `make_atari_env` with
four stacked frames, `CnnPolicy`, 8 environments, 128 steps each per update, 4 epochs in batches of 256. The last line
printed is one JSON object.
"""

# mypy: disable-error-code="import-not-found"
# (the peer is installed in its own environment only)

import argparse
import json
import platform
import time
from importlib.metadata import version

import ale_py
import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack

ROUND = 128  # steps of each environment per update


def main() -> None:
    """Warms up for one update, times one `learn` call and prints the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="ALE/Pong-v5", help="Gymnasium id")
    parser.add_argument("--steps", type=int, default=8_192, help="environment steps; PPO rounds up to whole updates")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    gymnasium.register_envs(ale_py)
    # The wrapper skips frames itself.
    games = make_atari_env(args.env, n_envs=args.num_envs, seed=args.seed, env_kwargs={"frameskip": 1})
    learner = PPO(
        "CnnPolicy",
        VecFrameStack(games, n_stack=4),
        n_steps=ROUND,
        batch_size=256,
        n_epochs=4,
        learning_rate=2.5e-4,
        clip_range=0.1,
        ent_coef=0.01,
        vf_coef=0.5,
        seed=args.seed,
        device="cpu",
    )
    learner.learn(ROUND * args.num_envs)  # first calls of torch and of the environment

    start = time.perf_counter()
    learner.learn(args.steps)
    seconds = time.perf_counter() - start

    row = {
        "peer": f"stable-baselines3 {version('stable-baselines3')}",
        "environment": args.env,
        "steps": learner.num_timesteps,
        "seconds": round(seconds, 3),
        "steps_per_second": round(learner.num_timesteps / seconds, 1),
        "threads": args.threads,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("stable-baselines3", "gymnasium", "ale-py", "torch", "numpy")},
        },
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
