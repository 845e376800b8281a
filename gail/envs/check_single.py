"""Is a single Gymnasium environment sound? Rules with remedies, then the checkers that others ship."""

from __future__ import annotations

import importlib.util
import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator

from gail.envs.check import Finding, Findings
from gail.envs.chunk import make_env
from gail.envs.host import time_limit
from gail.envs.rendering import render_frame
from gail.envs.wording import described

_SEED = 7
_DRAW = 'return np.uint8 pixels [height, width, 3] from render() where render_mode is "rgb_array"'
_NUMBERS = (int, float, np.integer, np.floating)
_FLAGS = (bool, np.bool_)


def check_single_env(spec: EnvSpec, env_kwargs: dict[str, Any], steps: int = 200) -> list[Finding]:
    """Play random actions in one environment and report every rule of Gymnasium's interface that it breaks.

    ===============  =================================================================================
    rule             claim
    ===============  =================================================================================
    spaces           ``observation_space`` and ``action_space`` are Gymnasium spaces
    reset-result     ``reset(seed=...)`` returns ``(observation, info)``
    step-result      ``step`` returns five values
    obs-in-space     observations lie in the space: shape, dtype, bounds, no NaN
    reward           a finite number
    flags            ``terminated`` and ``truncated`` are bool
    info             a dict
    seed             ``reset(seed)`` and the same actions give the same episode
    aliasing         a returned observation is not changed by later steps
    render           ``render_mode`` is a keyword, and "rgb_array" gives frames ``[H, W, 3]`` of bytes
    raised           nothing raises
    ===============  =================================================================================

    Args:
        spec: the environment.
        env_kwargs: what it is made with.
        steps: how many steps to play.
    """
    found = Findings()
    env = make_env(spec, env_kwargs)
    bare, limit = _without_limit(env), time_limit(env)
    try:
        if _check_spaces(found, bare):
            episode = _guarded(found, "raised", lambda: _play(found, bare, steps, limit))
            again = _guarded(found, "raised", lambda: _play(Findings(), bare, steps, limit))
            if episode and again:
                _check_seed(found, episode, again)
    finally:
        env.close()
    _check_render(found, spec, env_kwargs, bare.metadata)
    return list(found.by_rule.values())


def _without_limit(env: gym.Env) -> gym.Env:
    """The environment as its author made it, without the wrappers that ``gymnasium.make`` adds."""
    while isinstance(env, gym.wrappers.OrderEnforcing | gym.wrappers.TimeLimit):
        env = env.env
    return env


def _guarded(found: Findings, rule: str, play: Callable[[], Any]) -> Any:
    try:
        return play()
    except Exception as error:
        place = inspect.trace()[-1]
        where = f"{place.function}() in {place.filename}, line {place.lineno}"
        message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        found.require(rule, False, where, message, "no exception", "see that line; --debug shows the traceback")
        return None


def _check_spaces(found: Findings, env: gym.Env) -> bool:
    kept = True
    for name in ("observation_space", "action_space"):
        value = getattr(env, name, None)
        if not isinstance(value, gym.Space):
            kept = False
            mend = f"set self.{name} in __init__, for example to gymnasium.spaces.Box(...)"
            found.require("spaces", False, name, type(value).__name__, "a gymnasium.spaces.Space", mend)
    return kept


def _play(found: Findings, env: gym.Env, steps: int, limit: int | None) -> list[Any] | None:
    """Play ``steps`` steps, episodes at most ``limit`` long, and check them; returns what happened, if it can go on."""
    env.action_space.seed(_SEED)
    seed: int | None = _SEED
    history: list[Any] = []
    previous: tuple[Any, Any] | None = None
    obs: Any = None
    over, elapsed = True, 0
    for index in range(steps):
        if over:
            elapsed = 0
            obs = _reset(found, env, seed)
            if "reset-result" in found.by_rule:
                return None
            seed, previous = None, None
            _check_obs(found, env.observation_space, f"reset before step {index}", obs)
            history.append(_copy(obs))
        kept = (obs, _copy(obs))
        result = env.step(env.action_space.sample())
        where = f"step {index}"
        if not _check_result(found, where, result):
            return None
        obs, reward, terminated, truncated, info = result
        _check_obs(found, env.observation_space, where, obs)
        for earlier in (previous, kept):
            found.require(
                "aliasing",
                earlier is None or _equal(*earlier),
                where,
                "the observation that was returned before has changed with it",
                "every returned observation to stay as it is",
                "return a copy of the buffer or state that you go on changing (obs.copy())",
            )
        previous = kept
        is_number = isinstance(reward, _NUMBERS) and bool(np.isfinite(reward))
        mend = "return float(reward), and see what it is computed from where it is NaN"
        found.require("reward", is_number, where, f"reward {reward!r} ({_name(reward)})", "a finite float", mend)
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            is_flag = isinstance(flag, _FLAGS)
            found.require("flags", is_flag, where, f"{name} {flag!r} ({_name(flag)})", "a bool", f"return bool({name})")
        mend = "return a dict as the last value; {} where there is nothing to say"
        found.require("info", isinstance(info, dict), where, f"info of {_name(info)}", "a dict", mend)
        history.append((_copy(obs), reward, bool(np.any(terminated)), bool(np.any(truncated))))
        elapsed += 1
        over = bool(np.any(terminated) or np.any(truncated)) or elapsed == limit
    return history


