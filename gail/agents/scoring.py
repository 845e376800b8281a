"""Evaluating policy files and runs: settings, protocols, normalized scores."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gail.agents.atari_scores import published_scores
from gail.agents.entrants import RANDOM, Entrant, read_entrant
from gail.agents.evaluate import EVALUATION_SEED, Evaluation, check_spaces, evaluate_in, random_return
from gail.agents.sb3_zip import SB3Options
from gail.agents.setting import Setting, choose_setting
from gail.core.device import resolve_device
from gail.core.errors import InputError
from gail.core.statistics import mean_interval, normalized
from gail.envs import EnvLike, env_text, may_be, open_vec, resolve_env
from gail.envs.atari import is_atari
from gail.envs.ids import require_registered
from gail.envs.vec import VecEnv


def play(entrant: Entrant, setting: Setting, device: str = "cpu") -> Evaluation:
    """Play an entrant's episodes by ``setting``."""
    return evaluate_in(
        entrant.load(setting.env, setting.env_kwargs, resolve_device(device)),
        setting.env,
        setting.env_kwargs,
        episodes=setting.episodes,
        deterministic=setting.deterministic,
        seed=setting.seed,
        device=device,
    )


def check_entrant(entrant: Entrant, setting: Setting) -> None:
    """Refuse a policy that does not fit an Atari game by the protocol of ``setting``, before anything is played.

    Raises:
        InputError: naming what differs.
    """
    policy = entrant.load(setting.env, setting.env_kwargs) if setting.protocol is not None else None
    if policy is None or setting.protocol is None:
        return
    env = _closed_game(env_text(setting.env), json.dumps(setting.env_kwargs, sort_keys=True))
    setting.protocol.check_actions(policy.action_space, env)
    check_spaces(policy, env)


@functools.lru_cache(maxsize=64)
def _closed_game(env_id: str, env_kwargs: str) -> VecEnv:
    """A game for its spaces; a suite asks for the same one once per run, and loading it takes a while."""
    with open_vec(env_id, 1, **json.loads(env_kwargs)) as env:
        return env


def evaluate(
    source: str | Path | None,
    *,
    env_id: EnvLike | None = None,
    env_kwargs: dict[str, Any] | None = None,
    protocol: str | None = None,
    episodes: int | None = None,
    deterministic: bool = True,
    seed: int = EVALUATION_SEED,
    device: str = "cpu",
    sb3: SB3Options | None = None,
) -> dict[str, Any]:
    """Evaluate a policy file or a run; what `gail evaluate` does.

    Args:
        source: a run directory, a ``policy.safetensors``, a zip of Stable-Baselines3, or code of your own
            (:func:`gail.agents.find_policy`); None: uniform random play in ``env_id``.
        env_id: what is played: whatever :func:`gail.make_vec` takes; None plays what the policy was trained in,
            where that is a registered environment.
        env_kwargs: keyword arguments of the environment; None takes those of the training. Beside a protocol they
            add to its own.
        protocol: how Atari games are played (see :mod:`gail.agents.protocols`); None: v5.
        episodes: how many; None: as many as the protocol plays, or 50.
        deterministic: the most probable actions instead of sampled ones.
        seed: environment i starts from ``seed + i``.
        device: where the policy runs.
        sb3: what a zip of Stable-Baselines3 does not say.

    Returns:
        Plain data: ``policy, env_id, env_kwargs, protocol, episodes, deterministic, seed, return_mean, return_interval,
        return_std, return_min, return_max, length_mean, random_return, expert_return, normalized_return`` (the last
        two None where no summary beside the policy tells the expert's return); for Atari games also ``published`` and
        ``human_normalized``, and ``random_return`` is what the training measured.

    Raises:
        InputError: where there is no policy, its spaces are not the environment's, or the setting is wrong.
    """
    entrant = RANDOM if source is None else read_entrant(Path(source), sb3)
    return evaluate_runs(
        [entrant],
        env_id=env_id,
        env_kwargs=env_kwargs,
        protocol=protocol,
        episodes=episodes,
        deterministic=deterministic,
        seed=seed,
        device=device,
    )["runs"][0]


