"""From demonstrations to a policy with its proof, in one call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from gail.agents.bc import BehaviourCloning
from gail.agents.collect import collect_demos
from gail.agents.evaluate import Evaluation, evaluate_in, random_return
from gail.agents.policy import ActorCritic, RandomPolicy, new_policy
from gail.agents.summary import conclude
from gail.core.device import resolve_device, use_threads
from gail.core.engine import Game, train
from gail.core.errors import InputError
from gail.core.files import is_unused
from gail.core.leaves import named_leaves
from gail.core.random import derive_seed, make_generator
from gail.core.rundir import open_run, write_summary
from gail.core.statistics import Interval, mean_interval
from gail.demos import load_demos
from gail.demos.info import file_hash
from gail.demos.origin import expert_return, recorded_steps
from gail.demos.types import Demonstrations, Transitions, to_transitions
from gail.envs import EnvLike, VecEnv, env_text, may_be, open_vec, resolve_env
from gail.envs.gym_async import check_restarts
from gail.envs.leaves import leaf_spaces
from gail.envs.spaces import is_image
from gail.envs.worker_options import WorkerOptions
from gail.imitation.gail import GAIL
from gail.imitation.pseudo import MakeProposer
from gail.imitation.recipes import ImitationConfig, recipe


@dataclass(frozen=True)
class Scale:
    """What scores are normalized by."""

    random: float
    """Mean return of random play."""
    expert: float | None
    """Mean return over all recorded episodes of the demonstrations, where they hold rewards."""


@dataclass(frozen=True)
class SeedResult:
    """One seed's outcome."""

    seed: int
    policy: ActorCritic
    evaluation: Evaluation
    summary: dict[str, Any]
    directory: Path | None


@dataclass(frozen=True)
class ImitationResult:
    """What an imitation run gave, over its seeds."""

    seeds: tuple[SeedResult, ...]
    summary: dict[str, Any]
    """The single seed's summary, or the aggregate of several."""

    @property
    def policy(self) -> ActorCritic:
        """The first seed's policy."""
        return self.seeds[0].policy


