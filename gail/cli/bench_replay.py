"""``gail bench replay``: synthetic experience replay, and ends drawn more often, beside the plain learner."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import numpy as np
import tyro

from gail.agents.expert import OWN_ALGORITHMS, ExpertConfig, expert_recipe, train_expert
from gail.agents.synthetic import SyntheticConfig, require_vectors
from gail.cli.bench_learning import table
from gail.cli.options import (
    Common,
    default_out,
    flag_value,
    parse,
    print_json,
    refuse_unread_flags,
    settings_from_file,
    show,
)
from gail.cli.paired import ends, paired_scores
from gail.core.errors import InputError
from gail.core.files import write_text_atomic
from gail.core.rundir import open_run, strict_json
from gail.envs import env_text, open_vec, resolve_env
from gail.generators.replay_model import ReplayModel

ArmName = Literal["plain", "synthetic", "rare"]
ARMS: Final[tuple[ArmName, ...]] = get_args(ArmName)
"""plain: the replay alone; synthetic: a share of each minibatch by the generative player; rare: the same, with a share
of its rows terminations."""
DEFAULT_SHARE: Final = 0.5
"""Of synthetic rows in a minibatch, and of terminations among those, where the settings say 0."""
EVALUATION_EPISODES: Final = 100
"""Of fewer, the fifth percentile would be one of the worst few."""
_PERCENTILE: Final = 5


@dataclass(frozen=True)
class Arguments:
    """Train SAC or DQN with and without synthetic experience replay: paired seeds, equal environment steps, as many
    gradient steps on as large minibatches; runs that are there are reused.
    """

    env: tyro.conf.Positional[str]
    """What is played; it comes first."""
    arms: tuple[ArmName, ...] = ARMS
    """What is trained; the first is what the others are compared with."""
    seeds: int = 5
    """Seeds 0, 1, ... of every arm."""
    out: Path | None = None
    """Folder of all runs; the same one goes on after a stop, with more seeds or arms. By default a fresh one under
    runs/."""
    config: Path | None = None
    """A TOML file whose fields override the recipe; flags override both."""
    settings: Annotated[ExpertConfig, tyro.conf.arg(name="")] = field(default_factory=ExpertConfig)
    """The learner and its hyperparameters, as of `gail expert`."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"--seeds: {self.seeds}, expected at least 1")
        if not self.arms or len(set(self.arms)) != len(self.arms):
            raise InputError(f"--arms: {' '.join(self.arms)}, expected one or more different ones")


def run(argv: list[str]) -> int:
    """Train every arm with every seed and print the table."""
    default = None
    if not any(word in ("-h", "--help") for word in argv):
        if not argv or argv[0].startswith("-"):
            raise InputError("the environment comes first: gail bench replay ENV --algo ALGO")
        recipe = expert_recipe(env_text(resolve_env(argv[0])[0]), flag_value(argv, "--algo") or "ppo")
        settings = replace(recipe, evaluation_episodes=EVALUATION_EPISODES)
        file = flag_value(argv, "--config")
        default = Arguments(env=tyro.MISSING, settings=settings if file is None else settings_from_file(settings, file))
    arguments = parse(
        Arguments, argv, prog="gail bench replay", description="Does synthetic experience help?", default=default
    )
    settings, arms = arguments.settings, arguments.arms
    if settings.algo not in ("dqn", "sac"):
        raise InputError(f"--algo: {settings.algo!r}, expected dqn or sac, which learn from a replay")
    refuse_unread_flags(argv, settings.algo, OWN_ALGORITHMS)
    if "rare" in arms and _synthetic(settings).actions == "policy":
        raise InputError(
            "--arms: rare asks for ends, which the policy's actions decide; expected --arms plain synthetic"
        )
    for arm in arms:
        _synthetic(arm_settings(settings, arm)).require_refit(settings.steps)
    with open_vec(arguments.env, 1) as probe:
        require_vectors(probe.observation_space, probe.env_id)
    out = arguments.out or default_out("bench", arguments.env, f"replay-{settings.algo}")
    if arguments.out is None:
        print(f"runs: {out}", file=sys.stderr, flush=True)
    open_run(out, {"run": {"verb": "bench replay", "env_id": arguments.env}, "config": settings}, resume=True)
    found: list[dict[str, dict[str, Any]]] = [
        {arm: _trained(arguments.env, settings, arm, seed, out / f"seed-{seed}") for arm in arms}
        for seed in range(arguments.seeds)
    ]
    rows = score_rows(found, arms)
    show(
        rows,
        title=f"{arguments.env}, {settings.algo}, {settings.steps:,} steps, {arguments.seeds} seeds: "
        f"returns of deterministic actions over {settings.evaluation_episodes} episodes per seed",
    )
    print(f"run directories: {out}  (gail bench replay --out {out} goes on with them)")
    data = {**table(rows), "per_seed": found}
    write_text_atomic(out / "replay.json", json.dumps(strict_json(data), indent=2) + "\n")
    if arguments.common.json:
        print_json(data)
    return 0


