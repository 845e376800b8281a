"""What one evaluation plays: environment, keywords, episodes, actions; and how its result reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gail.agents.atari_scores import SOURCE, published_scores
from gail.agents.evaluate import EVALUATION_SEED, Evaluation
from gail.agents.protocols import EvaluationProtocol, choose_protocol
from gail.core.errors import InputError
from gail.envs import EnvLike, env_text, resolve_env

EPISODES: Final = 50
"""Played where neither the user nor a protocol says otherwise."""


@dataclass(frozen=True)
class Setting:
    """Everything that an evaluation's result depends on, besides the policy."""

    env: EnvLike
    """What is played: an id, or whatever else :func:`gail.make_vec` takes."""
    env_kwargs: dict[str, Any]
    """Every keyword, so that the environment can be made again."""
    episodes: int
    deterministic: bool
    """The most probable actions instead of sampled ones."""
    seed: int
    """Environment i starts from ``seed + i``."""
    protocol: EvaluationProtocol | None
    """None for environments that no protocol governs."""

    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "env_id": env_text(self.env),
            "env_kwargs": self.env_kwargs,
            "protocol": self.protocol and self.protocol.name,
            "episodes": self.episodes,
            "deterministic": self.deterministic,
            "seed": self.seed,
        }

    def describe(self, evaluation: Evaluation) -> dict[str, Any]:
        """The result as plain data.

        Returns:
            ``return_mean, return_interval, return_std, return_min, return_max, length_mean``; for Atari games also
            ``published`` (``random, human, source``; None where nobody published any) and ``human_normalized``.
        """
        interval, returns = evaluation.interval, evaluation.returns
        result: dict[str, Any] = {
            "return_mean": interval.mean,
            "return_interval": [interval.low, interval.high],
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "return_max": float(returns.max()),
            "length_mean": float(evaluation.lengths.mean()),
        }
        if self.protocol is not None:
            scores = published_scores(env_text(self.env))
            result["published"] = scores and {"random": scores.random, "human": scores.human, "source": SOURCE}
            result["human_normalized"] = scores and scores.human_normalized(interval.mean)
        return result


def choose_setting(
    env: EnvLike,
    *,
    trained: Mapping[str, Any],
    env_kwargs: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    episodes: int | None = None,
    deterministic: bool = True,
    seed: int = EVALUATION_SEED,
) -> Setting:
    """The setting that the user's choices and the policy's training come to.

    Args:
        env: what is played.
        trained: the keywords of the policy's training.
        env_kwargs: the user's keywords: beside the protocol's where there is one, else instead of ``trained``.
        protocol: name of a protocol; None: v5 for Atari games.
        episodes: how many; None: as many as the protocol plays, or 50.
        deterministic: the most probable actions instead of sampled ones.
        seed: environment i starts from ``seed + i``.

    Raises:
        InputError: on an unknown environment, protocol or keyword, or too few episodes.
    """
    env, _ = resolve_env(env)
    chosen = choose_protocol(env_text(env), protocol)
    count = (EPISODES if chosen is None else chosen.episodes) if episodes is None else episodes
    if count < 1:
        raise InputError(f"--episodes: {count}, expected at least 1")
    if chosen is None:
        kwargs = resolve_env(env, trained if env_kwargs is None else env_kwargs, for_evaluation=True)[1]
    else:
        chosen.check_episodes(count)
        kwargs = chosen.env_kwargs(env_text(env), trained, env_kwargs)
    return Setting(env, kwargs, count, deterministic, seed, chosen)
