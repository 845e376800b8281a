"""What every check of the audit looks at: two sets of steps, the real one's scale, and its halves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gail.core.config import require
from gail.core.errors import InputError
from gail.demos import Demonstrations, load_demos
from gail.demos.origin import describe_origin
from gail.demos.some_rows import count_transitions, read_some
from gail.generators.audit_classifier import blocks
from gail.generators.audit_distances import NEIGHBOURS
from gail.generators.audit_dynamics import Simulator
from gail.generators.steps import Array, Layout, Steps, layout_of, name_of, steps_of

_LEAST_ROWS = 4 * NEIGHBOURS
"""Of either set."""
_ROUNDING = 1e-6
"""Of a column, in units of its largest value: numbers in 32 bits differ by 1e-7."""


@dataclass(frozen=True)
class AuditConfig:
    """How much is looked at."""

    rows: int = 10_000
    """At most so many rows of each set, drawn at random, are played again, classified and compared by distances;
    training items all count."""
    seed: int = 0
    """Of the rows drawn, the halves, the folds and the noise."""

    def __post_init__(self) -> None:
        require("audit", self, at_least={"rows": 100})


@dataclass(frozen=True)
class View:
    """The sets with what every check needs of them."""

    layout: Layout
    made: Demonstrations
    """Of a file with more transitions than ``config.rows``: those that were drawn."""
    drawn_from: int | None
    """How many transitions that file holds; None where ``made`` is the whole set."""
    recorded: Demonstrations
    learned: Demonstrations
    """What the generator learned from; may be ``recorded`` itself."""
    all_real: Steps
    all_synthetic: Steps
    synthetic: Steps
    """At most ``config.rows``."""
    real: Steps
    """At most ``config.rows``."""
    first_half: NDArray[np.bool_]
    """``[len(real)]``: which real rows are in the first half."""
    mean: Array
    spread: Array
    """``[C]``: of all real rows; a spread of 0 is replaced by 1."""
    state_variance: Array
    """``[D]``: of all real states."""
    low: Array
    high: Array
    """``[C]``: the range of all real rows."""
    rng: np.random.Generator
    config: AuditConfig

    @classmethod
    def of(
        cls,
        synthetic: str | Path | Demonstrations,
        real: str | Path | Demonstrations,
        train: str | Path | Demonstrations | None,
        env_id: str | None,
        env_kwargs: dict[str, Any] | None,
        config: AuditConfig,
        *,
        whole: bool,
    ) -> View:
        """Read the sets; the arguments are those of :func:`gail.audit`, which also says what is raised.

        Unless it is asked for ``whole``, a synthetic file with more transitions than ``config.rows`` is never in memory
        whole.
        """
        recorded = _load(real, env_id, env_kwargs)
        made, drawn_from = _load_made(synthetic, env_id, env_kwargs, None if whole else config)
        learned = recorded if train is None else _load(train, env_id, env_kwargs)
        if recorded.generator is not None:
            found = describe_origin(recorded)
            raise InputError(f"{name_of(recorded)}: --real: expected recorded demonstrations, found {found}")
        layout = layout_of(recorded, made)
        layout_of(recorded, learned)
        for demos in (made, recorded):
            if demos.steps < _LEAST_ROWS:
                raise InputError(f"{name_of(demos)}: holds {demos.steps} steps, expected at least {_LEAST_ROWS}")
        rng = np.random.default_rng(config.seed)
        all_real, all_synthetic = steps_of(recorded), steps_of(made)
        columns = all_real.columns(layout)
        states = all_real.obs.reshape(len(all_real), -1).astype(np.float64)
        spread, state_spread = _spread(columns), _spread(states)
        some_real, some_synthetic = (some(steps, config.rows, rng) for steps in (all_real, all_synthetic))
        owner = blocks(some_real.episode, 2)
        return cls(
            layout,
            made,
            drawn_from,
            recorded,
            learned,
            all_real,
            all_synthetic,
            some_synthetic,
            some_real,
            _half(owner, rng),
            columns.mean(axis=0),
            np.where(spread > 0, spread, 1.0),
            state_spread**2,
            columns.min(axis=0),
            columns.max(axis=0),
            rng,
            config,
        )

    def simulator(self) -> Simulator:
        """The environment of the files.

        Raises:
            CannotReplay: where there is none whose state can be set.
        """
        named = self.recorded if self.recorded.env_id else self.made
        return Simulator(named.env_id, named.env_kwargs, name_of(named))

    def scaled(self, steps: Steps) -> Array:
        """Columns ``[N, C]`` in units of the real rows' spread."""
        return np.asarray((steps.columns(self.layout) - self.mean) / self.spread)

    @property
    def compared(self) -> int:
        """How many rows of each half and of the synthetic set are compared: equally many."""
        first = int(self.first_half.sum())
        return min(first, len(self.real) - first, len(self.synthetic), self.config.rows // 2)

    def halves(self) -> tuple[Steps, Steps]:
        """The real halves."""
        return self.real[self.first_half], self.real[~self.first_half]


def _spread(rows: Array) -> Array:
    """``[C]``: standard deviations; 0 where a column is constant but for rounding, which is no unit of distance."""
    spread = rows.std(axis=0)
    return np.where(spread > _ROUNDING * np.abs(rows).max(axis=0), spread, 0.0)


def _half(owner: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """``[N]``: the rows of about half of the owners, dealt out so that the halves have about equally many rows."""
    owners, place, counts = np.unique(owner, return_inverse=True, return_counts=True)
    order = rng.permutation(len(owners))
    dealt = np.cumsum(counts[order])[:-1] / len(owner)
    return np.asarray(np.isin(place, order[: int(np.abs(dealt - 0.5).argmin()) + 1]))


def some(steps: Steps, count: int, rng: np.random.Generator, *, among: list[int] | None = None) -> Steps:
    """At most ``count`` rows, in order; of the episodes ``among`` only."""
    rows = np.arange(len(steps)) if among is None else np.flatnonzero(np.isin(steps.episode, among))
    return steps[np.sort(rng.permutation(rows)[:count])] if len(rows) > count else steps[rows]


def _load_made(
    source: str | Path | Demonstrations,
    env_id: str | None,
    env_kwargs: dict[str, Any] | None,
    config: AuditConfig | None,
) -> tuple[Demonstrations, int | None]:
    """The synthetic set and None; or as many of its transitions as are looked at, and how many there are in all."""
    if config is not None and not isinstance(source, Demonstrations):
        path = Path(source)
        total = count_transitions(path)
        if total is not None and total > config.rows:
            rng = np.random.default_rng(config.seed)
            chosen = np.sort(rng.choice(total, config.rows, replace=False, shuffle=False))
            return read_some(path, chosen, env_id=env_id, env_kwargs=env_kwargs), total
    return _load(source, env_id, env_kwargs), None


def _load(source: str | Path | Demonstrations, env_id: str | None, env_kwargs: dict[str, Any] | None) -> Demonstrations:
    demos = source if isinstance(source, Demonstrations) else load_demos(source, env_id=env_id, env_kwargs=env_kwargs)
    if len(demos) == 0:
        raise InputError(f"{name_of(demos)}: holds no episodes")
    return demos
