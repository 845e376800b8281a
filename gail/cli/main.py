"""``gail VERB ...``: finds the verb, and turns bad input into one line and exit status 2."""

from __future__ import annotations

import importlib
import os
import sys
from importlib import metadata

VERBS = {
    "demo": "the main job on bundled demonstrations, with a page of proof",
    "expert": "train an expert by reinforcement learning on the true reward",
    "demos": "collect, info, check, convert: demonstrations in and out of files",
    "train": "learn from demonstrations (GAIL, behaviour cloning)",
    "fit": "train a generative model (GAN, VAE, ...) on demonstrations, images or text",
    "sample": "draw synthetic demonstrations, images or text from a generative model",
    "audit": "measure synthetic demonstrations beside real ones and the simulator",
    "evaluate": "play a trained policy: returns, interval, normalized score, video",
    "report": "build one self-contained HTML page from runs",
    "envs": "list, check: what can be played",
    "bench": "throughput, learning, synthetic, replay: measure this toolkit beside its peers",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 failed, 2 bad input)."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: gail VERB ...   (gail VERB --help tells more)\n")
        for verb, text in VERBS.items():
            print(f"  {verb:<10}{text}")
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"gail-toolkit {metadata.version('gail-toolkit')}")
        return 0
    verb, rest = argv[0], argv[1:]
    if verb not in VERBS:
        print(f"gail: unknown verb {verb!r}; there are: {', '.join(VERBS)}", file=sys.stderr)
        return 2
    # Rendering must not open windows or talk to a sound card.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    from gail.core.engine import TrainingDiverged
    from gail.core.errors import EnvironmentFault, InputError

    module = importlib.import_module(f"gail.cli.{verb}")
    try:
        return int(module.run(rest))
    except (InputError, TrainingDiverged, EnvironmentFault) as error:
        if "--debug" in rest:
            raise
        print(f"gail {verb}: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        hint = "; --out with --resume goes on from the last checkpoint" if verb in ("train", "expert", "fit") else ""
        print(f"gail {verb}: interrupted{hint}", file=sys.stderr)
        return 130
