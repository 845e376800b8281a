"""Everything that can be checked about an environment: the checkers of others, and the contract of its batch."""

from __future__ import annotations

import contextlib
import io
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

from gail.core.errors import EnvironmentFault
from gail.envs.check import Finding, check_vec_env
from gail.envs.check_single import check_single_env, check_with_others
from gail.envs.gym_family import clear_errors
from gail.envs.make import EnvLike, env_text, open_vec, single_spec
from gail.envs.making import making
from gail.envs.multi_agent import UnlikeAgents, make_multi_agent
from gail.envs.pettingzoo import Source, agents_of, plays_agents
from gail.envs.resolve import Agents, MakesAgents, is_pettingzoo
from gail.envs.vec import VecEnv
from gail.envs.wording import raised


@dataclass(frozen=True)
class EnvReport:
    """What checking an environment gave."""

    env_id: str
    findings: tuple[Finding, ...]
    """What is to be mended; empty where all is well."""
    checkers: tuple[str, ...]
    """Who looked: the names of the checkers that ran."""


def check_environment(
    env: EnvLike, *, num_envs: int = 4, backend: str = "auto", steps: int = 200, **env_kwargs: Any
) -> EnvReport:
    """Check an environment of any kind; what ``gail envs check`` does.

    A single Gymnasium environment goes through the rules of :mod:`gail.envs.check_single`, Gymnasium's checker and
    Stable-Baselines3's where it is installed; a PettingZoo environment through PettingZoo's test of its parallel
    interface; and the batch that is trained on, whoever makes it, through :func:`check_vec_env`.

    Args:
        env: whatever :func:`make_vec` takes.
        num_envs: environments of the batch.
        backend: see :func:`make_vec`.
        steps: how many steps each part plays.
        env_kwargs: keywords of the environment.

    Raises:
        InputError: where the environment cannot be made.
    """
    name = env_text(env)
    if is_pettingzoo(env):
        num_envs = 1  # it is the only copy
    findings, checkers = _check_one(env, num_envs, backend, steps, env_kwargs)
    if not findings:
        # A broken single environment breaks the batch in ways that say less.
        try:
            with open_vec(env, num_envs, backend=backend, **env_kwargs) as batch:
                findings += _check_batch(batch, name, steps)
        except UnlikeAgents as unlike:
            with closing(make_multi_agent(cast("Source", env), num_envs, **env_kwargs)) as multi:
                for group in unlike.groups:  # the others take their first action meanwhile
                    findings += _check_batch(multi.groups[group], f"{name}, group {group}", steps)
        checkers.append("contract")
    return EnvReport(name, tuple(findings), tuple(checkers))


def _check_one(
    env: EnvLike, num_envs: int, backend: str, steps: int, env_kwargs: dict[str, Any]
) -> tuple[list[Finding], list[str]]:
    """What is wrong with one environment outside of batches, and who looked."""
    spec = single_spec(env, num_envs, backend, **env_kwargs)
    if spec is not None:
        try:
            with clear_errors(spec, env_kwargs):
                findings = check_single_env(spec, env_kwargs, steps)
        except MakesAgents as error:
            agents = error.agents
        else:
            others, ran = check_with_others(spec, env_kwargs, findings)
            return [*findings, *others], ["gail", *ran]
    elif plays_agents(env):
        agents = agents_of(cast("Source", env))
    else:
        return [], []
    try:
        from pettingzoo.test import api_test, parallel_api_test
    except ImportError:  # it needs pytest, which PettingZoo does not bring
        return [], []
    tests = (parallel_api_test, api_test)
    return _check_agents(agents, tests, env_kwargs, steps, close=not is_pettingzoo(env)), ["pettingzoo"]


def _check_batch(batch: VecEnv, name: str, steps: int) -> list[Finding]:
    """What the contract says; a fault ends it."""
    try:
        return check_vec_env(batch, steps=steps)
    except EnvironmentFault as fault:
        return [Finding("fault", name, str(fault), "no fault", "see what the environment does there")]


def _check_agents(
    agents: Agents, tests: tuple[Any, Any], env_kwargs: dict[str, Any], steps: int, *, close: bool
) -> list[Finding]:
    """What PettingZoo's own test of the parallel interface, or of the other one, says."""
    from pettingzoo import ParallelEnv

    kwargs = {name: value for name, value in env_kwargs.items() if name != "max_episode_steps"}
    with making(agents.text, agents.make, kwargs):
        env = agents.make(**kwargs)
    test = tests[0] if isinstance(env, ParallelEnv) else tests[1]
    try:
        # Both print what they do.
        with contextlib.redirect_stdout(io.StringIO()):
            test(env, num_cycles=steps)
    except Exception as error:  # the test stops at its first error, of any kind
        found = " ".join(raised(error).split())[:300]
        mend = "see PettingZoo's page on its API for what the call must return"
        return [Finding("pettingzoo", test.__name__, found, "no complaint", mend)]
    finally:
        if close:
            env.close()
    return []
