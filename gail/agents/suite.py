"""Several Atari games, one or more policies per game, one table: played once, kept, and aggregated.

Every policy's result is a file of its own, so that an interrupted evaluation goes on with what is missing::

    OUT/results/Pong/<policy>.json    returns of one policy's episodes, and everything that they depend on
    OUT/games.csv                     one row per game
    OUT/suite.json                    the games, the aggregates, the performance profile
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from gail.agents.atari_scores import ATARI26, ATARI57, PUBLISHED, SOURCE, game_of
from gail.agents.entrants import Entrant
from gail.agents.scoring import check_entrant, play
from gail.agents.setting import Setting, choose_setting
from gail.core.aggregates import aggregates, performance_profile
from gail.core.errors import InputError
from gail.core.files import is_unused, sweep_temporaries, write_text_atomic
from gail.core.rundir import first_difference, hardware, strict_json, versions
from gail.core.statistics import mean_interval
from gail.envs import resolve_env

SUITES: Final = {"atari26": ATARI26, "atari57": ATARI57}
"""Suites by name."""
TAUS: Final = np.linspace(0.0, 8.0, 401)
"""Thresholds of the performance profile, in human-normalized score."""

_RULES = ("protocol", "episodes", "deterministic", "seed")

Games = Mapping[str, Sequence[Entrant]]


def suite_games(text: str) -> tuple[str, ...]:
    """The games that ``--suite`` names: ``atari26``, ``atari57``, or games separated by commas.

    Raises:
        InputError: on an unknown game, one without published scores, or one that is named twice.
    """
    if text in SUITES:
        return SUITES[text]
    games: list[str] = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        game = game_of(resolve_env(name)[0])
        if game not in PUBLISHED:
            close = difflib.get_close_matches(name, PUBLISHED, n=1)
            advice = f"did you mean {close[0]}?" if close else f"expected {', '.join(SUITES)}, or games of atari57"
            wrong = "is no Atari game" if game is None else "has no published scores to normalize by"
            raise InputError(f"--suite: {name!r} {wrong}; {advice}")
        if game in games:
            raise InputError(f"--suite: {game} is named twice")
        games.append(game)
    if not games:
        raise InputError(f"--suite: {text!r} names no game")
    return tuple(games)


def match_games(games: Sequence[str], entrants: Sequence[Entrant]) -> dict[str, list[Entrant]]:
    """The policies of each game, by the environment that they were trained in; one without any plays all games.

    Policies of other games are left out.

    Raises:
        InputError: where a game has no policy, or games have unlike numbers of them.
    """
    silent = next((entrant for entrant in entrants if entrant.env_id is None and entrant.path is not None), None)
    if silent is not None and len(games) > 1:
        raise InputError(f"--suite: {silent.name} does not say which game it plays; evaluate it alone, with --env")
    found = {game: [e for e in entrants if e.env_id in (None, f"ALE/{game}-v5")] for game in games}
    missing = [game for game in games if not found[game]]
    if missing:
        raise InputError(
            f"--suite: no policy was trained on {', '.join(missing)}; name these games' runs, or fewer games"
        )
    counts = {game: len(policies) for game, policies in found.items()}
    if len(set(counts.values())) > 1:
        few, many = min(counts, key=lambda g: counts[g]), max(counts, key=lambda g: counts[g])
        raise InputError(
            f"--suite: {few} has {counts[few]} policies and {many} has {counts[many]}; "
            "the aggregates need equally many of every game"
        )
    return found


def evaluate_suite(
    games: Games,
    out: Path,
    *,
    protocol: str | None = None,
    episodes: int | None = None,
    env_kwargs: dict[str, Any] | None = None,
    deterministic: bool = True,
    seed: int,
    device: str = "cpu",
    finished: Callable[[dict[str, Any], int, int], None] = lambda result, number, total: None,
) -> dict[str, Any]:
    """Play every policy of every game that ``out`` holds no result of, then aggregate; what ``--suite`` does.

    Args:
        games: from :func:`match_games`.
        out: the folder described above; results that are there already are kept.
        protocol: see :mod:`gail.agents.protocols`; None: v5.
        episodes: per policy; None: as many as the protocol plays.
        env_kwargs: keywords beyond the protocol's.
        deterministic: the most probable actions instead of sampled ones.
        seed: environment i starts from ``seed + i``, in every game.
        device: where the policies run.
        finished: called after each policy with its result, its number and how many there are.

    Returns:
        Plain data, also written to ``suite.json``: ``protocol, episodes, deterministic, seed, env_id`` and
        ``env_kwargs`` (of the first game), ``runs_per_game``; ``games`` (a row each); ``aggregates`` (``median, iqm,
        mean, optimality_gap`` of human-normalized scores, each with ``value, low, high``); ``profile`` (``taus, share,
        low, high``); ``policies`` of each game; ``published``, the source of human and random scores.

    Raises:
        InputError: before anything is played, where a setting is wrong, a policy does not fit its game, or ``out``
            holds results of other settings.
    """
    settings = {
        (game, entrant.key): choose_setting(
            f"ALE/{game}-v5",
            trained=entrant.env_kwargs,
            env_kwargs=env_kwargs,
            protocol=protocol,
            episodes=episodes,
            deterministic=deterministic,
            seed=seed,
        )
        for game, entrants in games.items()
        for entrant in entrants
    }
    known = _read_results(out, settings)
    for game, entrants in games.items():
        for entrant in entrants:
            if (game, entrant.key) not in known:
                check_entrant(entrant, settings[game, entrant.key])
    results: dict[str, list[dict[str, Any]]] = {game: [] for game in games}
    number = 0
    for game, entrants in games.items():
        for entrant in entrants:
            number += 1
            result = known.get((game, entrant.key))
            if result is None:
                result = _play(entrant, game, settings[game, entrant.key], device)
                write_text_atomic(_file(out, game, entrant.key), json.dumps(strict_json(result), indent=2) + "\n")
            results[game].append(result)
            finished(result, number, len(settings))
    summary = summarize(results)
    write_text_atomic(out / "suite.json", json.dumps(strict_json(summary), indent=2) + "\n")
    write_text_atomic(out / "games.csv", _csv(summary["games"]))
    return summary


def summarize(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Rows, aggregates and profile of the results of each game (equally many of each)."""
    rows = []
    for game, played in results.items():
        interval = mean_interval([result["return_mean"] for result in played])
        # One run says nothing about others; its own episodes at least say how sure its mean is.
        ends = [interval.low, interval.high] if len(played) > 1 else played[0]["return_interval"]
        published = PUBLISHED[game]
        rows.append(
            {
                "game": game,
                "runs": len(played),
                "episodes": sum(result["episodes"] for result in played),
                "env_kwargs": played[0]["env_kwargs"],
                "return_mean": interval.mean,
                "return_interval": ends,
                "human_normalized": published.human_normalized(interval.mean),
                "random": published.random,
                "human": published.human,
                "run_scores": [result["human_normalized"] for result in played],
            }
        )
    scores = np.array([[result["human_normalized"] for result in played] for played in results.values()]).T
    profile = performance_profile(scores, TAUS)
    first = next(iter(results.values()))[0]
    return {
        **{name: first[name] for name in (*_RULES, "env_id", "env_kwargs")},
        "runs_per_game": len(scores),
        "games": rows,
        "aggregates": {name: asdict(estimate) for name, estimate in aggregates(scores).items()},
        "profile": {name: values.tolist() for name, values in asdict(profile).items()},
        "published": SOURCE,
        "policies": {game: [result["policy"] for result in played] for game, played in results.items()},
    }


