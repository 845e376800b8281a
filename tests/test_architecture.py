"""The house: imports go down, gradients are taken in one place, nothing is unpickled."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {"core": 0, "envs": 1, "demos": 1, "agents": 2, "imitation": 3, "generators": 3, "report": 4, "cli": 5}
FILES = sorted((ROOT / "gail").rglob("*.py"))


def imports(file: Path) -> set[str]:
    """Folders of gail that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [node.module or ""]
        found |= {name.split(".")[1] for name in names if name.startswith("gail.")}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_only_go_down(file: Path) -> None:
    folder = file.relative_to(ROOT / "gail").parts[0]
    if folder.endswith(".py"):
        return  # gail/__init__.py re-exports, gail/__main__.py starts the command line
    assert folder in FLOORS
    for other in imports(file) - {folder}:
        allowed = FLOORS[other] < FLOORS[folder] or (folder, other) == ("demos", "envs")
        assert allowed, f"{file.relative_to(ROOT)} imports gail.{other}"


def test_gradients_are_taken_in_core_only() -> None:
    for file in FILES:
        if "core" in file.parts or "peers" in file.parts:
            continue
        assert not re.search(r"\.backward\(|optimizer\.step\(", file.read_text()), file


def test_nothing_is_pickled() -> None:
    forbidden = re.compile(
        r"pickle\.(load|dump|Unpickler|Pickler)|cloudpickle|import dill|joblib|allow_pickle=True|torch\.save\("
        r"|weights_only=False"
    )
    for file in FILES:
        text = file.read_text()
        assert not forbidden.search(text), file
        for call in re.findall(r"np\.load\((.*)\)", text):
            assert "allow_pickle=False" in call, file


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, gail; assert 'torch' not in sys.modules and 'gymnasium' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_can_be_imported() -> None:
    import gail

    for name in gail.__all__:
        assert getattr(gail, name) is not None


def test_packages_are_listed_and_top_level_links_are_not_installed() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {".".join(f.parent.relative_to(ROOT).parts) for f in FILES}
    assert listed == present
    assert not {"envs", "agents"} & listed
