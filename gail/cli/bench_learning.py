"""``gail bench learning``: does it learn? GAIL against its bars, behaviour cloning and negative controls beside it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gail.agents.collect import collect_demos
from gail.agents.policy import RandomPolicy
from gail.cli.options import Common, default_out, parse, print_json, show
from gail.core.errors import InputError
from gail.core.files import write_text_atomic
from gail.core.random import derive_seed
from gail.core.rundir import hardware
from gail.core.statistics import Interval, mean_interval, normalized
from gail.demos import Demonstrations, bundled_demos, load_demos
from gail.envs import make_vec
from gail.envs.ids import require_registered
from gail.imitation import ImitationConfig, imitate, recipe
from gail.imitation.recipes import AlgoName

DEMO_EPISODES = 4
"""How many trajectories are learned from, the first of each file."""
BC_SEEDS = 10
"""Behaviour cloning takes seconds and scatters widely: from three seeds its interval would exclude nothing."""
EVALUATION_EPISODES = 50
SURVIVAL = "survival reward"
"""In place of a bar where a control's score shows how much staying alive is paid, not how much was imitated."""

Source = Literal["expert", "random", "frozen"]


@dataclass(frozen=True)
class Line:
    """One line of the table: what is trained, and the bar that its mean normalized score is held to."""

    environment: str
    """What is played."""
    algo: AlgoName = "gail"
    """The method."""
    subsample: int = 1
    """Learn from one step in so many of each episode."""
    demonstrations: Source = "expert"
    """The expert's; a random policy's; or the expert's with a discriminator that is never updated."""
    at_least: float | None = None
    """The bar of a learner."""
    at_most: float | None = None
    """The bar of a negative control."""
    max_steps: int | None = None
    """Environment steps that the run may take."""
    above_bc: bool = False
    """Whether the score must also lie above behaviour cloning's interval."""
    remark: str = ""
    """Stands where a line without a bar would show one."""

    @property
    def bar(self) -> str:
        """The bar in words; empty where there is none."""
        if self.at_least is not None:
            return f">= {self.at_least}" + (", above BC's interval" if self.above_bc else "")
        return self.remark if self.at_most is None else f"<= {self.at_most}"

    @property
    def directory(self) -> Path:
        """Where the line's runs lie below the output folder."""
        sparse = f"-subsample-{self.subsample}" if self.subsample > 1 else ""
        return Path(self.environment) / f"{self.algo}-{self.demonstrations}{sparse}"


def _learners(
    env_id: str, max_steps: int, at_least: float | None, *, subsample: int = 1, above_bc: bool = False
) -> tuple[Line, Line]:
    """Behaviour cloning, then GAIL, on the same transitions."""
    bc = Line(env_id, "bc", subsample)
    return bc, Line(env_id, subsample=subsample, at_least=at_least, max_steps=max_steps, above_bc=above_bc)


def _controls(env_id: str, max_steps: int, at_most: float | None, remark: str = "") -> tuple[Line, Line]:
    """GAIL with nothing to learn from: nonsense to imitate, and a judge that never learns."""
    random = Line(env_id, demonstrations="random", at_most=at_most, max_steps=max_steps, remark=remark)
    return random, replace(random, demonstrations="frozen")


LINES = (
    *_learners("CartPole-v1", 200_000, 0.99),
    *_controls("CartPole-v1", 200_000, None, SURVIVAL),
    # Its learners have no bar of their own; they show that what its controls miss can be learned.
    *_learners("CartPoleFixedHorizon-v0", 200_000, None),
    *_controls("CartPoleFixedHorizon-v0", 200_000, 0.15),
    *_learners("Acrobot-v1", 200_000, 0.99),
    *_learners("Pendulum-v1", 300_000, 0.95),
    *_learners("Pendulum-v1", 300_000, 0.9, subsample=20, above_bc=True),
    *_controls("Pendulum-v1", 300_000, 0.15),
    *_learners("Hopper-v5", 1_500_000, 0.95),
    *_learners("Hopper-v5", 2_000_000, 0.9, subsample=20, above_bc=True),
    *_controls("Hopper-v5", 1_500_000, 0.35),
)
_DEMONSTRATED_BY = {"CartPoleFixedHorizon-v0": "CartPole-v1"}
"""The same states, actions and rewards under another id: whose file demonstrates an environment without its own."""


