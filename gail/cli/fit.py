"""``gail fit KIND --data PATH``: trains a generative model."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from gail.cli.options import Common, default_out, flag_value, parse, print_json, settings_from_file, show
from gail.cli.reading import Reading
from gail.core.errors import InputError
from gail.demos import Demonstrations
from gail.generators import KINDS, DataConfig, FitConfig, TrainingConfig, fit, fit_recipe
from gail.generators.images import DIGITS

Model = TypeVar("Model")


@dataclass(frozen=True)
class Arguments(Generic[Model]):
    """Train a generator of any kind."""

    kind: tyro.conf.Positional[str]
    """The kind of generator; it comes first."""
    data: str
    """What to learn: demonstrations (a file, a folder, a local Minari id), a text, an IDX file, a folder of PNG files,
    a .npy of tokens, or `digits`."""
    model: Model
    """Hyperparameters of the kind."""
    out: Path | None = None
    """Run directory; must be new or empty. By default a fresh one under runs/."""
    seed: int = 0
    """Determines everything on CPU."""
    resume: bool = False
    """Go on with the run in OUT from its last checkpoint."""
    config: Path | None = None
    """A TOML file whose fields override the kind's settings; flags override both."""
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")] = field(default_factory=TrainingConfig)
    """How it is trained."""
    items: Annotated[DataConfig, tyro.conf.arg(name="")] = field(default_factory=DataConfig)
    """How the data becomes items."""
    reading: Annotated[Reading, tyro.conf.arg(name="")] = field(default_factory=Reading)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Train, print the table, return the exit status."""
    if argv[:1] in (["-h"], ["--help"]):
        print("usage: gail fit KIND --data PATH ...   (gail fit KIND --help tells more)\n")
        for name, kind in KINDS.items():
            print(f"  {name:<13}{kind.what}")
        return 0
    if not argv or argv[0].startswith("-"):
        raise InputError(f"the kind comes first: gail fit KIND --data PATH; kinds: {', '.join(KINDS)}")
    settings = fit_recipe(argv[0])
    file = flag_value(argv, "--config")
    if file is not None:
        settings = settings_from_file(settings, file)
    # A runtime type, for the flags: each kind has its own.
    generic: Any = Arguments
    form = generic[type(settings.model)]
    arguments: Arguments[Any] = parse(
        form,
        argv,
        prog="gail fit",
        description=f"Train a generator: {KINDS[argv[0]].what}.",
        default=Arguments(argv[0], tyro.MISSING, settings.model, training=settings.training, items=settings.data),
    )
    if arguments.resume and arguments.out is None:
        raise InputError("--resume: needs --out, the run directory to go on with")
    out = arguments.out or default_out("fit", Path(arguments.data).stem, arguments.kind)
    if arguments.out is None:
        # Known from the start, so that an interrupted run can be resumed.
        print(f"run directory: {out}", file=sys.stderr)
    data: str | Demonstrations = arguments.data
    if arguments.reading != Reading():
        if arguments.data == DIGITS or arguments.items.data_kind in ("images", "text", "tokens"):
            raise InputError(f"{data}: --env, --action-shift and --columns are for demonstrations")
        data = arguments.reading.load(arguments.data)
    result = fit(
        arguments.kind,
        data,
        config=FitConfig(arguments.model, arguments.training, arguments.items),
        seed=arguments.seed,
        out=out,
        resume=arguments.resume,
    )
    summary = result.summary
    names = ("kind", "data_kind", "items", "parameters", "steps", "wall_seconds", "steps_per_second")
    show([{name: summary[name] for name in names}], title=f"{arguments.data}")
    if summary["held_out"]:
        show([summary["held_out"]], title=f"on {summary['held_out_items']:,} held-out items")
    samples = out / "samples"
    print(f"run directory: {out}" + (f" (pictures of samples in {samples})" if samples.is_dir() else ""))
    if arguments.common.json:
        print_json({**summary, "out": str(out)})
    return 0
