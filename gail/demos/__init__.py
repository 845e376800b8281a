"""Floor 1: what experts did. Trajectories, transitions, files in and out, checks."""

from __future__ import annotations

from gail.demos.bundled import bundled_demos
from gail.demos.check import check_demos, inspect_demos
from gail.demos.columns import Columns
from gail.demos.findings import RULES, CheckReport, Finding, SkippedCheck
from gail.demos.info import describe, file_hash
from gail.demos.join import join_demos
from gail.demos.load import load_demos
from gail.demos.save import save_demos
from gail.demos.types import Demonstrations, Trajectory, Transitions, to_transitions

__all__ = [
    "RULES",
    "CheckReport",
    "Columns",
    "Demonstrations",
    "Finding",
    "SkippedCheck",
    "Trajectory",
    "Transitions",
    "bundled_demos",
    "check_demos",
    "describe",
    "file_hash",
    "inspect_demos",
    "join_demos",
    "load_demos",
    "save_demos",
    "to_transitions",
]
