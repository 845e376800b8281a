"""How far a synthetic set can be trusted: beside real data, the simulator, and what its generator learned from.

Glossary:
    half      the real episodes are dealt into two halves, which are compared with each other like the synthetic set
              with each of them: the anchors that say what a figure means.
    training  the items that the generator learned from.
    held out  real rows that are not training items; where all of them are, each episode in turn, against the others.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gail.demos import Demonstrations
from gail.demos.info import file_hash
from gail.generators.audit_classifier import separability
from gail.generators.audit_copies import CopyTest, least_difference
from gail.generators.audit_distances import (
    Neighbourhood,
    correlation_gap,
    correlations,
    kolmogorov_smirnov,
    neighbourhood,
)
from gail.generators.audit_dynamics import CannotReplay, Replayed, linear_successors, row_errors
from gail.generators.audit_view import AuditConfig, View, some
from gail.generators.steps import Array, Steps

NOISE = 0.05
"""Of the anchor: normal, in units of each column's spread."""
MOST_COPIES = 0.1
"""A set with more copies than this share is not called synthetic."""
_REWARD_ERRORS = ("reward_error_floor", "reward_error")
"""Of the real and the synthetic set."""


@dataclass(frozen=True)
class Pictures:
    """What a page draws."""

    columns: list[str]
    """Names of the columns of state, action and next state."""
    ks: Array
    """``[C]``: Kolmogorov-Smirnov statistic of each."""
    ks_real_real: Array
    """``[C]``: the same between the real halves."""
    real: Array
    """``[N, C]``: some real rows."""
    synthetic: Array
    """``[M, C]``: some synthetic rows."""
    correlations: Array
    """``[2, P]``: of pairs of columns, of real and of synthetic rows."""
    held_out_distances: Array
    """To the nearest training item, of held-out rows."""
    synthetic_distances: Array
    """The same of synthetic rows."""
    near: float
    """The distance below which a row is a duplicate."""
    real_errors: Array | None = None
    """Dynamics errors of real rows."""
    synthetic_errors: Array | None = None
    """The same of synthetic rows."""
    real_returns: Array | None = None
    """Of real episodes."""
    synthetic_returns: Array | None = None
    """Of synthetic episodes."""


@dataclass(frozen=True)
class Audit:
    """What was found."""

    summary: dict[str, Any]
    """Plain data: every figure (None where a check was skipped), ``skipped`` (check to reason), files and settings."""
    pictures: Pictures = field(repr=False)
    """What :func:`gail.report.audit.audit_report` draws."""

    @property
    def copies(self) -> bool:
        """Whether the set must not be called synthetic, because too much of it is copied."""
        return bool(self.summary["copies"])


def audit(
    synthetic: str | Path | Demonstrations,
    real: str | Path | Demonstrations,
    *,
    train: str | Path | Demonstrations | None = None,
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    config: AuditConfig | None = None,
) -> Audit:
    """Compare a synthetic set with real demonstrations and with the simulator; what `gail audit` does.

    Args:
        synthetic: a file of any kind that :func:`gail.load_demos` reads, or demonstrations: episodes or transitions.
        real: the same, recorded.
        train: what the generator learned from; None: ``real``.
        env_id: the environment, where the files name none.
        env_kwargs: what it was made with, used with ``env_id``.
        config: how much is looked at.

    Returns:
        The figures, with the reasons of what could not be checked.

    Raises:
        InputError: one line naming the file: values that are not finite, shapes or environments that differ, too few
            rows.
    """
    config = config or AuditConfig()
    view = View.of(synthetic, real, train, env_id, env_kwargs, config, whole=False)
    measures: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    pictures: dict[str, Any] = {}
    for check in (_dynamics, _two_samples, _neighbours, _copies, _columns, _returns):
        check(view, measures, skipped, pictures)
    pictures.update(columns=view.layout.names, real=view.scaled(view.real), synthetic=view.scaled(view.synthetic))
    total = view.drawn_from
    origin = {
        "synthetic": _origin(view.made) | ({} if total is None else {"trajectories": total, "steps": total}),
        "real": _origin(view.recorded),
        "train": "real" if train is None else _origin(view.learned),
        "env_id": view.recorded.env_id or view.made.env_id,
        "generator": view.made.generator,
        "rows": config.rows,
        "rows_synthetic": len(view.synthetic),
        "rows_real": len(view.real),
        "rows_compared": view.compared,
        "seed": config.seed,
    }
    return Audit({**measures, "skipped": skipped, **origin}, Pictures(**pictures))


