"""Times stable-baselines3's PPO; runs inside the peer environment `sb3`, imports nothing of gail.

Everything is SB3's own default (8 environments and the network widths are the row's): `MlpPolicy`, 2048
steps per environment and update, batches of 64, 10 epochs, in a `DummyVecEnv`, on the CPU, as SB3's
documentation recommends for such networks and cheap environments. The last line printed is one JSON object.
"""

# mypy: disable-error-code="import-not-found"
# (the peer is installed in its own environment only)

import argparse
import json
import platform
import time
from importlib.metadata import version

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

WARMUP_STEPS_PER_ENV = 128  # one short, untimed update: first calls of torch and of the environment


def build(args: argparse.Namespace, n_steps: int = 2048) -> PPO:
    """A fresh learner in fresh environments; `n_steps` per environment and update (SB3's default)."""
    venv = make_vec_env(args.env, n_envs=args.num_envs, seed=args.seed, vec_env_cls=DummyVecEnv)
    widths = {"net_arch": args.hidden}
    return PPO("MlpPolicy", venv, n_steps=n_steps, policy_kwargs=widths, seed=args.seed, device="cpu")


def main() -> None:
    """Warms up on a throw-away learner, times one `learn` call and prints the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="CartPole-v1", help="Gymnasium id")
    parser.add_argument("--steps", type=int, default=65_536, help="environment steps; PPO rounds up to whole updates")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64], help="widths of policy and critic")
    parser.add_argument("--threads", type=int, default=1, help="of torch; 2 suits only an idle machine")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    build(args, n_steps=WARMUP_STEPS_PER_ENV).learn(args.num_envs * WARMUP_STEPS_PER_ENV)

    learner = build(args)
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
            **{name: version(name) for name in ("stable-baselines3", "gymnasium", "torch", "numpy")},
        },
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
