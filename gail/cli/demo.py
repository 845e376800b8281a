"""``gail demo``: the main job on the bundled demonstrations, from expert rollouts to a page of proof."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gail.cli.options import Common, default_out, parse, print_json, print_wide
from gail.core.errors import InputError
from gail.core.files import is_unused
from gail.demos import bundled_demos, load_demos
from gail.imitation import imitate
from gail.report import build_report, comparison_table, comparison_video, load_runs

ENVIRONMENTS = ("CartPole-v1", "Hopper-v5")
EPISODES = 4
PASS = 0.9
"""The normalized score that GAIL must reach on each environment."""


@dataclass(frozen=True)
class Arguments:
    """GAIL and behaviour cloning from 4 bundled expert trajectories each, with table, page and videos."""

    out: tyro.conf.Positional[Path | None] = None
    """Output folder; must be new or empty. By default a fresh one under runs/."""
    seed: int = 0
    """Determines everything on CPU."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Train, print the table, return 1 where GAIL stays under the bar."""
    arguments = parse(Arguments, argv, prog="gail demo", description="The main job, end to end.")
    out = arguments.out or default_out("demo", "all", "gail")
    if not is_unused(out):
        raise InputError(f"{out}: exists already; choose another output folder")
    runs: list[Path] = []
    videos: dict[str, Path] = {}
    failures: list[str] = []
    for env_id in ENVIRONMENTS:
        demos = load_demos(bundled_demos(env_id))
        for algo in ("bc", "gail"):
            directory = out / env_id / algo
            result = imitate(env_id, demos, algo=algo, demo_episodes=EPISODES, seed=arguments.seed, out=directory)
            runs.append(directory)
        score = result.summary["normalized_return"]
        if not score >= PASS:
            failures.append(f"GAIL reached {score:.3f} normalized on {env_id}, expected at least {PASS}")
        print(f"{env_id}: drawing expert and learner side by side", file=sys.stderr)
        videos[env_id] = comparison_video(out / env_id / "gail", demos, out / env_id / "expert-and-learner.mp4")
    page = build_report(runs, out / "report.html", title="GAIL from four expert trajectories", videos=videos)
    loaded = load_runs(runs)
    print_wide(comparison_table(loaded))
    print(f"report: {page}")
    for failure in failures:
        print(f"gail demo: {failure}", file=sys.stderr)
    if arguments.common.json:
        print_json(
            {"runs": [summary for loaded_run in loaded for summary in loaded_run.summaries], "report": str(page)}
        )
    return 1 if failures else 0
