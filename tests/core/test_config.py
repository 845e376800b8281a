"""Overriding typed configurations from TOML."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import tomli_w

from gail.core.config import override, read_toml, to_plain
from gail.core.errors import InputError
from gail.core.rundir import open_run


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    hidden: tuple[int, ...] = (64, 64)
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    steps: int = 10
    episodes: int | None = None
    inner: Inner = field(default_factory=Inner)


def test_values_survive_toml_and_override_nested_fields(tmp_path: Path) -> None:
    changed = Outer(steps=7, episodes=3, inner=Inner(rate=1.0, hidden=(8,), kind="b"))
    file = tmp_path / "c.toml"
    file.write_text(tomli_w.dumps(to_plain(changed)))
    assert override(Outer(), read_toml(file), "c.toml") == changed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 3}, "unknown field step; did you mean 'steps'?"),
        ({"inner": {"rates": 3}}, "unknown field inner.rates"),
        ({"steps": 3.5}, "steps is 3.5, expected int"),
        ({"steps": True}, "steps is True, expected int"),
        ({"inner": {"kind": "c"}}, "inner.kind is 'c', expected one of 'a', 'b'"),
        ({"inner": 3}, "inner is 3, expected Inner"),
    ],
)
def test_wrong_values_are_named_with_their_file(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        override(Outer(), values, "c.toml")
    assert str(caught.value).startswith("c.toml: ") and message in str(caught.value)


def test_whole_numbers_are_accepted_for_floats() -> None:
    assert override(Outer(), {"inner": {"rate": 2}}, "c.toml").inner.rate == 2.0


def test_a_run_directory_is_claimed_once(tmp_path: Path) -> None:
    open_run(tmp_path / "run", {"config": Outer()}, resume=False)
    with pytest.raises(InputError, match="exists already"):
        open_run(tmp_path / "run", {"config": Outer()}, resume=False)
    open_run(tmp_path / "run", {"config": Outer()}, resume=True)
    with pytest.raises(InputError, match=r"config.inner.rate was 0.1 and is now 0.5"):
        open_run(tmp_path / "run", {"config": Outer(inner=Inner(rate=0.5))}, resume=True)
