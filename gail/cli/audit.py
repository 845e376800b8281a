"""``gail audit SYNTHETIC --real DEMOS``: how far a synthetic set can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from gail.cli.options import Common, default_out, parse, parse_kwargs, print_json, show
from gail.cli.reading import FileLayout
from gail.core.errors import InputError
from gail.core.files import is_unused
from gail.demos import Columns, Demonstrations, save_demos
from gail.demos.load import is_table
from gail.demos.save import require_name
from gail.generators import AuditConfig, FilterConfig, Filtered, audit, filter_synthetic
from gail.report.audit import audit_report, audit_table


@dataclass(frozen=True)
class Arguments:
    """Compare a synthetic set with real data and with the simulator; exit status 1 where too much of it is copied."""

    synthetic: tyro.conf.Positional[Path]
    """A demonstration file of any kind: episodes or transitions. Columns (below) are those of the tables among the
    files, the shift of actions is that of the recorded ones."""
    real: Path
    """Recorded demonstrations of the same environment."""
    train: Path | None = None
    """What the generator learned from; by default the file of --real."""
    out: Path | None = None
    """Folder of audit.html and audit.json; by default a new one in runs/."""
    png: bool = False
    """Also write each figure of the page as a PNG file."""
    keep: Path | None = None
    """Write the episodes (or transitions) that pass the filter to this file; must not exist yet."""
    filter: FilterConfig = field(default_factory=FilterConfig)
    """What passes, with --keep."""
    env: str | None = None
    """The environment, where the files name none."""
    env_kwargs: str | None = None
    """What that environment was made with, as JSON."""
    layout: Annotated[FileLayout, tyro.conf.arg(name="")] = field(default_factory=FileLayout)
    audit: Annotated[AuditConfig, tyro.conf.arg(name="")] = field(default_factory=AuditConfig)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Audit, write the page, print the figures."""
    arguments = parse(Arguments, argv, prog="gail audit", description="Measure a synthetic set.")
    out = arguments.out or default_out("audit", arguments.synthetic.stem, "synthetic")
    if out.exists() and not (out.is_dir() and is_unused(out)):
        raise InputError(f"{out}: exists already; choose another --out")
    if arguments.keep is not None:
        if arguments.keep.exists():
            raise InputError(f"{arguments.keep}: exists already; choose another --keep")
        require_name(arguments.keep)
    env: dict[str, Any] = {"env_id": arguments.env, "env_kwargs": parse_kwargs(arguments.env_kwargs)}
    layout, files = arguments.layout, (arguments.synthetic, arguments.real, arguments.train)
    if layout.columns != Columns() and not any(is_table(file) for file in files if file is not None):
        raise InputError("--columns: none of the files is a table (npy, csv, jsonl)")
    real = layout.among(arguments.real).load(arguments.real, **env)
    train = None if arguments.train is None else layout.among(arguments.train).load(arguments.train, **env)
    # Read in blocks where it is large, which tables are not.
    synthetic: Path | Demonstrations = arguments.synthetic
    if is_table(arguments.synthetic):
        synthetic = replace(layout, action_shift=0).load(arguments.synthetic, **env)
    sets: dict[str, Any] = {"train": train, **env}
    kept = None
    if arguments.keep is not None:
        kept = filter_synthetic(synthetic, real, config=arguments.filter, audit=arguments.audit, **sets)
    found = audit(synthetic, real, config=arguments.audit, **sets)
    page = audit_report(found, out, png=arguments.png)
    show(audit_table(found), title=f"{arguments.synthetic} beside {arguments.real}")
    steps, rows = found.summary["synthetic"]["steps"], found.summary["rows_synthetic"]
    if rows < steps:
        print(f"of the {steps:,} steps of {arguments.synthetic}, {rows:,} drawn at random were compared (--rows)")
    for check, reason in found.summary["skipped"].items():
        print(f"skipped, {check}: {reason}")
    if found.copies:
        print(
            f"NOT SYNTHETIC: about {found.summary['copied_share']:.0%} of the rows are copies of training items "
            f"(duplication {found.summary['duplication']:.1%}, of held-out rows "
            f"{found.summary['duplication_expected']:.1%})"
        )
    print(page)
    said = {**found.summary, "out": str(out)}
    if kept is not None and arguments.keep is not None:
        print(_sentence(kept, arguments.keep))
        if kept.demos.trajectories:
            save_demos(kept.demos, arguments.keep)
        said["filter"] = kept.summary
    if arguments.common.json:
        print_json(said)
    return 1 if found.copies else 0


def _sentence(kept: Filtered, path: Path) -> str:
    """How many were kept, and why the others were not."""
    summary = kept.summary
    unit = "transitions" if kept.demos.kind == "transitions" else "episodes"
    reasons = {
        "dynamics": f"dynamics error above {summary['max_error']:.3g}",
        "copies": "near-copies",
        "unreal": f"less real than all but {summary['least_real']:.0%} of recorded rows",
    }
    dropped = [f"{count:,} {reasons[name]}" for name, count in summary["dropped"].items() if count is not None]
    text = f"{path}: kept {summary['kept']:,} of {summary['trajectories']:,} {unit}; dropped: {', '.join(dropped)}"
    text += " (one may fail several checks)"
    if summary["unchecked"]:
        text += f"; {summary['unchecked']:,} could not be played in the simulator"
    return text if summary["kept"] else f"{text}; nothing was written"