def _reset(found: Findings, env: gym.Env, seed: int | None) -> Any:
    try:
        result = env.reset(seed=seed)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        mend = "declare def reset(self, *, seed=None, options=None) and begin it with super().reset(seed=seed)"
        found.require("reset-result", False, "reset(seed=...)", str(error), "the keywords seed and options", mend)
        return None
    is_pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
    mend = "return observation, {} from reset"
    found.require("reset-result", is_pair, "reset", described(result), "a tuple (observation, info dict)", mend)
    return result[0] if is_pair else None


def _check_result(found: Findings, where: str, result: Any) -> bool:
    kept = isinstance(result, tuple) and len(result) == 5
    found.require(
        "step-result",
        kept,
        where,
        described(result),
        "five values (observation, reward, terminated, truncated, info)",
        "split `done` into terminated (the task is over) and truncated (a time limit cut it)",
    )
    return kept


def _check_obs(found: Findings, space: gym.Space, where: str, obs: Any) -> None:
    if "obs-in-space" in found.by_rule or space.contains(obs):
        return
    what, mend = described(obs), "return an element of observation_space, or declare the space that fits"
    expected = str(space)
    array = np.asarray(obs) if not isinstance(obs, dict | tuple) else None
    if isinstance(space, gym.spaces.Box) and array is not None and array.dtype.kind in "biuf":
        if array.shape != space.shape:
            what, expected = f"shape {list(array.shape)}", f"{list(space.shape)}, the shape of observation_space"
            mend = "reshape the observation, or declare the space with its shape"
        elif array.dtype != space.dtype:
            what, expected = f"dtype {array.dtype}", f"{space.dtype}, the dtype of observation_space"
            mend = f"return obs.astype(np.{space.dtype})"
        else:
            index = tuple(int(i) for i in np.argwhere(~((array >= space.low) & (array <= space.high)))[0])
            what = f"obs{list(index)} = {array[index]}"
            expected = f"a number from {space.low[index]} to {space.high[index]}"
            nan = bool(np.isnan(array).any())
            mend = "look for 0/0, log(0) or an overflow" if nan else "widen observation_space, or clip the observation"
    found.require("obs-in-space", False, where, what, expected, mend)


def _check_seed(found: Findings, episode: list[Any], again: list[Any]) -> None:
    same = [_equal(a, b) for a, b in zip(episode, again, strict=False)]
    where = "reset" if not same[0] else f"entry {same.index(False)} after reset" if False in same else ""
    found.require(
        "seed",
        all(same) and len(episode) == len(again),
        f"{where} with seed {_SEED}",
        "something else when it was repeated with the same seed and actions",
        "the same episode",
        "call super().reset(seed=seed) and draw all random numbers from self.np_random",
    )


def _check_render(found: Findings, spec: EnvSpec, env_kwargs: dict[str, Any], metadata: dict[str, Any]) -> None:
    assert spec.entry_point is not None
    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    parameters = inspect.signature(creator).parameters.values()
    takes_mode = any(p.name == "render_mode" or p.kind is p.VAR_KEYWORD for p in parameters)
    modes = metadata.get("render_modes") or []
    if not modes:
        return
    mend = "take render_mode=None in __init__ and keep it: self.render_mode = render_mode"
    what = f"no keyword render_mode, though metadata lists {', '.join(map(str, modes))}"
    found.require("render", takes_mode, "__init__", what, "the keyword render_mode", mend)
    if not takes_mode or "rgb_array" not in modes:
        return

    def draw() -> None:
        env = make_env(spec, {**env_kwargs, "render_mode": "rgb_array"})
        try:
            env.reset(seed=_SEED)
            frame = render_frame(env)
        finally:
            env.close()
        kept = frame.ndim == 3 and frame.shape[-1] == 3
        what = f"shape {list(frame.shape)}"
        found.require("render", kept, "render()", what, "a frame [height, width, 3]", _DRAW)

    if not found.by_rule.keys() & {"reset-result", "raised"}:
        try:
            draw()
        except Exception as error:  # whatever the environment's own drawing raises
            what = f"{type(error).__name__}: {error}"
            found.require("render", False, "render()", what, "a frame [height, width, 3]", _DRAW)


