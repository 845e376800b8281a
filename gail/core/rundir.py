"""Run directories: what a run was made from (``config.toml``) and what came of it (``summary.json``)."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import tomli_w

from gail.core.config import read_toml, to_plain
from gail.core.errors import InputError
from gail.core.files import is_unused, sweep_temporaries, write_text_atomic

_PACKAGES = ("gail-toolkit", "torch", "numpy", "gymnasium", "mujoco")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> str:
    """Processor and core count in words."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"


def git_revision() -> str:
    """The commit of the checkout that this code runs from (``-dirty`` with changes), or an empty string."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def open_run(
    directory: Path, config: dict[str, Any], *, resume: bool, provenance: dict[str, Any] | None = None
) -> None:
    """Claim ``directory`` for a run made from ``config``, or check that it is that run's.

    Args:
        directory: created; must be empty unless ``resume``.
        config: everything that determines the run, as plain data.
        resume: go on with the run that is there (a fresh start where there is none).
        provenance: written beside versions and hardware, and not compared.

    Raises:
        InputError: where something is there already, or another run is to be resumed.
    """
    file = directory / "config.toml"
    # Through TOML's eyes: tuples become lists, None disappears.
    wanted = to_plain(config)
    if resume and file.exists():
        found = read_toml(file)
        found.pop("provenance", None)
        difference = first_difference(found, wanted)
        if difference:
            raise InputError(f"{file}: cannot resume, {difference}")
        sweep_temporaries(directory)
        return
    if not is_unused(directory):
        hint = " (--resume goes on with the run that is there)" if file.exists() else ""
        raise InputError(f"{directory}: exists already; choose another --out{hint}")
    origin = {
        # `python -m gail` is the same command.
        "command": shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "gail"), *sys.argv[1:]]),
        "versions": versions(),
        "hardware": hardware(),
        "git_revision": git_revision(),
        **(provenance or {}),
    }
    write_text_atomic(file, tomli_w.dumps({**wanted, "provenance": to_plain(origin)}))


def first_difference(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> str:
    """The first field in which two trees differ, in words; empty where they are equal."""
    for name in sorted({*found, *wanted}):
        a, b = found.get(name), wanted.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            inner = first_difference(a, b, f"{prefix}{name}.")
            if inner:
                return inner
        elif a != b:
            return f"{prefix}{name} was {a!r} and is now {b!r}"
    return ""


def write_summary(directory: Path, summary: dict[str, Any]) -> None:
    """Write ``summary.json``; NaN becomes null."""
    write_text_atomic(directory / "summary.json", json.dumps(strict_json(summary), indent=2) + "\n")


def strict_json(value: Any) -> Any:
    """``value`` with NaN and infinities, which JSON does not know, as None."""
    if isinstance(value, dict):
        return {str(key): strict_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
