"""The part of a synthetic set that passes: right by the simulator, no near-copy, as real to trees as recorded rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gail.core.config import require
from gail.core.errors import InputError
from gail.demos import Demonstrations
from gail.demos.types import JOINED
from gail.generators.audit_classifier import FOLDS, cross_fitted_scores
from gail.generators.audit_copies import CopyTest
from gail.generators.audit_dynamics import CannotReplay, row_errors
from gail.generators.audit_view import AuditConfig, View
from gail.generators.steps import name_of, trajectory_of


@dataclass(frozen=True)
class FilterConfig:
    """What a synthetic trajectory (an episode, or one unrelated transition) must keep to."""

    max_error: float = 0.01
    """Largest one-step dynamics error, in variances of real states, averaged over an episode. Rows whose state cannot
    be restored do not count."""
    least_real: float = 0.1
    """A row passes that looks at least as real as all but this share of recorded rows, to trees that saw neither its
    episode nor theirs."""

    def __post_init__(self) -> None:
        require("filter", self, at_least={"max_error": 0.0}, shares=("least_real",))


@dataclass(frozen=True)
class Filtered:
    """What was kept, and why the rest was not."""

    demos: Demonstrations
    """The trajectories that pass; none of them may."""
    summary: dict[str, Any]
    """``trajectories`` (of the whole set), ``kept``; ``dropped`` by each check (a trajectory may fail several; None
    where the check was skipped); ``unchecked`` (trajectories that the simulator could not play); ``skipped`` (check
    to reason); the thresholds and the seed."""


def filter_synthetic(
    synthetic: str | Path | Demonstrations,
    real: str | Path | Demonstrations,
    *,
    train: str | Path | Demonstrations | None = None,
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    config: FilterConfig | None = None,
    audit: AuditConfig | None = None,
) -> Filtered:
    """Keep the trajectories of a synthetic set that pass; what `gail audit --keep` does.

    Every row is judged. An episode passes a check on rows where at most half of its rows fail.

    Args:
        synthetic: as of :func:`gail.audit`.
        real: as of :func:`gail.audit`.
        train: what the generator learned from; None: ``real``.
        env_id: the environment, where the files name none.
        env_kwargs: what it was made with, used with ``env_id``.
        config: the thresholds.
        audit: how many real rows are looked at, and the seed.

    Raises:
        InputError: as :func:`gail.audit`, and for a joined set, whose recorded rows are not to be judged.
    """
    config, audit = config or FilterConfig(), audit or AuditConfig()
    view = View.of(synthetic, real, train, env_id, env_kwargs, audit, whole=True)
    if view.made.generator is not None and view.made.generator.get("kind") == JOINED:
        raise InputError(f"{name_of(view.made)}: is joined of several sets, expected one that is all synthetic")
    owner, count = trajectory_of(view.made), len(view.made)

    def mostly(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.bincount(owner, rows, count) > np.bincount(owner, minlength=count) / 2

    copies = CopyTest.of(view)
    fails = {
        "dynamics": np.zeros(count, bool),
        "copies": mostly(copies.near_copies(copies.distances(view.scaled(view.all_synthetic)))),
        "unreal": mostly(_unreal(view, config.least_real)),
    }
    skipped: dict[str, str] = {}
    unchecked = np.zeros(count, bool)
    try:
        fails["dynamics"], unchecked = _wrong(view, config.max_error)
    except CannotReplay as error:
        skipped["dynamics"] = str(error)
    passes = ~np.any(list(fails.values()), axis=0)
    summary = {
        "trajectories": count,
        "kept": int(passes.sum()),
        "dropped": {name: None if name in skipped else int(failing.sum()) for name, failing in fails.items()},
        "unchecked": count if skipped else int(unchecked.sum()),
        "skipped": skipped,
        "max_error": config.max_error,
        "least_real": config.least_real,
        "seed": audit.seed,
    }
    kept = tuple(view.made.trajectories[place] for place in np.flatnonzero(passes))
    generator = {**(view.made.generator or {"kind": "unknown"}), "filter": summary}
    return Filtered(replace(view.made, trajectories=kept, generator=generator, path=None), summary)


def _wrong(view: View, most: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """``[E]``: whose mean dynamics error is above ``most``; and of whom no row can be played."""
    simulator = view.simulator()
    steps, count = view.all_synthetic, len(view.made)
    try:
        played = simulator.play(steps)
    finally:
        simulator.close()
    owner = trajectory_of(view.made)[played.known]
    errors = row_errors(steps.next_obs[played.known], played.next_obs[played.known], view.state_variance)
    rows = np.bincount(owner, minlength=count)
    mean = np.bincount(owner, errors, count) / np.maximum(rows, 1)
    # A simulation that diverged has no error that could be below.
    return ~(mean <= most), rows == 0


def _unreal(view: View, least_real: float) -> NDArray[np.bool_]:
    """``[N]``: which synthetic rows look less real than all but a share of recorded rows."""
    real, made = view.real, view.all_synthetic
    scores, fold = cross_fitted_scores(
        real.columns(view.layout), real.episode, made.columns(view.layout), made.episode, view.config.seed
    )
    unreal = np.zeros(len(made), bool)
    for held in range(FOLDS):
        own, other = scores[: len(real)][fold[: len(real)] == held], fold[len(real) :] == held
        unreal[other] = scores[len(real) :][other] > np.quantile(own, 1.0 - least_real)
    return unreal
