"""``gail audit SYNTHETIC --real DEMOS``: how far a synthetic set can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gail.cli.options import Common, default_out, parse, parse_kwargs, print_json, show
from gail.core.errors import InputError
from gail.core.files import is_unused
from gail.generators import AuditConfig, audit
from gail.report.audit import audit_report, audit_table


@dataclass(frozen=True)
class Arguments:
    """Compare a synthetic set with real data and with the simulator; exit status 1 where too much of it is copied."""

    synthetic: tyro.conf.Positional[Path]
    """A demonstration file of any kind: episodes or transitions."""
    real: Path
    """Recorded demonstrations of the same environment."""
    train: Path | None = None
    """What the generator learned from; by default the file of --real."""
    out: Path | None = None
    """Folder of audit.html and audit.json; by default a new one in runs/."""
    env: str | None = None
    """The environment, where the files name none."""
    env_kwargs: str | None = None
    """What that environment was made with, as JSON."""
    audit: Annotated[AuditConfig, tyro.conf.arg(name="")] = field(default_factory=AuditConfig)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Audit, write the page, print the figures."""
    arguments = parse(Arguments, argv, prog="gail audit", description="Measure a synthetic set.")
    out = arguments.out or default_out("audit", arguments.synthetic.stem, "synthetic")
    if out.exists() and not (out.is_dir() and is_unused(out)):
        raise InputError(f"{out}: exists already; choose another --out")
    found = audit(
        arguments.synthetic,
        arguments.real,
        train=arguments.train,
        env_id=arguments.env,
        env_kwargs=parse_kwargs(arguments.env_kwargs),
        config=arguments.audit,
    )
    page = audit_report(found, out)
    show(audit_table(found), title=f"{arguments.synthetic} beside {arguments.real}")
    for check, reason in found.summary["skipped"].items():
        print(f"skipped, {check}: {reason}")
    if found.copies:
        print(
            f"NOT SYNTHETIC: about {found.summary['copied_share']:.0%} of the rows are copies of training items "
            f"(duplication {found.summary['duplication']:.1%}, of held-out rows "
            f"{found.summary['duplication_expected']:.1%})"
        )
    print(page)
    if arguments.common.json:
        print_json({**found.summary, "out": str(out)})
    return 1 if found.copies else 0
