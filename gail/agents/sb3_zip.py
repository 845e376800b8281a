"""Zips of Stable-Baselines3 as policies, by their weights and their readable JSON alone.

A zip's ``data`` member holds base64 pickles, which can run any code: they are never decoded. Beside each of them
stands a readable copy of its simple parts, which is enough for the spaces; ``policy.pth`` is read with
``weights_only=True``. What is written nowhere (an activation that was passed as a class to an old version, statistics
of VecNormalize) is asked for by :class:`SB3Options`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from gail.agents.sb3_policy import Activation, Algorithm, Hints, SB3Policy, Weights, activation_named, rebuild
from gail.core.errors import InputError
from gail.envs.spaces import is_image

_LARGEST = 1 << 30
"""Bytes of a member after decompression; policies are far smaller."""
_VECNORMALIZE_DEFAULTS = (("clip_obs", 10.0), ("epsilon", 1e-8))
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf)", re.IGNORECASE)


@dataclass(frozen=True)
class SB3Options:
    """What a zip of Stable-Baselines3 does not say in readable form."""

    activation: Activation | None = None
    """Zips of Stable-Baselines3: the activation between the layers; by default what the zip names, else tanh for PPO
    and A2C, relu for DQN, SAC, TD3 and DDPG."""
    vecnormalize: Path | None = None
    """Zips of Stable-Baselines3: statistics of VecNormalize as .npz with obs_mean, obs_var and, where they are not 10
    and 1e-8, clip_obs and epsilon."""


def is_sb3_zip(path: Path) -> bool:
    """Whether a file should be read as a zip of Stable-Baselines3."""
    return path.is_file() and path.suffix == ".zip"


def load_sb3_zip(path: Path, options: SB3Options | None = None) -> tuple[SB3Policy, str]:
    """The policy, and in words what it is and what was assumed.

    Raises:
        InputError: where the file is no such zip, lacks a member, or its weights do not fit its spaces.
    """
    options = options or SB3Options()
    try:
        with zipfile.ZipFile(path) as archive:
            data = _read_json(path, _member(path, archive, "data"))
            weights = _read_weights(path, _member(path, archive, "policy.pth"))
    except InputError:
        raise
    except Exception as error:  # zipfile and its decompressors raise whatever damaged bytes lead them to
        raise InputError(f"{path}: cannot be read as a zip of Stable-Baselines3 ({_first_line(error)})") from error
    kwargs = data.get("policy_kwargs")
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    named = kwargs.get("activation_fn")
    activation = options.activation
    if activation is None and isinstance(named, str):
        activation = activation_named(f"{path}: data: policy_kwargs (--activation overrides)", named)
    observation_space, action_space = (_space(path, data, name) for name in ("observation_space", "action_space"))
    hints = Hints(
        activation=activation,
        squash=kwargs.get("squash_output") is True,
        clip_mean=_number(kwargs.get("clip_mean"), 2.0),
        epsilon=_number(data.get("exploration_rate"), 0.0),
    )
    policy = rebuild(str(path), weights, observation_space, action_space, hints)
    if options.vecnormalize is not None:
        policy = _with_statistics(policy, options.vecnormalize)
    return policy, _in_words(path, policy, options, named)


def _in_words(path: Path, policy: SB3Policy, options: SB3Options, named: Any) -> str:
    layout = policy.network
    if options.activation is not None:
        source = "from --activation"
    elif isinstance(named, str):
        source = "as the zip says"
    else:
        source = f"the default of {_FAMILY[layout.algorithm]}; the zip names none, --activation overrides"
    widths = "-".join(map(str, layout.hidden)) or "no"
    normalized = "" if layout.clip_obs is None else f", observations normalized by {options.vecnormalize}"
    images = "" if layout.nature is None else "Nature network, "
    network = f"{images}hidden layers {widths}, {layout.activation} ({source}){normalized}"
    return f"{path.name}: {_FAMILY[layout.algorithm]}, {network}"


_FAMILY: dict[Algorithm, str] = {"ppo": "PPO or A2C", "dqn": "DQN", "sac": "SAC", "td3": "TD3 or DDPG"}


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        held = ", ".join(archive.namelist()[:5]) or "nothing"
        raise InputError(
            f"{path}: member {name!r} is missing (it holds {held}), expected a zip of model.save()"
        ) from None
    if info.file_size > _LARGEST:
        raise InputError(f"{path}: member {name!r} has {info.file_size:,} bytes, expected at most {_LARGEST:,}")
    return archive.read(info)


def _read_json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: member 'data' is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: member 'data' is {type(data).__name__}, expected a JSON object")
    return data


def _read_weights(path: Path, content: bytes) -> Weights:
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # as for the zip around them
        raise InputError(f"{path}: member 'policy.pth' holds no plain weights ({_first_line(error)})") from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path}: member 'policy.pth' is {type(weights).__name__}, expected tensors by name")
    return weights


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _number(value: Any, otherwise: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return otherwise


def _space(path: Path, data: dict[str, Any], name: str) -> gym.Space:
    """A space from the readable copy of its parts."""
    field = data.get(name)
    kind = str(field.get(":type:", "")) if isinstance(field, dict) else ""
    kind = kind.rstrip("'>").rpartition(".")[2]
    where = f"{path}: data: {name}"
    if not isinstance(field, dict) or kind not in ("Box", "Discrete", "MultiDiscrete"):
        raise InputError(f"{where} is {kind or 'missing'}, expected Box, Discrete or MultiDiscrete")
    try:
        if kind == "Discrete":
            return spaces.Discrete(int(field["n"]), start=int(field.get("start", 0)))
        if kind == "MultiDiscrete":
            return spaces.MultiDiscrete(np.array([int(n) for n in _numbers(field["nvec"])]))
        shape = tuple(int(n) for n in _numbers(field.get("shape", field.get("_shape"))))
        dtype = np.dtype(field["dtype"])
        low, high = (_bound(field.get(bound), shape, dtype, bound) for bound in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    except (KeyError, TypeError, ValueError, AssertionError, OverflowError) as error:
        raise InputError(f"{where} cannot be read ({type(error).__name__}: {error})") from error


def _numbers(value: Any) -> list[float]:
    """Numbers of a list, or of the text that numpy prints for an array."""
    return [float(number) for number in (value if isinstance(value, list) else _NUMBER.findall(str(value)))]


def _bound(value: Any, shape: tuple[int, ...], dtype: np.dtype, which: str) -> np.ndarray:
    """``low`` or ``high`` of a Box; long arrays are printed in part, and then only one value for all can be known."""
    numbers = _numbers(value)
    if len(numbers) == np.prod(shape) and "..." not in str(value):
        return np.array(numbers).astype(dtype).reshape(shape)
    if numbers and len(set(numbers)) == 1:
        return np.full(shape, numbers[0], dtype)
    raise ValueError(f"{which} is {str(value)[:60]!r}, expected {int(np.prod(shape))} numbers")


def _with_statistics(policy: SB3Policy, file: Path) -> SB3Policy:
    """The same policy behind the normalization of observations that it was trained with."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name], np.float64) for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"--vecnormalize: {file} cannot be read as .npz of plain numbers ({error})") from error
    shape = policy.observation_space.shape
    if is_image(policy.observation_space):
        raise InputError(f"--vecnormalize: {file}: images are not normalized, expected another policy")
    for name in ("obs_mean", "obs_var"):
        if name not in arrays:
            raise InputError(
                f"--vecnormalize: {file} holds {', '.join(arrays) or 'nothing'}, expected obs_mean and obs_var"
            )
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise InputError(
                f"--vecnormalize: {file}: {name} has shape {arrays[name].shape}, expected finite numbers of {shape}"
            )
    if (arrays["obs_var"] < 0).any():
        raise InputError(f"--vecnormalize: {file}: obs_var is negative, expected at least 0")
    for name, _ in _VECNORMALIZE_DEFAULTS:
        if name in arrays and arrays[name].size != 1:
            raise InputError(f"--vecnormalize: {file}: {name} has shape {arrays[name].shape}, expected one number")
    clip, epsilon = (
        float(arrays[name].item()) if name in arrays else default for name, default in _VECNORMALIZE_DEFAULTS
    )
    normalized = SB3Policy(
        policy.observation_space, policy.action_space, network=replace(policy.network, clip_obs=clip)
    )
    statistics = {
        "obs_mean": torch.from_numpy(arrays["obs_mean"]),
        "obs_scale": torch.from_numpy(np.sqrt(arrays["obs_var"] + epsilon)),
    }
    normalized.load_state_dict({**policy.state_dict(), **statistics})
    return normalized.eval()