def imitate(
    env_id: EnvLike,
    demos: Demonstrations | str | Path,
    *,
    config: ImitationConfig | None = None,
    seed: int | Sequence[int] = 0,
    env_kwargs: dict[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    nonsense_check: bool = False,
    workers: WorkerOptions | None = None,
    proposer: MakeProposer | None = None,
    scale: Scale | None = None,
    progress: bool = True,
    **overrides: Any,
) -> ImitationResult:
    """Learn to act like ``demos`` in ``env_id``; what `gail train` does.

    Args:
        env_id: what is played: whatever :func:`gail.make_vec` takes.
        demos: demonstrations, or a file of any kind that ``load_demos`` reads.
        config: settings; None takes the environment's recipe.
        seed: one seed, or several for as many runs.
        env_kwargs: keyword arguments of the environment; those of the demonstrations where not given.
        out: run directory (several seeds: ``out/seed-S`` each); None writes nothing.
        resume: go on with the runs in ``out``.
        workers: what becomes of worker processes that break; may differ in the runs that are resumed.
        nonsense_check: train once more on demonstrations of a random policy, with the same configuration and seed,
            and report how much of the score that reaches: survival, not imitation.
        proposer: makes the generative player of pseudo-demonstrations (``gail.Proposals``), where
            ``config.gail.pseudo.share`` is above 0.
        scale: what scores are normalized by; None: random play is measured, and the expert is ``demos``.
        progress: show progress bars.
        **overrides: fields of ``config`` by name, for example ``steps=200_000``.

    Returns:
        The trained policies and their summaries.

    Raises:
        InputError: on anything that cannot be used, before training starts.
    """
    demos = load_demos(demos) if isinstance(demos, str | Path) else demos
    if env_kwargs is None and not isinstance(env_id, VecEnv):
        env_kwargs = demos.env_kwargs
    env_id, env_kwargs = resolve_env(env_id, env_kwargs)
    if not may_be(env_id, demos.env_id):
        raise InputError(f"{demos.path or 'demonstrations'}: env_id is {demos.env_id!r}, expected {env_id!r}")
    with open_vec(env_id, 1, **env_kwargs) as probe:
        config = replace(config or recipe(probe.env_id, probe.action_space), **overrides)
        _check(demos, probe, config)
    resolve_device(config.device)
    use_threads(config.threads)
    if config.algo == "bc" or config.gail.pseudo.share == 0:
        proposer = None
    elif proposer is None:
        raise InputError(
            "pseudo.share: is above 0, expected a proposer, for example imitate(..., proposer=gail.Proposals)"
        )
    seeds = [seed] if isinstance(seed, int) else list(seed)
    if not seeds or len(set(seeds)) != len(seeds) or not all(0 <= number < 2**31 for number in seeds):
        raise InputError(f"--seed: {seeds}, expected one or more different seeds from 0 to 2**31 - 1")
    out = Path(out) if out is not None else None
    if out is not None and not resume and not is_unused(out):
        raise InputError(f"{out}: exists already; choose another --out, or --resume to go on with what is there")

    if scale is None:
        random = random_return(env_id, env_kwargs, backend=config.backend, workers=workers).interval.mean
        scale = Scale(random, expert_return(demos))
    results = []
    for number in seeds:
        directory = out / f"seed-{number}" if out is not None and len(seeds) > 1 else out
        result = _run_seed(
            env_id, demos, config, number, env_kwargs, directory, resume, scale, workers, proposer, progress
        )
        if nonsense_check:
            nonsense = _nonsense(
                env_id, demos, config, number, env_kwargs, directory, resume, scale, workers, proposer, progress
            )
            summary = {**result.summary, "nonsense_check": nonsense}
            result = replace(result, summary=summary)
            if directory is not None:
                write_summary(directory, summary)
        results.append(result)
    summary = results[0].summary if len(results) == 1 else _aggregate(results)
    if out is not None and len(results) > 1:
        write_summary(out, summary)
    return ImitationResult(tuple(results), summary)


def _check(demos: Demonstrations, env: VecEnv, config: ImitationConfig) -> None:
    """Refuse demonstrations that were not made for this environment."""
    where = str(demos.path or "demonstrations")
    if config.algo != "bc" and is_image(env.observation_space):
        shape = "x".join(map(str, env.observation_space.shape))
        raise InputError(
            f"--algo: {config.algo!r} judges vectors, {env.env_id} shows images ({shape} bytes); expected 'bc', which "
            "learns from images"
        )
    if len(demos) == 0:
        raise InputError(f"{where}: holds no episodes")
    if demos.kind == "transitions":
        for flag, value, whole in (("demo-episodes", config.demo_episodes, None), ("subsample", config.subsample, 1)):
            if value != whole:
                raise InputError(f"--{flag}: {value}, but {where} holds unrelated transitions, no episodes")
    if config.demo_episodes is not None and config.demo_episodes > len(demos):
        raise InputError(f"{where}: holds {len(demos)} episodes, --demo-episodes asks for {config.demo_episodes}")
    _chosen(demos, config)  # refuses to cut a joined set
    spaces = dict(named_leaves("observations", leaf_spaces(env.observation_space))) | {"actions": env.action_space}
    for episode, trajectory in enumerate(demos):
        recorded = dict(named_leaves("observations", trajectory.observations)) | {"actions": trajectory.actions}
        if recorded.keys() != spaces.keys():
            raise InputError(f"{where}: found {', '.join(recorded)}, expected {', '.join(spaces)}")
        for name, space in spaces.items():
            rows = recorded[name]
            found = f"{where}: {name} of episode {episode}"
            if rows.shape[1:] != space.shape:
                raise InputError(f"{found} have shape {rows.shape[1:]} per step, {env.env_id} has {space.shape}")
            if rows.dtype.kind == "f" and not np.isfinite(rows).all():
                raise InputError(f"{found} hold NaN or infinity, expected finite numbers")
            if not isinstance(space, gym.spaces.Box):
                bad = next((row for row in rows if not space.contains(row if space.shape else int(row))), None)
                if bad is not None:
                    raise InputError(f"{found} hold {bad}, expected elements of {space}")


def _chosen(demos: Demonstrations, config: ImitationConfig) -> Demonstrations:
    return demos if config.demo_episodes is None else demos.first(config.demo_episodes)


def _executed(expert: Transitions, env: VecEnv) -> Transitions:
    """The expert's actions as the environment executes them.

    Recordings of raw Gaussian actions beyond the bounds would tell expert from policy for free.
    """
    space = env.action_space
    if not isinstance(space, gym.spaces.Box):
        return expert
    low, high = (torch.from_numpy(np.asarray(bound)).to(expert.actions) for bound in (space.low, space.high))
    return replace(expert, actions=expert.actions.clamp(low, high))


def _run_seed(
    env_id: EnvLike,
    demos: Demonstrations,
    config: ImitationConfig,
    seed: int,
    env_kwargs: dict[str, Any],
    directory: Path | None,
    resume: bool,
    scale: Scale,
    workers: WorkerOptions | None,
    propose: MakeProposer | None,
    progress: bool,
) -> SeedResult:
    device = resolve_device(config.device)
    chosen = _chosen(demos, config)
    pick = make_generator(seed, "subsample")
    expert = to_transitions(chosen, subsample=config.subsample, generator=pick, device=device)
    build = _behaviour_cloning if config.algo == "bc" else partial(_gail, propose=propose)
    name = env_text(env_id)
    # Behaviour cloning needs the spaces only.
    num_envs, backend = (1, "auto") if config.algo == "bc" else (config.num_envs, config.backend)
    with open_vec(env_id, num_envs, device=device, backend=backend, workers=workers, **env_kwargs) as env:
        if config.algo != "bc":
            check_restarts(env, workers)
        if directory is not None:
            run = {
                "verb": "train",
                "env_id": name,
                "env_kwargs": env_kwargs,
                "seed": seed,
                "demos_sha256": file_hash(demos.path) if demos.path is not None else None,
                "demos_read_as": demos.read_as or None,
            }
            origin = {"demos": str(demos.path or "in memory")}
            open_run(directory, {"run": run, "config": config}, resume=resume, provenance=origin)
        expert = _executed(expert, env)
        game, policy, total = build(env, chosen, expert, config, seed)
        seconds = train(
            game,
            total_steps=total,
            title=f"{config.algo} {name} seed {seed}",
            directory=directory,
            resume=resume,
            progress=progress,
        )
        if directory is not None:
            game.save_policy(directory / "policy.safetensors")
    evaluation = evaluate_in(
        policy,
        env_id,
        env_kwargs,
        episodes=config.evaluation_episodes,
        device=device,
        backend=config.backend,
        workers=workers,
    )
    summary = conclude(
        game,
        evaluation,
        directory,
        env_id=name,
        algo=config.algo,
        seed=seed,
        seconds=seconds,
        random_return=scale.random,
        device=device,
        expert_return=scale.expert,
        demo_episodes=len(chosen) if demos.kind == "episodes" else None,
        synthetic_share=1.0 - recorded_steps(chosen) / chosen.steps,
        worker_restarts=env.worker_restarts,
    )
    return SeedResult(seed, policy, evaluation, summary, directory)


def _gail(
    env: VecEnv,
    demos: Demonstrations,
    expert: Transitions,
    config: ImitationConfig,
    seed: int,
    *,
    propose: MakeProposer | None,
) -> tuple[Game, ActorCritic, int]:
    policy = new_policy(env, seed, **config.gail.ppo.network)
    generators = {name: make_generator(seed, name, env.device) for name in ("actions", "shuffle", "judge")}
    own = derive_seed(seed, "environment")
    proposer = None if propose is None else propose(config.gail.pseudo.generator, demos, expert, seed)
    game = GAIL(env, demos, expert, config.gail, policy=policy, seed=own, generators=generators, proposer=proposer)
    return game, policy, config.steps


def _behaviour_cloning(
    env: VecEnv, demos: Demonstrations, expert: Transitions, config: ImitationConfig, seed: int
) -> tuple[Game, ActorCritic, int]:
    policy = new_policy(env, seed, hidden=config.bc.hidden, pixels=config.bc.pixels)
    generator = make_generator(seed, "shuffle", env.device)
    game = BehaviourCloning(policy, expert, config.bc, generator, env_id=env.env_id, env_kwargs=env.env_kwargs)
    return game, policy, config.bc.steps


def _nonsense(
    env_id: EnvLike,
    demos: Demonstrations,
    config: ImitationConfig,
    seed: int,
    env_kwargs: dict[str, Any],
    directory: Path | None,
    resume: bool,
    scale: Scale,
    workers: WorkerOptions | None,
    propose: MakeProposer | None,
    progress: bool,
) -> dict[str, Any]:
    """The same run on demonstrations of a random policy, scored on the real expert's scale."""
    with open_vec(env_id, 1, **env_kwargs) as env:
        player = RandomPolicy(env.observation_space, env.action_space)
    count = config.demo_episodes or len(demos)
    noise = collect_demos(player, env_id, episodes=count, env_kwargs=env_kwargs, seed=derive_seed(seed, "nonsense"))
    inner = directory / "nonsense" if directory is not None else None
    result = _run_seed(env_id, noise, config, seed, env_kwargs, inner, resume, scale, workers, propose, progress)
    return {key: result.summary[key] for key in ("return_mean", "normalized_return")}


def _aggregate(results: Sequence[SeedResult]) -> dict[str, Any]:
    """One summary over seeds: means, and 95% intervals over seeds."""
    first = results[0].summary
    means: dict[str, Any] = {
        key: _mean([r.summary[key] for r in results])
        for key in ("return_mean", "return_std", "normalized_return", "wall_seconds", "steps_per_second")
    }
    intervals = {}
    for key in ("return", "normalized"):
        values = [r.summary[f"{key}_mean" if key == "return" else "normalized_return"] for r in results]
        if all(v is not None for v in values):
            interval: Interval = mean_interval(values)
            intervals[f"{key}_interval"] = [interval.low, interval.high]
    if "nonsense_check" in first:
        checks = [r.summary["nonsense_check"] for r in results]
        means["nonsense_check"] = {key: _mean([check[key] for check in checks]) for key in checks[0]}
    return {
        **first,
        **means,
        **intervals,
        "seed": [r.seed for r in results],
        "exact_resume": all(r.summary["exact_resume"] for r in results),
        "seeds": [r.summary for r in results],
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None and math.isfinite(v)]
    return sum(known) / len(known) if len(known) == len(values) else None
