"""``gail evaluate RUN_OR_POLICY...``: how well trained policies play."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gail.agents.entrants import RANDOM, Entrant, find_entrants
from gail.agents.evaluate import EVALUATION_SEED
from gail.agents.group_expert import evaluate_group_run
from gail.agents.groups import group_files
from gail.agents.protocols import PROTOCOLS
from gail.agents.sb3_zip import SB3Options
from gail.agents.scoring import evaluate_runs
from gail.agents.suite import evaluate_suite, match_games, suite_games
from gail.cli.options import Common, parse, parse_kwargs, print_json, print_protocol, show, show_groups
from gail.core.errors import InputError
from gail.generators import evaluate_targets
from gail.report import asked_returns_picture, groups_video, policy_video, suite_report


@dataclass(frozen=True)
class Arguments:
    """Play trained policies."""

    sources: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Run directories, folders of runs, files policy.safetensors, zips of Stable-Baselines3, or code of your own
    (FILE.py:NAME or MODULE:NAME), the last two with --env; several are runs of one environment, or of the games of
    --suite."""
    policy: Literal["random"] | None = None
    """Instead of runs: uniform random play."""
    env: str | None = None
    """What is played; by default what the policy was trained in, where that is a registered environment."""
    env_kwargs: str | None = None
    """Keyword arguments of the environment, as JSON; those of the training where not given. Atari games: beside those
    of the protocol."""
    protocol: str | None = None
    """How Atari games are played: v5 (the default), machado, or dqn."""
    suite: str | None = None
    """Atari games, each by the runs that were trained on it: atari26, atari57, or games separated by commas."""
    out: Path | None = None
    """With --suite: the folder of results, tables and pictures; what it holds already is not played again. With
    --target-return: the folder of the picture."""
    episodes: int | None = None
    """How many episodes per policy; by default 50, or what the protocol plays; 10 per target return."""
    target_return: str | None = None
    """Returns to ask a model of returns for, separated by commas (`gail fit transformer --data-kind returns`): a table
    and a picture of asked against achieved, in --out or else in the run."""
    temperature: float | None = None
    """With --target-return and --stochastic: divides the logits of the actions' tokens, so that below 1 likely ones are
    drawn more often."""
    stochastic: bool = False
    """Sample actions instead of taking the most probable ones."""
    seed: int = EVALUATION_SEED
    """Environment i starts from seed + i."""
    device: str = "cpu"
    """Where the policies run."""
    video: Path | None = None
    """Write a video of the first episode to this new .mp4 file (with --suite: one of each game to this folder)."""
    sb3: Annotated[SB3Options, tyro.conf.arg(name="")] = field(default_factory=SB3Options)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Evaluate, print the table, return the exit status."""
    arguments = parse(Arguments, argv, prog="gail evaluate", description="Play trained policies.")
    if bool(arguments.sources) == bool(arguments.policy):
        raise InputError("gail evaluate: expected runs or policy files, or --policy random, and not both")
    if arguments.video is not None and arguments.policy is not None:
        raise InputError("--video: shows trained policies, found --policy random")
    if arguments.temperature is not None and (arguments.target_return is None or not arguments.stochastic):
        raise InputError("--temperature: is for actions drawn by a model of returns: --target-return and --stochastic")
    if arguments.target_return is not None:
        result = _asked_returns(arguments)
    elif any(group_files(source) for source in arguments.sources):
        result = _groups(arguments)
    else:
        result = _one_environment(arguments) if arguments.suite is None else _suite(arguments)
    if arguments.common.json:
        print_json(result)
    return 0


def _entrants(arguments: Arguments) -> list[Entrant]:
    if arguments.policy:
        return [RANDOM]
    entrants = find_entrants(arguments.sources, arguments.sb3)
    for entrant in entrants:
        if entrant.note:
            print(entrant.note)
    return entrants


def _groups(arguments: Arguments) -> dict[str, Any]:
    """A run with one policy per group of agents, in the environment that it was trained in."""
    if len(arguments.sources) > 1:
        raise InputError(f"{arguments.sources[1]}: a run with one policy per group of agents is evaluated alone")
    for name in ("env", "env_kwargs", "protocol", "suite"):
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name.replace('_', '-')}: not for a run with one policy per group of agents")
    _check_video(arguments)
    result = evaluate_group_run(
        arguments.sources[0],
        episodes=50 if arguments.episodes is None else arguments.episodes,
        deterministic=not arguments.stochastic,
        seed=arguments.seed,
        device=arguments.device,
    )
    show_groups(result["groups"])
    if arguments.video is None:
        return result
    groups_video(arguments.sources[0], arguments.video, seed=arguments.seed)
    print(f"video: {arguments.video}")
    return result | {"video": str(arguments.video)}


def _check_video(arguments: Arguments) -> None:
    if arguments.video is not None and arguments.video.exists():
        raise InputError(f"{arguments.video}: exists already; choose another --video")


def _asked_returns(arguments: Arguments) -> dict[str, Any]:
    """A model of returns, asked for each return."""
    assert arguments.target_return is not None
    if len(arguments.sources) != 1:
        raise InputError("--target-return: expected one run of `gail fit ... --data-kind returns`")
    for name in ("protocol", "suite", "video"):
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name}: not with --target-return")
    try:
        targets = [float(text) for text in arguments.target_return.split(",")]
    except ValueError:
        found = arguments.target_return
        raise InputError(f"--target-return: {found!r}, expected numbers separated by commas") from None
    source = arguments.sources[0]
    result = evaluate_targets(
        source,
        targets,
        env_id=arguments.env,
        env_kwargs=parse_kwargs(arguments.env_kwargs),
        episodes=10 if arguments.episodes is None else arguments.episodes,
        deterministic=not arguments.stochastic,
        temperature=arguments.temperature,
        seed=arguments.seed,
        device=arguments.device,
    )
    names = {"target": "asked", "return_mean": "achieved", "return_interval": "95%_interval", "return_min": "min"}
    names |= {"return_max": "max", "length_mean": "length"}
    rows = [{shown: row[name] for name, shown in names.items()} for row in result["rows"]]
    show(rows, title=f"{result['env_id']}: {_actions(arguments)}, {result['episodes']} episodes each")
    if result["spearman"] is not None:
        print(f"rank correlation of achieved with asked: {result['spearman']:.2f}")
    picture = (arguments.out or (source if source.is_dir() else source.parent)) / "asked-returns.png"
    asked_returns_picture(result, picture)
    print(f"picture: {picture}")
    return result | {"picture": str(picture)}


def _one_environment(arguments: Arguments) -> dict[str, Any]:
    if arguments.out is not None:
        raise InputError("--out: for --suite only")
    _check_video(arguments)
    result = evaluate_runs(
        _entrants(arguments),
        env_id=arguments.env,
        env_kwargs=parse_kwargs(arguments.env_kwargs),
        protocol=arguments.protocol,
        episodes=arguments.episodes,
        deterministic=not arguments.stochastic,
        seed=arguments.seed,
        device=arguments.device,
    )
    runs = result["runs"]
    first = runs[0]
    _print_rules(first)
    several = len(runs) > 1
    rows = [({"policy": run["policy"]} if several else {}) | _row(run) for run in runs]
    if several:
        mean = {"policy": f"mean of {len(runs)} runs", "return": result["return_mean"]}
        mean |= {"95%_interval": result["return_interval"], "human_normalized": result.get("human_normalized")}
        rows.append({name: mean.get(name) for name in rows[0]})
    show(rows, title=f"{first['env_id']}: {_actions(arguments)}")
    if arguments.video is not None:
        policy_video(
            arguments.sources[0],
            arguments.video,
            env_id=first["env_id"],
            env_kwargs=first["env_kwargs"],
            seed=arguments.seed,
            sb3=arguments.sb3,
        )
        print(f"video: {arguments.video}")
    printed = result if several else first
    return printed | ({"video": str(arguments.video)} if arguments.video else {})


def _row(run: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "episodes": run["episodes"],
        "return": run["return_mean"],
        "95%_interval": run["return_interval"],
        "min": run["return_min"],
        "max": run["return_max"],
        "length": run["length_mean"],
    }
    if run["protocol"] is not None:
        published = run["published"] or {"random": None, "human": None}
        row |= {"human_normalized": run["human_normalized"], "published_random": published["random"]}
        row |= {"published_human": published["human"]}
        if run["expert_return"] is None:
            return row
    return row | {
        "normalized": run["normalized_return"],
        "random": run["random_return"],
        "expert": run["expert_return"],
    }


def _suite(arguments: Arguments) -> dict[str, Any]:
    assert arguments.suite is not None
    if arguments.env is not None:
        raise InputError("--env: the games are those of --suite; name one of them")
    if arguments.out is None:
        raise InputError("--suite: needs --out, the folder that keeps each game's result")
    entrants = _entrants(arguments)
    games = match_games(suite_games(arguments.suite), entrants)
    taken = {entrant.key for policies in games.values() for entrant in policies}
    for entrant in entrants:
        if entrant.key not in taken:
            print(f"{entrant.name}: plays {entrant.env_id}, which is not in the suite; left out")
    summary = evaluate_suite(
        games,
        arguments.out,
        protocol=arguments.protocol,
        episodes=arguments.episodes,
        env_kwargs=parse_kwargs(arguments.env_kwargs),
        deterministic=not arguments.stochastic,
        seed=arguments.seed,
        device=arguments.device,
        finished=_finished,
    )
    _print_rules(summary)
    title = f"{arguments.suite}: {summary['runs_per_game']} run(s) per game, {_actions(arguments)}"
    show(_game_rows(summary["games"]), title=title)
    show(_aggregate_rows(summary["aggregates"]), title="human-normalized scores over all games and runs")
    videos = _videos(arguments.video, games, summary) if arguments.video is not None else {}
    page = suite_report(
        summary, arguments.out, title=f"{arguments.suite} by protocol {summary['protocol']}", videos=videos
    )
    print(f"report: {page}")
    return summary | {"report": str(page)}


def _finished(result: dict[str, Any], number: int, total: int) -> None:
    print(
        f"[{number}/{total}] {result['game']}: {result['policy']}: return {result['return_mean']:,.1f}, "
        f"human-normalized {result['human_normalized']:.3f}",
        file=sys.stderr,
        flush=True,
    )


def _videos(folder: Path, games: Mapping[str, Sequence[Entrant]], summary: Mapping[str, Any]) -> dict[str, Path]:
    """One video per game, of its first policy; those that are there stay."""
    videos = {}
    for row in summary["games"]:
        file = folder / f"{row['game']}.mp4"
        entrant = games[row["game"]][0]
        if not file.exists():
            source = entrant.code or entrant.path
            assert source is not None
            game = f"ALE/{row['game']}-v5"
            kwargs = row["env_kwargs"]
            policy_video(source, file, env_id=game, env_kwargs=kwargs, seed=summary["seed"], sb3=entrant.sb3)
        videos[f"{row['game']}: {entrant.name}"] = file
    return videos


def _game_rows(games: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "game": row["game"],
            "episodes": row["episodes"],
            "return": row["return_mean"],
            "95%_interval": row["return_interval"],
            "human_normalized": row["human_normalized"],
            "published_random": row["random"],
            "published_human": row["human"],
        }
        for row in games
    ]


def _aggregate_rows(aggregates: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    return [
        {"aggregate": name.replace("_", " "), "value": found["value"], "95%_interval": [found["low"], found["high"]]}
        for name, found in aggregates.items()
    ]


def _actions(arguments: Arguments) -> str:
    if arguments.policy is not None:
        return "random play"
    return "sampled actions" if arguments.stochastic else "deterministic actions"


def _print_rules(result: Mapping[str, Any]) -> None:
    """Say by which protocol an Atari game was played, and all that it comes to."""
    if result["protocol"] is not None:
        protocol = PROTOCOLS[result["protocol"]]
        print(f"protocol {protocol.name}: {protocol.source}; {result['episodes']} episodes per policy")
        print_protocol(result["env_id"], result["env_kwargs"])