def evaluate_runs(
    entrants: Sequence[Entrant],
    *,
    env_id: EnvLike | None = None,
    env_kwargs: dict[str, Any] | None = None,
    protocol: str | None = None,
    episodes: int | None = None,
    deterministic: bool = True,
    seed: int = EVALUATION_SEED,
    device: str = "cpu",
) -> dict[str, Any]:
    """Evaluate several runs of one environment; arguments as of :func:`evaluate`.

    Returns:
        Plain data: ``runs`` (for each what :func:`evaluate` returns), and over the runs ``return_mean,
        return_interval`` (Student's t over runs) and, for Atari games, ``human_normalized`` of the mean.

    Raises:
        InputError: as :func:`evaluate`, and where the runs were trained in different environments and ``env_id`` does
            not say which one is played.
    """
    env = _common_env(entrants) if env_id is None else resolve_env(env_id)[0]
    settings = [
        choose_setting(
            env,
            trained=entrant.env_kwargs if _same_keywords(env, entrant) else {},
            env_kwargs=env_kwargs,
            protocol=protocol,
            episodes=episodes,
            deterministic=deterministic,
            seed=seed,
        )
        for entrant in entrants
    ]
    for entrant, setting in zip(entrants, settings, strict=True):
        check_entrant(entrant, setting)
    runs: list[dict[str, Any]] = []
    measured: list[tuple[dict[str, Any], float]] = []
    for entrant, setting in zip(entrants, settings, strict=True):
        described = setting.describe(play(entrant, setting, device))
        trained = _trained_summary(entrant) if may_be(setting.env, entrant.env_id) else {}
        if setting.protocol is None:
            # Once for all runs that play with the same keywords.
            random = next((value for kwargs, value in measured if kwargs == setting.env_kwargs), None)
            if random is None:
                random = random_return(setting.env, setting.env_kwargs).interval.mean
                measured.append((setting.env_kwargs, random))
        else:
            # The published score stands beside; measuring it again would take longer than the evaluation.
            random = trained.get("random_return")
        expert = trained.get("expert_return")
        score = None if expert is None or random is None else normalized(described["return_mean"], random, expert)
        references = {"random_return": random, "expert_return": expert, "normalized_return": score}
        runs.append({"policy": entrant.name, **setting.plain(), **described, **references})
    interval = mean_interval([run["return_mean"] for run in runs])
    result: dict[str, Any] = {
        "runs": runs,
        "return_mean": interval.mean,
        "return_interval": [interval.low, interval.high],
    }
    if settings[0].protocol is not None:
        scores = published_scores(env_text(settings[0].env))
        result["human_normalized"] = scores and scores.human_normalized(interval.mean)
    return result


def _common_env(entrants: Sequence[Entrant]) -> str:
    """What all of them were trained in."""
    names: dict[str, str] = {}
    for entrant in entrants:
        if entrant.env_id is None and entrant.path is not None:
            raise InputError(f"--env: {entrant.path} does not say what it plays, expected an environment's id")
        if entrant.env_id is None:
            name = "--policy random" if entrant is RANDOM else entrant.name
            raise InputError(f"{name}: plays any environment; say which one with --env, or --suite")
        names.setdefault(require_registered(entrant.env_id, entrant.path or entrant.name), entrant.name)
    if len(names) > 1:
        (one, first), (other, second) = list(names.items())[:2]
        raise InputError(f"{first} plays {one} and {second} plays {other}; choose one game's runs, --env, or --suite")
    return next(iter(names))


def _same_keywords(env: EnvLike, entrant: Entrant) -> bool:
    """Whether the keywords of the policy's training mean the same in ``env``."""
    if isinstance(env, VecEnv):
        return False
    return may_be(env, entrant.env_id) or (is_atari(env_text(env)) and is_atari(entrant.env_id or ""))


def _trained_summary(entrant: Entrant) -> dict[str, float | None]:
    """``random_return`` and ``expert_return`` from the summary beside the policy, where there is one."""
    if entrant.path is None:
        return {}
    try:
        summary = json.loads((entrant.path.parent / "summary.json").read_text(encoding="utf-8"))
        return {name: summary[name] for name in ("random_return", "expert_return")}
    except (OSError, ValueError, KeyError):
        return {}
