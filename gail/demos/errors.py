"""The input error that also names the rule of :mod:`gail.demos.check` that the file breaks."""

from __future__ import annotations

from gail.core.errors import InputError

UNREADABLE = "unreadable"
ROW_COUNTS = "row-counts"
STEPS_AFTER_TERMINATION = "steps-after-termination"


class DemosError(InputError):
    """A demonstration file that no reader can turn into trajectories."""

    def __init__(self, message: str, rule: str = UNREADABLE) -> None:
        super().__init__(message)
        self.rule = rule
