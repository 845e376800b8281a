"""``gail report RUN...``: one self-contained HTML page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gail.cli.options import Common, parse, print_json
from gail.core.errors import InputError
from gail.report import build_report


@dataclass(frozen=True)
class Arguments:
    """Build one page from runs and fitted generators: table, curves, diagnostics, samples, provenance."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories of any environments, algorithms and kinds of generators."""
    out: Path = Path("report.html")
    """The page; must not exist yet."""
    title: str | None = None
    """The page's heading."""
    videos: tuple[Path, ...] = ()
    """Videos to embed (.mp4)."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Build the page, print its path, return the exit status."""
    arguments = parse(Arguments, argv, prog="gail report", description="Build one page from runs.")
    if not arguments.runs:
        raise InputError("no runs given: gail report RUN... [--out PAGE.html]")
    videos = {video.stem: video for video in arguments.videos}
    page = build_report(arguments.runs, arguments.out, title=arguments.title, videos=videos)
    print(page)
    if arguments.common.json:
        print_json({"page": str(page), "bytes": page.stat().st_size})
    return 0
