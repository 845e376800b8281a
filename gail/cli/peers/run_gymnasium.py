"""Times Gymnasium's own vectorization under random actions; runs in the toolkit's environment, imports nothing of gail.

`sync` steps the environments one after the other, `async` each in a process of its own. The rows in which Gymnasium
only resets (its default NEXT_STEP mode) are no steps and are not counted. The last line printed is one JSON object.
"""

import argparse
import json
import time
from importlib.metadata import version

import gymnasium as gym
import numpy as np

WARMUP_STEPS = 20


def main() -> None:
    """Warms up, plays for the given time and prints the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="Hopper-v5", help="Gymnasium id")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--mode", choices=("sync", "async"), default="sync")
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()

    env = gym.make_vec(args.env, num_envs=args.num_envs, vectorization_mode=args.mode)
    space = env.single_action_space
    assert isinstance(space, gym.spaces.Box)
    draw = np.random.default_rng(0)
    actions = draw.uniform(space.low, space.high, (64, args.num_envs, *space.shape)).astype(space.dtype)
    env.reset(seed=0)
    for action in actions[:WARMUP_STEPS]:
        env.step(action)

    steps, number, ended = 0, 0, np.zeros(args.num_envs, dtype=bool)
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < args.seconds:
        steps += args.num_envs - np.count_nonzero(ended)
        _, _, terminated, truncated, _ = env.step(actions[number % len(actions)])
        ended = terminated | truncated
        number += 1
    env.close()

    row = {
        "peer": f"gymnasium {version('gymnasium')} {args.mode}",
        "environment": args.env,
        "steps": int(steps),
        "seconds": round(seconds, 3),
        "steps_per_second": round(steps / seconds, 1),
        "versions": {name: version(name) for name in ("gymnasium", "mujoco", "numpy")},
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
