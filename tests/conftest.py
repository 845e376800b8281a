"""Fixtures that every folder of tests shares."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest


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
