"""Fixtures that every folder of tests shares."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def third_party_data() -> Path:
    """The folder of data that no one on the project made; tests that need it skip without it."""
    folder = os.environ.get("GAIL_TEST_DATA")
    if not folder:
        pytest.skip("GAIL_TEST_DATA is not set: third-party data is not part of the project")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"GAIL_TEST_DATA={folder} is no folder")
    return path


ATARI_FRAMES = 20
"""An episode's length under ``short_protocols``."""
_MINIMAL_ACTIONS = {"Adventure": 18, "Boxing": 18, "Freeway": 3, "Pong": 6}


@pytest.fixture
def short_protocols(monkeypatch: pytest.MonkeyPatch) -> int:
    """Atari episodes end after so many frames whatever the protocol says, and few games are loaded at a time."""
    from gail.agents.protocols import PROTOCOLS

    for name, protocol in PROTOCOLS.items():
        fixed = {**protocol.fixed, "max_num_frames_per_episode": ATARI_FRAMES}
        monkeypatch.setitem(PROTOCOLS, name, replace(protocol, fixed=fixed))
    # The package's own attribute of this name is the function.
    monkeypatch.setattr(importlib.import_module("gail.agents.evaluate"), "_ATARI_WIDTH", 2)
    return ATARI_FRAMES


@pytest.fixture
def ram_policy() -> Callable[..., Path]:
    """Saves an untrained policy of a game that reads the console's memory (no convolutions: fast)."""
    from gymnasium import spaces

    from gail.agents.policy import MLPPolicy, save_policy
    from gail.core.random import seeded_initialization
    from gail.envs import resolve_env

    def save(file: Path, game: str, *, seed: int = 0, **env_kwargs: Any) -> Path:
        env_id, env_kwargs = resolve_env(game, {"obs_type": "ram", **env_kwargs})
        actions = 18 if env_kwargs["full_action_space"] else _MINIMAL_ACTIONS[game]
        with seeded_initialization(seed, "policy"):
            policy = MLPPolicy(spaces.Box(0, 255, (128,), np.uint8), spaces.Discrete(actions), hidden=(4,))
        save_policy(policy, file, env_id=env_id, env_kwargs=env_kwargs)
        return file

    return save


@pytest.fixture
def forbid_copies_and_draws(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and what the meta device lets pass fails in our own code: device copies, new constants, random draws."""

    def forbid(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            # Only our own code: torch's gradient clipping, for one, moves norms to where they already are.
            if sys._getframe(1).f_globals["__name__"].startswith("gail"):
                raise AssertionError(f"{name} inside the training step")
            return original(*arguments, **options)

        return call

    def start() -> None:
        constants = ("tensor", "as_tensor", "from_numpy", "arange")
        for name in (*constants, "rand", "randn", "randint", "randperm", "multinomial"):
            monkeypatch.setattr(torch, name, forbid(f"torch.{name}", getattr(torch, name)))
        for name in ("to", "cpu", "cuda", "item", "tolist", "numpy", "normal_", "uniform_", "exponential_", "__bool__"):
            monkeypatch.setattr(Tensor, name, forbid(f"Tensor.{name}", getattr(Tensor, name)))

    return start
