"""Is a set of demonstrations sound? Every defect has a name (:data:`gail.demos.findings.RULES`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gail.core.errors import InputError
from gail.demos.check_data import (
    check_duplicates,
    check_end_flags,
    check_finite,
    check_returns,
    check_spaces,
    is_playable,
)
from gail.demos.check_dynamics import check_ends, check_steps
from gail.demos.check_lander import check_lander_ends, check_lander_steps
from gail.demos.errors import DemosError
from gail.demos.findings import CheckReport, Finding, SkippedCheck
from gail.demos.load import load_demos
from gail.demos.simulator import simulator_for
from gail.demos.types import Demonstrations
from gail.envs.ids import require_registered, same_environment

_PLAYED = ("steps-after-termination", "wrong-end-flag", "shifted-actions", "impossible-steps")
_SPACES = ("wrong-shape", "wrong-dtype", "outside-space")


def check_demos(
    demos: Demonstrations | str | Path,
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    simulate: bool = True,
) -> list[Finding]:
    """The defects of ``demos``; empty where it is sound as far as :func:`inspect_demos` could check.

    Arguments and errors are those of :func:`inspect_demos`.
    """
    return list(inspect_demos(demos, env_id, env_kwargs, simulate).findings)


def inspect_demos(
    demos: Demonstrations | str | Path,
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    simulate: bool = True,
) -> CheckReport:
    """The defects of ``demos``, and what could not be checked.

    Args:
        demos: the demonstrations, or a file of any kind that :func:`load_demos` reads; what makes a file
            unreadable becomes a finding.
        env_id: the environment that they are meant for; None: the one that they name.
        env_kwargs: what that environment is made with; None: what they name.
        simulate: whether recorded steps are played again in the simulator.

    Raises:
        InputError: where there is no such file, or ``env_id`` cannot be made.
    """
    if not isinstance(demos, Demonstrations):
        try:
            demos = load_demos(demos)
        except DemosError as error:
            return CheckReport((Finding(error.rule, None, str(error)),), ())
    results: list[Finding | SkippedCheck] = [
        *check_finite(demos),
        *check_duplicates(demos),
        *check_returns(demos),
        *check_end_flags(demos),
        *_check_names(demos, env_id, env_kwargs),
        *_check_in_environment(demos, env_id, env_kwargs, simulate),
    ]
    if demos.returns is None:
        unrelated = demos.kind == "transitions"
        reason = "the rows are unrelated steps, not episodes" if unrelated else "rewards are not recorded"
        results.append(SkippedCheck("zero-returns", reason))
    findings = tuple(result for result in results if isinstance(result, Finding))
    skipped = tuple(dict.fromkeys(result for result in results if isinstance(result, SkippedCheck)))
    return CheckReport(findings, skipped)


def _check_names(demos: Demonstrations, env_id: str | None, env_kwargs: dict[str, Any] | None) -> Iterable[Finding]:
    if demos.env_id is not None and env_id is not None and not same_environment(demos.env_id, env_id):
        same_task = demos.env_id.rpartition("-v")[0] == env_id.rpartition("-v")[0]
        what = "another version" if same_task else "another environment"
        message = f"made in {what}: found {demos.env_id!r}; expected {env_id!r}"
        yield Finding("environment-mismatch", None, message)
    if demos.env_id is not None and env_kwargs is not None and demos.env_kwargs != env_kwargs:
        message = f"made with other arguments: found {demos.env_kwargs}; expected {env_kwargs}"
        yield Finding("environment-mismatch", None, message)


def _check_in_environment(
    demos: Demonstrations, env_id: str | None, env_kwargs: dict[str, Any] | None, simulate: bool
) -> Iterable[Finding | SkippedCheck]:
    """The rules that need the environment: spaces, time limit, simulator."""
    wanted = env_id or demos.env_id
    if wanted is None:
        yield from _skip((*_SPACES, "environment-mismatch", *_PLAYED), "the file names no environment; give env_id")
        return
    from gymnasium import Env

    from gail.envs.host import time_limit

    kwargs = demos.env_kwargs if env_kwargs is None else env_kwargs
    try:
        env = _make(env_id or require_registered(wanted, "the file"), kwargs)
    except Exception as error:  # whatever an environment's constructor raises
        reason = f"{wanted!r} cannot be made here ({' '.join(str(error).split())[:200]})"
        if env_id is not None:
            raise InputError(f"env_id: {reason}") from error
        yield from _skip((*_SPACES, *_PLAYED), reason)
        return
    try:
        yield from check_spaces(demos, env.observation_space, env.action_space)
        single = isinstance(env, Env)
        limit = time_limit(env) if single else env.max_episode_steps
        for index, trajectory in enumerate(demos):
            if limit is not None and len(trajectory) > limit:
                message = f"found {len(trajectory)} steps; expected at most {limit}, the time limit of {wanted}"
                yield Finding("environment-mismatch", index, message)
        if simulate and single:
            yield from _check_played(demos, env)
        else:
            reason = f"{wanted} makes whole batches" if simulate else "the simulator was not asked for"
            yield from _skip(_PLAYED, reason)
    finally:
        env.close()


def _make(env_id: str, kwargs: dict[str, Any]) -> Any:
    """The Gymnasium environment of that id, or a batch of one where it is no single one."""
    from gymnasium.envs.registration import EnvSpec

    from gail.envs.chunk import make_env
    from gail.envs.make import make_vec
    from gail.envs.resolve import MakesAgents, UnknownEnvironment, resolve

    try:
        found = resolve(env_id)
        if isinstance(found, EnvSpec):
            return make_env(found, kwargs)
    except (UnknownEnvironment, MakesAgents):
        pass
    return make_vec(env_id, 1, **kwargs)


def _check_played(demos: Demonstrations, env: Any) -> Iterable[Finding | SkippedCheck]:
    """The rules that play recorded steps again, on the episodes that can be played."""
    spaces = (env.observation_space, env.action_space)
    episodes = [(index, t) for index, t in enumerate(demos) if is_playable(t, *spaces)]
    if len(episodes) < len(demos):
        yield from _skip(_PLAYED, f"{len(demos) - len(episodes)} episodes hold rows that cannot be played")
    if not episodes:
        return
    name = type(env.unwrapped).__name__
    if name == "LunarLander":
        yield from check_lander_ends(episodes)
        yield from check_lander_steps(episodes)
        return
    simulator = simulator_for(env)
    if simulator is None:
        yield from _skip(_PLAYED, f"the state of {name} cannot be set from an observation")
        return
    yield from check_ends(episodes, simulator)
    yield from check_steps(episodes, simulator)


def _skip(rules: Iterable[str], reason: str) -> Iterable[SkippedCheck]:
    return [SkippedCheck(rule, reason) for rule in rules]
