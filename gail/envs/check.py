"""Does an environment keep the contract of :mod:`gail.envs.vec`? A checker to run on your own ``VecEnv``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from gail.core.errors import InputError
from gail.core.leaves import Leaves, map_leaves, named_leaves
from gail.envs.leaves import element_layout, leaf_spaces
from gail.envs.spaces import legal_actions
from gail.envs.vec import Step, VecEnv
from gail.envs.watched import misfit

_SEED = 7


@dataclass(frozen=True)
class Finding:
    """One rule of the contract that an environment breaks."""

    rule: str
    """The rule's name; see :func:`check_vec_env` and :func:`gail.envs.check_single.check_single_env`."""
    where: str
    """The step, call or value in which it showed."""
    found: str
    """What was there."""
    expected: str
    """What should have been there."""
    mend: str
    """What to change in the environment."""

    @property
    def message(self) -> str:
        """All of it in one line."""
        return f"{self.where}: found {self.found}; expected {self.expected}; to mend it, {self.mend}"


class Findings:
    """At most one finding per rule: the first shows best where to look."""

    def __init__(self) -> None:
        self.by_rule: dict[str, Finding] = {}

    def require(self, rule: str, kept: bool, where: str, found: str, expected: str, mend: str) -> None:
        """Note a finding where the rule is not ``kept``."""
        if not kept and rule not in self.by_rule:
            self.by_rule[rule] = Finding(rule, where, found, expected, mend)


def check_vec_env(env: VecEnv, steps: int = 200, factory: Callable[[int], VecEnv] | None = None) -> list[Finding]:
    """Play random actions in ``env`` and report every rule that it breaks.

    ===============  =================================================================================
    rule             claim
    ===============  =================================================================================
    layout           shapes, dtypes and devices of observations, rewards and flags
    obs-in-space     observations lie in the observation space
    successor        ``obs`` equals ``next_obs`` in rows that did not end
    invalid-row      rows that were not played carry no reward and do not end
    time-limit       ``truncated`` exactly at step ``max_episode_steps`` of an episode
    overwritten      a returned ``Step`` is not changed by later steps
    seed             the same seed and actions give the same results
    num-envs         environment i does not depend on ``num_envs`` (with ``factory``, where ``seed`` holds)
    state-leaves     ``state_dict`` holds tensors and JSON values only
    state-restore    what follows ``load_state_dict`` is what followed ``state_dict``, bit for bit
    ===============  =================================================================================

    Args:
        env: the environment; it is reset, stepped and loaded, not closed.
        steps: how many steps to play; more than the time limit, or ``time-limit`` shows nothing.
        factory: makes the same environment with another number of copies; where that independence is claimed.

    Returns:
        The findings, empty where the contract holds. A broken ``layout`` hides the other rules.

    Raises:
        InputError: where ``steps`` is less than 1.
    """
    if steps < 1:
        raise InputError(f"steps is {steps}, expected at least 1")
    found = Findings()
    actions = list(_random_actions(env, steps))
    first = env.reset(_SEED)
    _check_obs(found, env, "reset", first)
    if found.by_rule:
        return list(found.by_rule.values())
    played = _play_and_check(found, env, first, actions)
    if "layout" in found.by_rule:
        return list(found.by_rule.values())
    again = env.reset(_SEED)
    repeated = [_equal(first, again), *(_same(a, env.step(x)) for a, x in zip(played, actions, strict=False))]
    found.require(
        "seed",
        all(repeated),
        f"step {_first_false(repeated)}",
        f"other results than after the first reset({_SEED}) with the same actions",
        "the same ones, bit for bit",
        "draw all random numbers from generators that reset(seed) seeds",
    )
    _check_state(found, env, actions)
    if factory is not None and "seed" not in found.by_rule:
        _check_num_envs(found, env, factory)
    return list(found.by_rule.values())


def _random_actions(env: VecEnv, steps: int) -> Iterator[Tensor]:
    space = copy.deepcopy(env.action_space)
    space.seed(_SEED)
    _, dtype = element_layout(space)
    for _ in range(steps):
        rows = np.stack([np.asarray(space.sample(), dtype=dtype) for _ in range(env.num_envs)])
        yield torch.from_numpy(rows).to(env.device)


def _legal(env: VecEnv, obs: Tensor, action: Tensor) -> Tensor:
    """``action`` ``[N, ...]``, or the next legal one in rows where a mask forbids it."""
    legal = legal_actions(env.observation_space, obs)
    if legal is None:
        return action
    assert isinstance(env.action_space, spaces.Discrete)
    start, count = int(env.action_space.start), legal.shape[1]
    tried = (action[:, None] - start + torch.arange(count, device=action.device)) % count
    return tried.gather(1, legal.gather(1, tried).int().argmax(dim=1, keepdim=True))[:, 0] + start