# What the checkers of others complain about, and which rule above says the same with a remedy.
_SAID_BY_RULES = {
    "obs-in-space": r"observation space|observation.*(does not match|bounds)|nan in observations|is not within",
    "reward": r"reward returned by|reward.*must be",
    "flags": r"`?(terminated|truncated)`? signal",
    "info": r"`info` returned",
    "seed": r"non-deterministic|not equivalent",
    "aliasing": r"non-deterministic|not equivalent",
    "step-result": r"unpack|five values|old step API",
    "reset-result": r"env\.reset\(\)` was not a tuple|must return a tuple|reset\(\)` method must",
    "render": r"render_mode|RGB-array",
    "raised": r".",
}
_REMEDIES = {
    r"symmetric and normalized|normalize": "scale the action space to [-1, 1] (gymnasium.wrappers.RescaleAction)",
    r"render_fps": 'set metadata["render_fps"] to the frames per second of videos',
    r"render_modes": 'set metadata = {"render_modes": ["rgb_array"], "render_fps": 30}',
    r"infinity|infinite|-inf|unbounded": "give the space finite bounds where you know them",
    r"render_mode": "take render_mode=None in __init__ and keep it: self.render_mode = render_mode",
}


def check_with_others(
    spec: EnvSpec, env_kwargs: dict[str, Any], known: list[Finding]
) -> tuple[list[Finding], list[str]]:
    """What Gymnasium's checker, and Stable-Baselines3's where it is installed, complain about.

    Args:
        spec: the environment.
        env_kwargs: what it is made with.
        known: findings of :func:`check_single_env`; a complaint that one of them explains is not repeated.

    Returns:
        The findings, and the names of the checkers that ran.
    """
    from gymnasium.utils.env_checker import check_env

    checkers: dict[str, Callable[[gym.Env], Any]] = {"gymnasium": check_env}
    if importlib.util.find_spec("stable_baselines3") is not None:
        from stable_baselines3.common.env_checker import check_env as check_for_sb3

        checkers["stable-baselines3"] = check_for_sb3
    explained = [re.compile(_SAID_BY_RULES[f.rule]) for f in known if f.rule in _SAID_BY_RULES]
    findings = []
    for name, check in checkers.items():
        for complaint in dict.fromkeys(_complaints(check, spec, env_kwargs)):
            if not any(pattern.search(complaint) for pattern in explained):
                mend = next((text for pattern, text in _REMEDIES.items() if re.search(pattern, complaint)), None)
                mend = mend or "do as it says, or know why not"
                findings.append(Finding(name, f"{name}'s checker", complaint, "no complaint", mend))
    return findings, list(checkers)


def _complaints(check: Callable[[gym.Env], Any], spec: EnvSpec, env_kwargs: dict[str, Any]) -> list[str]:
    """The warnings and the error of one checker, one line each."""
    env = make_env(spec, env_kwargs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check(_without_limit(env))
            error = None
        except Exception as raised:  # a checker stops at its first error, of any kind
            error = str(raised) or type(raised).__name__
        finally:
            env.close()
    texts = [str(warning.message) for warning in caught if not issubclass(warning.category, DeprecationWarning)]
    plain = [re.sub(r"\x1b\[\d*m|^WARN: ", "", text) for text in [*texts, *([error] if error else [])]]
    return [" ".join(re.sub(r"\x1b\[\d*m|^WARN: ", "", text).split())[:300] for text in plain]


def _copy(obs: Any) -> Any:
    if isinstance(obs, dict):
        return {key: _copy(value) for key, value in obs.items()}
    if isinstance(obs, tuple):
        return tuple(_copy(value) for value in obs)
    return np.array(obs)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    left, right = np.asarray(a), np.asarray(b)
    return left.shape == right.shape and bool(np.array_equal(left, right, equal_nan=left.dtype.kind in "fc"))


def _name(value: Any) -> str:
    return type(value).__name__
