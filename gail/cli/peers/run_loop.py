"""Times a generator's training written as a plain loop: eager, float32, torch's defaults; imports nothing of gail.

Each ``loop_MODEL.py`` beside this file builds one network and gives its training step, with the data drawn from a
tensor in memory. The last line printed is one JSON object.
"""

import argparse
import importlib
import json
import platform
import sys
import time
from pathlib import Path

import torch

WARM_UP = 3  # steps: first calls of torch's kernels


def main() -> None:
    """Builds the model, warms up, trains for the given time and prints the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gan", help="which loop_MODEL.py")
    parser.add_argument("--variant", default="mlp", help="which of its networks")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    sys.path.insert(0, str(Path(__file__).parent))
    modules, step = importlib.import_module(f"loop_{args.model}").build(args.variant, args.batch)
    for _ in range(WARM_UP):
        step()

    steps = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < args.seconds:
        step()
        steps += 1

    row = {
        "peer": f"plain loop (torch {torch.__version__})",
        "steps": steps,
        "seconds": round(seconds, 3),
        "steps_per_second": steps / seconds,
        "parameters": sum(p.numel() for module in modules for p in module.parameters()),
        "threads": args.threads,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
