"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PLAIN_SECONDS = 15.0
"""How often a line is printed where there is no terminal."""


class ProgressBar:
    """``with ProgressBar("GAIL CartPole-v1", total=200_000) as bar: bar.update(step, return_mean=...)``.

    Writes to standard error, so that standard output stays machine-readable.
    """

    def __init__(self, title: str, total: int, *, unit: str = "steps", enabled: bool = True) -> None:
        self.title, self.total, self.unit, self.enabled = title, total, unit, enabled
        self._started = time.perf_counter()
        self._first_step: int | None = None
        self._last_line = 0.0
        self._bar: Progress | None = None
        if enabled and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[values]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(title, total=total, rate="", values="")

    def __enter__(self) -> ProgressBar:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, **values: float) -> None:
        """Show that ``step`` of the total is reached, with named ``values`` beside it."""
        now = time.perf_counter()
        if self._first_step is None:
            self._first_step, self._started, self._last_line = step, now, now
        if not self.enabled:
            return
        seconds = max(now - self._started, 1e-9)
        rate = (step - self._first_step) / seconds
        shown = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=min(step, self.total), rate=f"{rate:,.0f}/s", values=shown)
        elif now - self._last_line > _PLAIN_SECONDS or step >= self.total:
            self._last_line = now
            # Work that was done at the first look has no rate yet.
            pace = f"{rate:,.0f}/s  ETA {max(self.total - step, 0) / rate:.0f} s" if rate > 0 else ""
            said = filter(None, (f"{self.title}: {step:,}/{self.total:,} {self.unit}", pace, shown))
            print("  ".join(said), file=sys.stderr, flush=True)