@dataclass(frozen=True)
class Arguments:
    """Train on every line, reusing the runs that are there; exit status 1 where a bar is not met."""

    demos_dir: Path | None = None
    """Folder of ENV.npz files; by default the bundled demonstrations."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run each."""
    only: str | None = None
    """Only this environment."""
    out: Path | None = None
    """Folder of the runs; the same one goes on after a stop. By default a fresh one under runs/."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Train, print the table, return 1 where a bar is not met."""
    arguments = parse(Arguments, argv, prog="gail bench learning", description="Does it learn?")
    if not arguments.seeds or len(set(arguments.seeds)) != len(arguments.seeds):
        raise InputError(f"--seeds: {list(arguments.seeds)}, expected one or more different seeds")
    lines = [line for line in LINES if arguments.only in (None, line.environment)]
    if not lines:
        known = ", ".join(dict.fromkeys(line.environment for line in LINES))
        raise InputError(f"--only: {arguments.only!r}, expected one of {known}")
    environments = dict.fromkeys(line.environment for line in lines)
    demos = {env_id: demonstrations_of(env_id, arguments.demos_dir) for env_id in environments}
    out = arguments.out or default_out("bench", "learning", "gail")
    rows = learning_rows(lines, demos, arguments.seeds, out)
    data = table(rows)
    show(rows, title=f"mean normalized score over seeds {', '.join(map(str, arguments.seeds))}, deterministic actions")
    print(f"run directories: {out}  (gail bench learning --out {out} goes on with them)")
    write_text_atomic(out / "learning.json", json.dumps(data, indent=2) + "\n")
    if arguments.common.json:
        print_json(data)
    return 1 if any(row["met"] is False for row in rows) else 0


def demo_file(env_id: str, folder: Path | None) -> Path:
    """The demonstrations of an environment: the bundled file, or ``folder/ENV.npz``.

    Raises:
        InputError: where there is no such file.
    """
    if folder is None:
        return bundled_demos(env_id)
    path = folder / f"{env_id}.npz"
    if not path.is_file():
        raise InputError(f"--demos-dir: {path}: no such file")
    return path


