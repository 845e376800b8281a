"""Who takes part in an evaluation: policy files found under given paths, a user's own code, or random play."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from gail.agents.find_policy import is_own_code, own_policy
from gail.agents.policy import Policy, load_policy
from gail.agents.sb3_zip import SB3Options
from gail.core.errors import InputError
from gail.envs import EnvLike

_FILE = "policy.safetensors"


@dataclass(frozen=True)
class Entrant:
    """One policy to evaluate, by its file."""

    name: str
    """For tables: the path as it was given."""
    key: str
    """For file names: what identifies the policy's content."""
    path: Path | None = None
    """The policy's file; None: it has none."""
    env_id: str | None = None
    """What it was trained in; None: it plays anything, or does not say."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """The keywords of its training's environment."""
    sb3: SB3Options | None = None
    """What a zip of Stable-Baselines3 does not say."""
    note: str = ""
    """What was assumed about such a zip."""
    code: str | None = None
    """The name of a user's own policy, ``FILE.py:NAME`` or ``MODULE:NAME``; without it and ``path``: random play."""

    def load(self, env: EnvLike, env_kwargs: dict[str, Any], device: torch.device | str = "cpu") -> Policy | None:
        """The policy on ``device``, made for ``env`` where it is a user's own; None for random play."""
        if self.code is not None:
            return own_policy(self.code, env, env_kwargs, device)
        return None if self.path is None else load_policy(self.path, device, sb3=self.sb3).policy


RANDOM: Final = Entrant("random", "random")
"""Uniform random play."""


def find_entrants(paths: Sequence[Path], sb3: SB3Options | None = None) -> list[Entrant]:
    """The policies in ``paths``, in the order given: policy files, runs, runs of several seeds, folders of runs,
    code, and zips of Stable-Baselines3 with what ``sb3`` says of them.

    Raises:
        InputError: where a path holds no policy, a file is damaged, or two of them are the same policy.
    """
    entrants: dict[str, Entrant] = {}
    for source in (file for path in paths for file in ([path] if is_own_code(path) else _policy_files(path))):
        entrant = read_entrant(source, sb3)
        if entrant.key in entrants:
            raise InputError(f"{entrant.name}: the same policy as {entrants[entrant.key].name}; it would count twice")
        entrants[entrant.key] = entrant
    return list(entrants.values())


def read_entrant(path: Path, sb3: SB3Options | None = None) -> Entrant:
    """The policy of a policy file, of a run of one seed, of a zip of Stable-Baselines3, or of a user's own code.

    Raises:
        InputError: where there is none, or the file is damaged.
    """
    if is_own_code(path):
        return Entrant(str(path), _code_digest(str(path)), code=str(path))
    loaded = load_policy(path, sb3=sb3)
    file = path / _FILE if path.is_dir() else path
    name = str(file.parent if file.name == _FILE else file)
    return Entrant(name, _digest(file), file, loaded.env_id or None, loaded.env_kwargs, sb3, loaded.note)


def _policy_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]  # reading it says whether it is missing
    found = _search(path)
    if not found:
        raise InputError(f"{path}: holds no {_FILE}, neither itself nor in a folder inside")
    return found


def _search(folder: Path) -> list[Path]:
    """Policy files in ``folder`` and below; what lies inside a run (its negative control) is not one of its own."""
    if (folder / _FILE).is_file():
        return [folder / _FILE]
    return [file for inner in sorted(folder.iterdir()) if inner.is_dir() for file in _search(inner)]


def _code_digest(name: str) -> str:
    """Of the name, and of the file where it names one: other code is another policy."""
    file = Path(name.rpartition(":")[0])
    content = file.read_bytes() if file.is_file() else b""
    return hashlib.sha256(name.encode() + content).hexdigest()[:16]


def _digest(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]
