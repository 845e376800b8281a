"""Builds the peers' pinned virtual environments and runs the stand-alone peer scripts inside them."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from gail.core.errors import InputError

HERE = Path(__file__).parent
PYTHON = "3.11"  # the pins of imitation 1.0.1 (numpy 1.26, mujoco 2.3.7) have no wheels for much newer ones
MARKER = ".gail-peer.sha256"  # written last: an environment without it is unfinished and is built anew
TAIL_LINES = 8


def ensure_peer(name: str, root: Path) -> Path:
    """The Python of the peer environment `root/name`, built first unless it is there with these very pins.

    torch, where it is among them, is installed before the rest, from whatever pip is configured to find; on Linux
    the public index serves the CUDA build (gigabytes), so point pip at a CPU build where that matters.

    Args:
        name: the stem of a requirements file beside this module: `sb3`, `imitation` or `envpool`.
        root: the folder that holds the peer environments; it is created.

    Returns:
        The path of the environment's interpreter.

    Raises:
        InputError: no such peer, no Python 3.11, or pip failed (the message ends with its last lines).
    """
    requirements = HERE / f"{name}.txt"
    peers = sorted(path.stem for path in HERE.glob("*.txt"))
    if name not in peers:
        raise InputError(f"peer: found {name!r}, expected one of {', '.join(peers)}")

    venv = (root / name).absolute()
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    marker = venv / MARKER
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if python.exists() and marker.exists() and marker.read_text() == digest:
        return python

    if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        raise InputError(f"{venv}: found other files, expected a virtual environment or nothing")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    torch = [line for line in requirements.read_text().splitlines() if line.startswith("torch==")]
    steps = {
        "virtual environment": [_base_python(), "-m", "venv", "--clear", str(venv)],
        **{line: [*pip, "--constraint", str(requirements), line] for line in torch},
        f"the pins of {requirements.name}": [*pip, "--requirement", str(requirements)],
    }
    for number, (what, command) in enumerate(steps.items(), start=1):
        print(f"peer {name} [{number}/{len(steps)}]: {what} in {venv}", file=sys.stderr, flush=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"peer {name}: installing {what} failed: {_tail(done.stderr or done.stdout)}")
    marker.write_text(digest)
    return python


def run_peer(python: Path, script: str, args: list[str]) -> dict[str, Any]:
    """Runs one peer script and returns the row that it prints as its last line.

    Args:
        python: the interpreter that `ensure_peer` returned.
        script: the script's file name in this folder, such as `run_sb3_ppo.py`.
        args: its command-line arguments.

    Returns:
        The row: `peer`, `environment`, `steps`, `seconds`, `steps_per_second`, `threads`, `versions`.

    Raises:
        InputError: there is no such script, or it failed (the message ends with its last line).
        RuntimeError: the script ended well, but its last line is not a JSON object.
    """
    path = HERE / script
    if not path.is_file():
        raise InputError(f"peer script: found {script!r}, which is not in {HERE}")
    # -I: neither PYTHONPATH nor the working directory may put our packages before the peer's.
    done = subprocess.run([str(python), "-I", str(path), *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{script} {' '.join(args)}: status {done.returncode}: {_tail(done.stderr, 1)}")
    lines = done.stdout.strip().splitlines()
    try:
        row = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        row = None
    if not isinstance(row, dict):
        raise RuntimeError(f"{script}: expected a JSON object on the last line, found {lines[-1:]}")
    return row


def _base_python() -> str:
    """A Python of the version that the pins were resolved for."""
    if sys.version_info[:2] == tuple(int(part) for part in PYTHON.split(".")):
        return sys.executable
    found = shutil.which(f"python{PYTHON}")
    if found is None:
        raise InputError(
            f"peers: found Python {platform.python_version()} and no python{PYTHON} on PATH: "
            f"the peers' pins need Python {PYTHON}"
        )
    return found


def _tail(output: str, count: int = TAIL_LINES) -> str:
    """The last lines that say something, without pip's warnings, joined to one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("WARNING:")]
    return " | ".join(lines[-count:]) or "it printed nothing"