def table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``--json`` prints of a measured table: its rows, the hardware and the date."""
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"rows": list(rows), "hardware": hardware(), "date": date}


def demonstrations_of(env_id: str, folder: Path | None) -> Demonstrations:
    """The expert's demonstrations of ``env_id`` in ``folder`` (None: the bundled ones), with what the table needs.

    Raises:
        InputError: where there is no file, or it holds too few episodes or no rewards.
    """
    path = demo_file(_DEMONSTRATED_BY.get(env_id, env_id), folder)
    demos = load_demos(path)
    if env_id in _DEMONSTRATED_BY:
        demos = replace(demos, env_id=env_id)
    if len(demos) < DEMO_EPISODES:
        raise InputError(f"{path}: holds {len(demos)} episodes, expected at least {DEMO_EPISODES}")
    if demos.returns is None:
        raise InputError(f"{path}: holds no rewards; the expert's return is needed to normalize scores")
    return demos


def learning_rows(
    lines: Iterable[Line], demos: Mapping[str, Demonstrations], seeds: Sequence[int], out: Path
) -> list[dict[str, Any]]:
    """Train every line with every seed and hold the scores to the bars.

    Args:
        lines: what to train; behaviour cloning stands before the line that must beat it.
        demos: the expert's demonstrations of each environment.
        seeds: one run each (behaviour cloning: at least ten from the first on), under ``out/ENV/METHOD/seed-S``;
            finished runs there are only evaluated again.
        out: folder of all runs.

    Returns:
        Rows with the keys ``environment, method, subsample, demonstrations, normalized, 95%_interval`` (over seeds;
        None with one seed)``, bar, met`` (None without a bar)``, steps, seconds`` (of training, mean over seeds).

    Raises:
        InputError: where a run directory belongs to another configuration.
    """
    lines, rows = list(lines), []
    bc: dict[tuple[str, int], Interval] = {}
    for number, line in enumerate(lines, start=1):
        print(f"bench learning [{number}/{len(lines)}]: {line.directory}", file=sys.stderr, flush=True)
        expert = demos[line.environment]
        own = seeds if line.algo == "gail" else range(seeds[0], seeds[0] + max(len(seeds), BC_SEEDS))
        summaries = [_train(line, expert, seed, out / line.directory / f"seed-{seed}") for seed in own]
        scores = mean_interval([_score(summary, expert) for summary in summaries])
        if line.algo == "bc":
            bc[line.environment, line.subsample] = scores
        steps = max(summary["steps"] for summary in summaries)
        rows.append(
            {
                "environment": line.environment,
                "method": line.algo,
                "subsample": line.subsample,
                "demonstrations": line.demonstrations,
                "normalized": scores.mean,
                "95%_interval": [scores.low, scores.high] if scores.count > 1 else None,
                "bar": line.bar,
                "met": verdict(line, scores.mean, steps, bc.get((line.environment, line.subsample))),
                "steps": steps,
                "seconds": sum(summary["wall_seconds"] for summary in summaries) / len(summaries),
            }
        )
    return rows


def verdict(line: Line, score: float, steps: int, bc: Interval | None) -> bool | None:
    """Whether a line meets its bar; None where it has none.

    Args:
        line: with its bar.
        score: mean normalized score.
        steps: environment steps that were taken.
        bc: behaviour cloning's score on the same transitions, where it was measured.
    """
    if line.at_least is None:
        return None if line.at_most is None else score <= line.at_most
    if line.above_bc:
        if bc is None:
            return False
        # One seed has no interval: its mean stands in.
        if score <= (bc.high if math.isfinite(bc.high) else bc.mean):
            return False
    return score >= line.at_least and (line.max_steps is None or steps <= line.max_steps)


def settings(line: Line) -> ImitationConfig:
    """The environment's recipe with what the line asks for, and never more steps than the line may take."""
    config = replace(
        recipe(line.environment),
        algo=line.algo,
        demo_episodes=DEMO_EPISODES,
        subsample=line.subsample,
        evaluation_episodes=EVALUATION_EPISODES,
    )
    if line.demonstrations == "frozen":
        judge = replace(config.gail.discriminator, updates_per_round=0)
        config = replace(config, gail=replace(config.gail, discriminator=judge))
    per_round = config.gail.ppo.horizon * config.num_envs
    # A run ends with a whole round, so that it may pass its steps by part of one.
    if line.max_steps is not None and math.ceil(config.steps / per_round) * per_round > line.max_steps:
        config = replace(config, steps=line.max_steps // per_round * per_round)
    return config


def _train(line: Line, expert: Demonstrations, seed: int, directory: Path) -> dict[str, Any]:
    """One run's summary; a run that is in ``directory`` already is gone on with."""
    demos = _random_play(expert, seed) if line.demonstrations == "random" else expert
    result = imitate(line.environment, demos, config=settings(line), seed=seed, out=directory, resume=True)
    return result.summary


def _random_play(expert: Demonstrations, seed: int) -> Demonstrations:
    """As many episodes of uniform random actions in the expert's environment."""
    assert expert.env_id is not None
    env = make_vec(require_registered(expert.env_id, expert.path), 1, **expert.env_kwargs)
    player = RandomPolicy(env.observation_space, env.action_space)
    env.close()
    return collect_demos(
        player,
        expert.env_id,
        episodes=DEMO_EPISODES,
        env_kwargs=expert.env_kwargs,
        seed=derive_seed(seed, "nonsense"),
        source="a random policy",
    )


def _score(summary: Mapping[str, Any], expert: Demonstrations) -> float:
    """Normalized on the real expert's scale, also where the demonstrations were a random policy's."""
    assert expert.returns is not None
    return normalized(summary["return_mean"], summary["random_return"], float(expert.returns.mean()))