Measures = dict[str, Any]


def _dynamics(view: View, measures: Measures, skipped: dict[str, str], pictures: dict[str, Any]) -> None:
    """One step of each row played again, and what simple predictors reach on real rows."""
    names = ("dynamics_error", "dynamics_error_median", "dynamics_error_floor", "persistence_error", "linear_error")
    measures.update(dict.fromkeys((*names, "checked_share", "checked_share_real", *_REWARD_ERRORS)))
    try:
        with closing(view.simulator()) as simulator:
            played = {key: simulator.play(steps) for key, steps in _sets(view)}
    except CannotReplay as error:
        skipped["dynamics"] = str(error)
        return
    known = {key: found.known for key, found in played.items()}
    measures.update(checked_share_real=float(known["real"].mean()), checked_share=float(known["synthetic"].mean()))
    for key, rows in known.items():
        if not rows.any():
            skipped["dynamics"] = f"no row of the {key} set shows the whole state (every velocity is clipped)"
            return

    def errors(key: str, steps: Steps, expected: Array) -> Array:
        return row_errors(steps.next_obs[known[key]], expected[known[key]], view.state_variance)

    real = view.real
    found = {key: errors(key, steps, played[key].next_obs) for key, steps in _sets(view)}
    measures.update(
        dynamics_error_floor=float(found["real"].mean()),
        dynamics_error=float(found["synthetic"].mean()),
        dynamics_error_median=float(np.median(found["synthetic"])),
        # On the rows that the floor is of: rows with a clipped velocity are harder to predict.
        persistence_error=float(errors("real", real, real.obs.astype(np.float64)).mean()),
        linear_error=float(errors("real", real, linear_successors(real, view.first_half)).mean()),
    )
    pictures.update(real_errors=found["real"], synthetic_errors=found["synthetic"])
    _reward_errors(view, played, measures, skipped)


def _reward_errors(view: View, played: dict[str, Replayed], measures: Measures, skipped: dict[str, str]) -> None:
    """Recorded rewards beside the simulator's, on rows whose state is known."""
    without = [key for key, steps in _sets(view) if steps.rewards is None]
    if without:
        skipped["rewards"] = f"the {without[0]} set holds no rewards"
        return
    assert view.real.rewards is not None
    variance = float(view.real.rewards.var())
    if np.ptp(view.real.rewards) == 0:
        skipped["rewards"] = "the rewards of the real set never vary"
        return
    for name, (key, steps) in zip(_REWARD_ERRORS, _sets(view), strict=True):
        assert steps.rewards is not None
        off = (steps.rewards - played[key].rewards)[played[key].known]
        measures[name] = float(np.mean(off**2)) / variance


def _sets(view: View) -> tuple[tuple[str, Steps], ...]:
    return ("real", view.real), ("synthetic", view.synthetic)


def _two_samples(view: View, measures: Measures, skipped: dict[str, str], pictures: dict[str, Any]) -> None:
    """Trees against the synthetic set, the other half, and the other half with noise: equally many rows each."""
    halves, count = view.halves(), view.compared
    first, second = (some(steps, count, view.rng) for steps in halves)

    def area(own: Steps, against: Array, episode: NDArray[np.int64]) -> float:
        return separability(own.columns(view.layout), own.episode, against, episode, view.config.seed)

    areas: dict[str, list[float]] = {"auc": [], "auc_noise5": []}
    for own, other in ((first, second), (second, first)):
        made = some(view.synthetic, count, view.rng)
        areas["auc"].append(area(own, made.columns(view.layout), made.episode))
        areas["auc_noise5"].append(area(own, _noised(view, other.columns(view.layout)), other.episode))
    measures.update({name: float(np.mean(found)) for name, found in areas.items()})
    measures["auc_real_real"] = area(first, second.columns(view.layout), second.episode)


def _noised(view: View, rows: Array) -> Array:
    """Real rows with noise, inside the range of real rows: beyond it they would be told apart at a glance."""
    noise = view.rng.standard_normal(rows.shape) * view.spread * NOISE
    real_valued = [spec.count is None for spec in (view.layout.obs, view.layout.action, view.layout.obs)]
    sizes = [view.layout.obs.columns, view.layout.action.columns, view.layout.obs.columns]
    noise[:, ~np.repeat(real_valued, sizes)] = 0.0
    return np.asarray(np.clip(rows + noise, view.low, view.high))