def _play_and_check(found: Findings, env: VecEnv, obs: Tensor, actions: list[Tensor]) -> list[Step]:
    """Play ``actions`` from ``obs`` and check each step; returns copies of the steps.

    Illegal actions are replaced in ``actions``.
    """
    elapsed = torch.zeros(env.num_envs, dtype=torch.int64, device=env.device)
    previous: tuple[Step, Step] | None = None
    played: list[Step] = []
    for index, drawn in enumerate(actions):
        actions[index] = _legal(env, obs, drawn)
        step = env.step(actions[index])
        _check_layout(found, env, index, step)
        if "layout" in found.by_rule:
            return played
        if previous is not None:
            returned, kept = previous
            found.require(
                "overwritten",
                _same(returned, kept),
                f"step {index}",
                f"changes in the tensors that step {index - 1} had returned",
                "results that stay as they are",
                "return copies of internal buffers (tensor.clone())",
            )
        ended = step.terminated | step.truncated
        found.require(
            "successor",
            _equal(*(map_leaves(lambda rows, kept=~ended: rows[kept], obs) for obs in (step.obs, step.next_obs))),
            f"step {index}",
            "obs that differs from next_obs in a row that did not end",
            "the same values",
            "show the next episode's first observation only in rows that ended",
        )
        found.require(
            "invalid-row",
            not bool(((ended | (step.reward != 0)) & ~step.valid).any()),
            f"step {index}",
            "a reward or an end in a row with valid=False",
            "0 and False",
            "set reward, terminated and truncated to 0 and False where nothing was played",
        )
        elapsed = torch.where(step.valid, elapsed + 1, elapsed)
        if env.max_episode_steps is not None:
            late = (elapsed >= env.max_episode_steps) & ~ended & step.valid
            early = step.truncated & (elapsed < env.max_episode_steps)
            found.require(
                "time-limit",
                not bool((late | early).any()),
                f"step {index}",
                f"an episode of {int(elapsed[late | early][:1].sum())} steps that is "
                f"{'not ended' if bool(late.any()) else 'truncated'}",
                f"truncated exactly there, because max_episode_steps is {env.max_episode_steps}",
                "count the steps since each row's own reset, or set max_episode_steps to None",
            )
        elapsed = torch.where(ended, 0, elapsed)
        previous = step, _copy(step)
        obs = previous[1].obs
        played.append(previous[1])
    return played


def _check_layout(found: Findings, env: VecEnv, index: int, step: Step) -> None:
    _check_obs(found, env, f"step {index}: obs", step.obs)
    _check_obs(found, env, f"step {index}: next_obs", step.next_obs)
    for name in ("reward", "terminated", "truncated", "valid"):
        dtype = torch.float32 if name == "reward" else torch.bool
        _check_tensor(found, env, f"step {index}: {name}", getattr(step, name), (env.num_envs,), dtype)


def _check_tensor(
    found: Findings, env: VecEnv, name: str, tensor: Any, shape: tuple[int, ...], dtype: torch.dtype
) -> bool:
    what = misfit(tensor, shape, dtype, env.device)
    mend = "make the tensor so, for example with torch.zeros(shape, dtype=..., device=self.device)"
    found.require("layout", what is None, name, what or "", f"{dtype} {list(shape)} on {env.device}", mend)
    return what is None


def _check_obs(found: Findings, env: VecEnv, name: str, obs: Leaves) -> None:
    leaves = leaf_spaces(env.observation_space)
    if isinstance(leaves, dict):
        kept = isinstance(obs, Mapping) and obs.keys() == leaves.keys()
        what = f"the keys {', '.join(obs)}" if isinstance(obs, Mapping) else str(type(obs))
        mend = "return a flat dict of tensors: nested keys joined by '/', tuple positions as numbers"
        found.require("layout", kept, name, what, f"the keys {', '.join(leaves)}", mend)
        if not kept:
            return
    parts = dict(named_leaves(name, obs))
    for label, space in named_leaves(name, leaves):
        _check_leaf(found, env, label, parts[label], space)


def _check_leaf(found: Findings, env: VecEnv, name: str, obs: Tensor, space: gym.Space) -> None:
    shape, dtype = element_layout(space)
    torch_dtype = torch.from_numpy(np.empty(0, dtype)).dtype
    if _check_tensor(found, env, name, obs, (env.num_envs, *shape), torch_dtype):
        found.require(
            "obs-in-space",
            _inside(space, obs.cpu().numpy()),
            name,
            "values outside the space, or NaN",
            f"elements of {space}",
            "widen the observation space, or clip or mend the values",
        )