def _synthetic(settings: ExpertConfig) -> SyntheticConfig:
    return (settings.dqn if settings.algo == "dqn" else settings.sac).synthetic


def arm_settings(settings: ExpertConfig, arm: ArmName) -> ExpertConfig:
    """``settings`` with the synthetic experience of ``arm``; shares that they leave at 0 become a half."""

    def changed(synthetic: SyntheticConfig) -> SyntheticConfig:
        share = 0.0 if arm == "plain" else synthetic.share or DEFAULT_SHARE
        return replace(synthetic, share=share, rare=0.0 if arm != "rare" else synthetic.rare or DEFAULT_SHARE)

    if settings.algo == "dqn":
        return replace(settings, dqn=replace(settings.dqn, synthetic=changed(settings.dqn.synthetic)))
    return replace(settings, sac=replace(settings.sac, synthetic=changed(settings.sac.synthetic)))


def score_rows(found: Sequence[Mapping[str, Mapping[str, Any]]], arms: Sequence[str]) -> list[dict[str, Any]]:
    """One row per arm: mean return and reliability over seeds, and their differences to the first arm, seed by seed.

    Args:
        found: of each seed, by arm: ``returns`` of its evaluation episodes, ``seconds`` of its training.
        arms: in the order of the rows.

    Returns:
        Rows with the keys ``arm, return, 95%_interval, gain, gain_interval``; the same four of the 5th percentile of
        the returns (``p5, p5_interval, p5_gain, p5_gain_interval``); ``seeds, seconds``. Intervals are Student's t
        over seeds, None with one seed; the first arm gains nothing.
    """
    means = paired_scores([{arm: float(np.mean(seed[arm]["returns"])) for arm in arms} for seed in found], arms)
    lows = paired_scores(
        [{arm: float(np.percentile(seed[arm]["returns"], _PERCENTILE)) for arm in arms} for seed in found], arms
    )
    return [
        {
            "arm": arm,
            "return": means[arm].score.mean,
            "95%_interval": ends(means[arm].score),
            "gain": None if (gain := means[arm].gain) is None else gain.mean,
            "gain_interval": ends(means[arm].gain),
            "p5": lows[arm].score.mean,
            "p5_interval": ends(lows[arm].score),
            "p5_gain": None if (gain := lows[arm].gain) is None else gain.mean,
            "p5_gain_interval": ends(lows[arm].gain),
            "seeds": len(found),
            "seconds": sum(seed[arm]["seconds"] for seed in found) / len(found),
        }
        for arm in arms
    ]


def _trained(env: str, settings: ExpertConfig, arm: ArmName, seed: int, folder: Path) -> dict[str, Any]:
    """One run; what is in ``folder`` already is not made again."""
    note = folder / f"{arm}.json"
    if note.is_file():
        done: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        return done
    made = train_expert(
        env,
        config=arm_settings(settings, arm),
        seed=seed,
        out=folder / arm,
        resume=True,
        synthesizer=ReplayModel,
        progress=False,
    )
    result = {"returns": made.evaluation.returns.tolist(), "seconds": made.summary["wall_seconds"]}
    write_text_atomic(note, json.dumps(result) + "\n")
    print(
        f"bench replay: seed {seed}, {arm}: {made.summary['return_mean']:.4g} in {result['seconds']:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return result