def _columns(view: View, measures: Measures, skipped: dict[str, str], pictures: dict[str, Any]) -> None:
    """One column at a time, and pairs of columns: the synthetic set and the other half beside each half."""
    halves, count = view.halves(), view.compared
    pairs, gaps = [], []
    for half in halves:
        own, made = (view.scaled(some(steps, count, view.rng)) for steps in (half, view.synthetic))
        pairs.append(kolmogorov_smirnov(own, made))
        gaps.append(correlation_gap(own, made))
    first, second = (view.scaled(some(half, count, view.rng)) for half in halves)
    ks, anchor = np.mean(pairs, axis=0), kolmogorov_smirnov(first, second)
    measures.update(
        ks_mean=float(ks.mean()),
        ks_max=float(ks.max()),
        ks_max_column=view.layout.names[int(ks.argmax())],
        ks_mean_real_real=float(anchor.mean()),
        ks_max_real_real=float(anchor.max()),
        correlation_gap=float(np.mean(gaps)),
        correlation_gap_real_real=correlation_gap(first, second),
    )
    both = [correlations(view.scaled(steps)) for steps in (view.real, view.synthetic)]
    above = np.triu_indices(len(both[0]), 1)
    pictures.update(ks=ks, ks_real_real=anchor, correlations=np.stack([found[above] for found in both]))


def _neighbours(view: View, measures: Measures, skipped: dict[str, str], pictures: dict[str, Any]) -> None:
    """Coverage, density, precision, recall: the synthetic set and the other half beside each half."""
    halves, count = view.halves(), view.compared
    found: dict[str, list[Neighbourhood]] = {"": [], "_real_real": []}
    for own, other in (halves, halves[::-1]):
        rows, clean, made = (view.scaled(some(steps, count, view.rng)) for steps in (own, other, view.synthetic))
        found[""].append(neighbourhood(rows, made))
        found["_real_real"].append(neighbourhood(rows, clean))
    for suffix, pair in found.items():
        for name in ("coverage", "density", "precision", "recall"):
            measures[name + suffix] = float(np.mean([getattr(one, name) for one in pair]))


def _copies(view: View, measures: Measures, skipped: dict[str, str], pictures: dict[str, Any]) -> None:
    """Distances to the nearest training item, of synthetic rows and of held-out real ones."""
    test = CopyTest.of(view)
    distances = test.distances(view.scaled(view.synthetic))
    duplication, expected = (float(test.near_copies(found).mean()) for found in (distances, test.held_out))
    surely = least_difference(duplication, len(distances), expected, len(test.held_out))
    copied, at_least = (more / max(1 - expected, 1e-9) for more in (duplication - expected, surely))
    typical = float(np.median(test.held_out))
    measures.update(
        held_out=test.described,
        duplication=duplication,
        duplication_expected=expected,
        copied_share=float(max(copied, 0.0)),
        copies=bool(at_least > MOST_COPIES),
        novelty=float(np.median(distances)) / typical if typical > 0 else None,
    )
    pictures.update(held_out_distances=test.held_out, synthetic_distances=distances, near=test.near)


def _returns(view: View, measures: Measures, skipped: dict[str, str], pictures: dict[str, Any]) -> None:
    """Of whole episodes."""
    measures.update(dict.fromkeys(("return_mean", "return_std", "return_mean_real", "return_std_real", "return_ks")))
    found = {}
    for key, demos in (("synthetic", view.made), ("real", view.recorded)):
        ended = [t for t in demos if t.terminated is not False or t.truncated is not False]
        if demos.kind == "transitions":
            skipped["returns"] = f"the {key} set is unrelated transitions"
        elif demos.returns is None:
            skipped["returns"] = f"the {key} set holds no rewards"
        elif not ended:
            skipped["returns"] = f"the {key} set is pieces of episodes: none of them ends"
        else:
            found[key] = np.asarray([t.total_reward for t in ended], dtype=np.float64)
            continue
        return
    made, real = found["synthetic"], found["real"]
    measures.update(
        return_mean=float(made.mean()),
        return_std=float(made.std()),
        return_mean_real=float(real.mean()),
        return_std_real=float(real.std()),
        return_ks=float(kolmogorov_smirnov(real[:, None], made[:, None])[0]),
    )
    pictures.update(real_returns=real, synthetic_returns=made)


def _origin(demos: Demonstrations) -> dict[str, Any]:
    return {
        "path": str(demos.path) if demos.path else None,
        "sha256": file_hash(demos.path) if demos.path else None,
        "kind": demos.kind,
        "trajectories": len(demos),
        "steps": demos.steps,
    }
