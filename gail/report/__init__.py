"""Floor 4: what runs show. Tables, figures, pages and videos.

Names are imported on first use: a table for the terminal needs no plotting library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gail.report.agents_video import groups_video as groups_video
    from gail.report.asked_returns import asked_returns_picture as asked_returns_picture
    from gail.report.load import Run as Run
    from gail.report.load import load_run as load_run
    from gail.report.load import load_runs as load_runs
    from gail.report.page import build_report as build_report
    from gail.report.suite import suite_report as suite_report
    from gail.report.table import ComparisonTable as ComparisonTable
    from gail.report.table import comparison_table as comparison_table
    from gail.report.video import comparison_video as comparison_video
    from gail.report.video import policy_video as policy_video

_HOMES = {
    "ComparisonTable": "table",
    "Run": "load",
    "asked_returns_picture": "asked_returns",
    "build_report": "page",
    "comparison_table": "table",
    "comparison_video": "video",
    "groups_video": "agents_video",
    "load_run": "load",
    "load_runs": "load",
    "policy_video": "video",
    "suite_report": "suite",
}

__all__ = [
    "ComparisonTable",
    "Run",
    "asked_returns_picture",
    "build_report",
    "comparison_table",
    "comparison_video",
    "groups_video",
    "load_run",
    "load_runs",
    "policy_video",
    "suite_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