def _inside(space: gym.Space, values: np.ndarray) -> bool:
    if isinstance(space, spaces.Box):
        return bool(np.all((values >= space.low) & (values <= space.high)))
    if isinstance(space, spaces.MultiBinary):
        return bool(np.all((values == 0) | (values == 1)))
    assert isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
    count = space.n if isinstance(space, spaces.Discrete) else space.nvec
    return bool(np.all((values >= space.start) & (values < space.start + count)))


def _tensors(step: Step) -> list[Tensor]:
    extras = [step.info[name] for name in sorted(step.info)]
    own = [named_leaves("", getattr(step, field.name)) for field in fields(step) if field.name != "info"]
    return [tensor for leaves in own for _, tensor in leaves] + extras


def _equal(a: Leaves, b: Leaves) -> bool:
    pairs = zip(named_leaves("", a), named_leaves("", b), strict=True)
    return all(torch.equal(left, right) for (_, left), (_, right) in pairs)


def _same(a: Step, b: Step) -> bool:
    pairs = zip(_tensors(a), _tensors(b), strict=True)
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in pairs)


def _copy(step: Step) -> Step:
    tensors = {
        field.name: map_leaves(torch.clone, getattr(step, field.name)) for field in fields(step) if field.name != "info"
    }
    return Step(**tensors, info={name: tensor.clone() for name, tensor in step.info.items()})


def _first_false(kept: list[bool]) -> int:
    return kept.index(False) if False in kept else -1


def _check_state(found: Findings, env: VecEnv, actions: list[Tensor]) -> None:
    """Save in the middle of the episodes, go on, load, and go on again."""
    env.reset(_SEED)
    half = len(actions) // 2
    before: Tensor | None = None
    for action in actions[:half]:
        before = env.step(action).obs
    state = env.state_dict()
    leaf = _bad_leaf(state, "state")
    found.require(
        "state-leaves",
        leaf is None,
        "state_dict()",
        str(leaf),
        "tensors, numbers, texts, lists and dicts with texts as keys",
        "store arrays as tensors (torch.from_numpy) and objects as their numbers",
    )
    if not env.saves_state:
        return
    state = copy.deepcopy(state)
    expected = [_copy(env.step(action)) for action in actions[half:]]
    obs = env.load_state_dict(state)
    kept = [before is None or _equal(obs, before)]
    kept += [_same(step, env.step(action)) for step, action in zip(expected, actions[half:], strict=True)]
    found.require(
        "state-restore",
        all(kept) and env.saves_state,
        f"step {_first_false(kept)} after load_state_dict",
        "other results than the first time",
        "the same ones, bit for bit",
        "save the physical state, the elapsed steps and the random generators, or set saves_state to False",
    )


def _bad_leaf(tree: Any, path: str) -> str | None:
    """The first leaf that is neither a tensor nor a JSON value."""
    if tree is None or isinstance(tree, Tensor | bool | int | float | str):
        return None
    if isinstance(tree, dict):
        for key, value in tree.items():
            bad = f"{path} has the key {key!r}" if not isinstance(key, str) else _bad_leaf(value, f"{path}.{key}")
            if bad:
                return bad
        return None
    if isinstance(tree, list):
        return next((bad for i, x in enumerate(tree) if (bad := _bad_leaf(x, f"{path}[{i}]"))), None)
    return f"{path} is a {type(tree).__name__}"


def _check_num_envs(found: Findings, env: VecEnv, factory: Callable[[int], VecEnv]) -> None:
    count = env.num_envs // env.rows_per_env
    smaller, larger = factory(count), factory(count + 1)
    rows = smaller.num_envs
    try:
        obs = larger.reset(_SEED)
        kept = [_equal(smaller.reset(_SEED), map_leaves(lambda leaf: leaf[:rows], obs))]
        for drawn in _random_actions(larger, 50):
            action = _legal(larger, obs, drawn)
            step = larger.step(action)
            a, b, obs = _tensors(smaller.step(action[:rows])), _tensors(step), step.obs
            kept.append(all(torch.equal(x, y[:rows]) for x, y in zip(a, b, strict=True)))
    finally:
        smaller.close()
        larger.close()
    found.require(
        "num-envs",
        all(kept),
        f"step {_first_false(kept)}",
        f"environments 0 to {count - 1} that change when there is one more",
        "environments that do not depend on each other",
        "give environment i random numbers of its own, seeded with seed + i",
    )