def _play(entrant: Entrant, game: str, setting: Setting, device: str) -> dict[str, Any]:
    started = time.perf_counter()
    evaluation = play(entrant, setting, device)
    return {
        "game": game,
        "policy": entrant.name,
        **setting.plain(),
        **setting.describe(evaluation),
        "returns": evaluation.returns.tolist(),
        "lengths": evaluation.lengths.tolist(),
        "seconds": time.perf_counter() - started,
        "hardware": hardware(),
        "versions": versions(),
    }


def _file(out: Path, game: str, key: str) -> Path:
    return out / "results" / game / f"{key}.json"


def _read_results(out: Path, settings: Mapping[tuple[str, str], Setting]) -> dict[tuple[str, str], dict[str, Any]]:
    """The results in ``out`` that are asked for; all that are there must have been played by the same rules."""
    if is_unused(out):
        return {}
    if not (out / "results").is_dir():
        raise InputError(f"{out}: exists already and holds no results of a suite; choose another --out")
    sweep_temporaries(out / "results")
    known = {}
    rules = next(iter(settings.values())).plain()
    for file in sorted(out.glob("results/*/*.json")):
        place = (file.parent.name, file.stem)
        # Another policy's keywords may be its own; the rest of the rules are everybody's.
        wanted = settings[place].plain() if place in settings else {name: rules[name] for name in _RULES}
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            found = {name: result[name] for name in wanted}
            _ = [result[name] for name in ("policy", "return_mean", "human_normalized")]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: no result of a suite ({error}); move it away to play it again") from error
        rules_found, rules_wanted = ({name: part[name] for name in _RULES} for part in (found, wanted))
        difference = first_difference(rules_found, rules_wanted) or first_difference(found, wanted)
        if difference:
            raise InputError(f"{file}: {difference}; choose another --out")
        if place in settings:
            known[place] = result
    return known


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    flat = [{**row, "return_low": row["return_interval"][0], "return_high": row["return_interval"][1]} for row in rows]
    for row in flat:
        del row["return_interval"], row["env_kwargs"], row["run_scores"]
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()
