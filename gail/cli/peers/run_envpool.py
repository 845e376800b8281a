"""Times EnvPool under random actions; runs inside the peer environment `envpool`, imports nothing of gail.

One synchronous batch, as policies play it: every environment's observation, then every action. The rows in which
EnvPool only resets (it reports the first observation of an episode one step late) are no steps and are not counted.
The last line printed is one JSON object.
"""

# mypy: disable-error-code="import-not-found"
# (the peer is installed in its own environment only)

import argparse
import json
import platform
import time
from importlib.metadata import version

import envpool
import numpy as np

ROUND = 64  # steps between two looks at the clock, and batches of actions that are played in turn


def main() -> None:
    """Warms up, plays for the given time and prints the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="Hopper-v5", help="EnvPool id")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()

    env = envpool.make_gymnasium(args.env, num_envs=args.num_envs, num_threads=args.threads, seed=0)
    space = env.action_space
    draw = np.random.default_rng(0)
    actions = draw.uniform(space.low, space.high, (ROUND, args.num_envs, *space.shape)).astype(space.dtype)
    env.reset()
    for action in actions:
        env.step(action)

    steps, ended = 0, np.zeros(args.num_envs, dtype=bool)
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < args.seconds:
        for action in actions:
            steps += args.num_envs - np.count_nonzero(ended)
            _, _, terminated, truncated, _ = env.step(action)
            ended = terminated | truncated

    row = {
        "peer": f"envpool {version('envpool')}",
        "environment": args.env,
        "steps": int(steps),
        "seconds": round(seconds, 3),
        "steps_per_second": round(steps / seconds, 1),
        "threads": args.threads,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("envpool", "gymnasium", "numpy")},
        },
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
