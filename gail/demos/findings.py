"""What a check reports: defects found, and checks that could not be made."""

from __future__ import annotations

from dataclasses import dataclass

RULES = {
    "unreadable": "a field is missing, damaged, pickled or of the wrong kind",
    "row-counts": "observations, actions, rewards or lengths do not fit each other (T + 1 against T)",
    "not-finite": "NaN or infinity",
    "wrong-shape": "rows are not shaped like the environment's spaces",
    "wrong-dtype": "rows are not of the kind (float, integer, byte) of the environment's spaces",
    "outside-space": "values beyond the environment's bounds",
    "duplicate-episodes": "an episode is recorded twice",
    "steps-after-termination": "an episode goes on after its task was over",
    "cut-without-truncated": "an episode stops with neither end flag set",
    "wrong-end-flag": "an end flag contradicts the last state",
    "environment-mismatch": "made in another environment, version or with other arguments",
    "zero-returns": "no reward anywhere",
    "shifted-actions": "row t holds the action that led to row t, not the one taken in it",
    "impossible-steps": "a successor that the environment does not produce",
}
"""Every rule by name, and the defect that it finds."""


@dataclass(frozen=True)
class Finding:
    """One defect."""

    rule: str
    """A key of :data:`RULES`."""
    episode: int | None
    """Which episode, counted from 0; None for the whole set."""
    message: str
    """What was found and what was expected, in one line."""


@dataclass(frozen=True)
class SkippedCheck:
    """A rule that was not (or not fully) applied."""

    rule: str
    """A key of :data:`RULES`."""
    reason: str
    """Why, in one line."""


@dataclass(frozen=True)
class CheckReport:
    """Everything that a check has to say."""

    findings: tuple[Finding, ...]
    """The defects; empty where the set is sound as far as it was checked."""
    skipped: tuple[SkippedCheck, ...]
    """What was not checked."""
