"""``gail bench synthetic``: training on real and synthetic data beside training on the real data alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from gail.agents.evaluate import random_return
from gail.cli.bench_learning import demo_file, table
from gail.cli.options import Common, default_out, parse, print_json, show
from gail.cli.paired import ends, paired_scores
from gail.core.errors import InputError
from gail.core.files import write_text_atomic
from gail.core.rundir import open_run, strict_json
from gail.demos import Demonstrations, join_demos, load_demos, save_demos
from gail.demos.info import file_hash
from gail.demos.origin import expert_return
from gail.demos.types import single_steps, to_transitions
from gail.envs import may_be, resolve_env
from gail.generators import AuditConfig, FilterConfig, audit, filter_synthetic, fit, sample
from gail.generators.audit import NOISE
from gail.imitation import ImitationConfig, imitate, recipe
from gail.imitation.imitate import Scale
from gail.imitation.recipes import AlgoName

ARMS = ("real", "real + noise", "real + synthetic", "real + filtered", "real + more real")
"""What is learned from; the first is what the others are compared with. Noise needs no generator: what it gains is no
merit of one. The last learns from the file's next episodes too, where there are any, about as many steps as the
synthetic ones: where those do not help, no generator can be expected to."""
AUDIT_ROWS = 2_000
_FIGURES = (
    "dynamics_error",
    "dynamics_error_median",
    "persistence_error",
    "linear_error",
    "auc",
    "auc_noise5",
    "coverage",
    "precision",
    "novelty",
    "duplication",
)
"""Of the audit, that the table shows."""


@dataclass(frozen=True)
class Arguments:
    """Fit a generator on a few real episodes, sample and filter it, and train on real, real + noise, real + synthetic,
    real + filtered and, where the file holds more, real + more real data with equal steps and paired seeds, reusing the
    runs that are there.
    """

    env: tyro.conf.Positional[str]
    """What is played."""
    demos: Path | None = None
    """The expert's demonstrations; by default the bundled ones. All of them together scale the scores."""
    episodes: int = 1
    """Learn from the first so many episodes."""
    algo: AlgoName = "bc"
    """How the policies learn."""
    seeds: int = 5
    """Seeds 0, 1, ...: of the generator, its samples and the policies."""
    synthetic: int = 5_000
    """Synthetic transitions per seed, and as many real ones with noise on the states."""
    kind: str = "diffusion"
    """The kind of generator."""
    fit_steps: int = 2_000
    """Training steps of the generator, of 256 transitions each."""
    steps: int | None = None
    """Steps of every policy: gradient steps (bc) or environment steps (gail); by default the recipe's."""
    evaluation_episodes: int = 50
    """Episodes with deterministic actions after training."""
    out: Path | None = None
    """Folder of all runs; the same one goes on after a stop. By default a fresh one under runs/."""
    filter: FilterConfig = field(default_factory=FilterConfig)
    """What filtered rows keep to."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)

    def __post_init__(self) -> None:
        for name in ("episodes", "seeds", "synthetic", "fit_steps", "evaluation_episodes"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')}: {getattr(self, name)}, expected at least 1")


def run(argv: list[str]) -> int:
    """Train every arm with every seed and print the table."""
    arguments = parse(Arguments, argv, prog="gail bench synthetic", description="Does synthetic data help?")
    path = arguments.demos or demo_file(arguments.env, None)
    demos = load_demos(path)
    if not may_be(resolve_env(arguments.env)[0], demos.env_id):
        raise InputError(f"{path}: env_id is {demos.env_id!r}, expected {arguments.env!r}")
    expert = expert_return(demos)
    if demos.kind != "episodes" or expert is None:
        raise InputError(f"{path}: expected recorded episodes with rewards, by which scores are normalized")
    if arguments.episodes > len(demos):
        raise InputError(f"--episodes: {arguments.episodes}, but {path} holds {len(demos)}")
    scale = Scale(random_return(arguments.env, demos.env_kwargs).interval.mean, expert)
    if expert <= scale.random:
        raise InputError(
            f"{path}: its mean return is {expert:.4g}, expected more than random play's {scale.random:.4g}"
        )
    out = arguments.out or default_out("bench", arguments.env, f"synthetic-{arguments.algo}")
    if arguments.out is None:
        print(f"runs: {out}", file=sys.stderr, flush=True)
    settings = {k: v for k, v in asdict(arguments).items() if k not in ("out", "common", "seeds", "demos")}
    settings["demos_sha256"] = file_hash(path)
    open_run(out, {"run": {"verb": "bench synthetic", **settings}}, resume=True, provenance={"demos": str(path)})
    real_file = out / "real.npz"
    real = load_demos(save_demos(replace(demos.first(arguments.episodes), path=None), real_file, overwrite=True))
    more = more_episodes(demos, arguments.episodes, arguments.synthetic)
    found = [_seed(arguments, real, more, scale, seed, out / f"seed-{seed}") for seed in range(arguments.seeds)]
    rows, audits = score_rows(found), audit_rows(found)
    title = f"{arguments.env}, {arguments.algo}, {arguments.episodes} real episode(s), {arguments.seeds} seeds"
    show(rows, title=f"{title}: normalized score of deterministic actions")
    show(audits, title="the synthetic sets, means over seeds")
    print(f"run directories: {out}  (gail bench synthetic --out {out} goes on with them)")
    data = {**table(rows), "audit": audits, "per_seed": found}
    write_text_atomic(out / "synthetic.json", json.dumps(strict_json(data), indent=2) + "\n")
    if arguments.common.json:
        print_json(data)
    return 0


def score_rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per arm: mean score, and the mean of its difference to real data alone, seed by seed.

    Args:
        found: of each seed: ``scores`` (by arm), ``transitions`` (by arm).

    Returns:
        Rows with the keys ``learned_from, transitions`` (mean over seeds)``, normalized, 95%_interval, difference,
        difference_interval, seeds``; intervals are Student's t, None with one seed; the first arm has no difference.
    """
    rows = []
    arms = tuple(found[0]["scores"])
    paired = paired_scores([seed["scores"] for seed in found], arms)
    for arm in arms:
        gain = paired[arm].gain
        rows.append(
            {
                "learned_from": arm,
                "transitions": sum(seed["transitions"][arm] for seed in found) / len(found),
                "normalized": paired[arm].score.mean,
                "95%_interval": ends(paired[arm].score),
                "difference": None if gain is None else gain.mean,
                "difference_interval": ends(gain),
                "seeds": len(found),
            }
        )
    return rows


def audit_rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds of the audit's figures, and of the shares that the filter kept and dropped."""
    rows: list[dict[str, Any]] = []
    for name in found[0]["audit"]:
        values = [seed["audit"][name] for seed in found if seed["audit"][name] is not None]
        rows.append({"figure": name, "mean": sum(values) / len(values) if values else None})
    return rows


def _seed(
    arguments: Arguments, real: Demonstrations, more: Demonstrations | None, scale: Scale, seed: int, out: Path
) -> dict[str, Any]:
    """One generator, its samples, and a policy of every arm; what is in ``out`` already is not made again."""
    note = out / "seed.json"
    if note.is_file():
        done: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        return done
    made = _synthetic(arguments, real, seed, out)
    audited = audit(made, real, config=AuditConfig(rows=AUDIT_ROWS, seed=seed)).summary
    kept = filter_synthetic(made, real, config=arguments.filter, audit=AuditConfig(seed=seed))
    shares = {f"dropped_{name}": count for name, count in kept.summary["dropped"].items()}
    shares = {name: None if count is None else count / len(made) for name, count in shares.items()}
    figures = {name: audited[name] for name in _FIGURES} | {"kept": len(kept.demos) / len(made)} | shares
    config = _settings(arguments)
    scores, transitions = {}, {}
    added = [noised(real, arguments.synthetic, seed), made, kept.demos]
    if more is not None:
        added.append(more)
    # The last arm has no data where the file holds no more.
    for arm, data in zip(ARMS, (real, *(join_demos([real, other]) for other in added)), strict=False):
        folder = out / arm.replace(" + ", "-and-").replace(" ", "-")
        summary = imitate(
            arguments.env, data, config=config, seed=seed, out=folder, resume=True, scale=scale, progress=False
        ).summary
        scores[arm] = summary["normalized_return"]
        transitions[arm] = data.steps
        print(f"bench synthetic: seed {seed}, {arm}: {scores[arm]:.3f}", file=sys.stderr, flush=True)
    result = {"seed": seed, "scores": scores, "transitions": transitions, "audit": figures}
    write_text_atomic(note, json.dumps(strict_json(result), indent=2) + "\n")
    return result


def more_episodes(demos: Demonstrations, episodes: int, steps: int) -> Demonstrations | None:
    """The fewest episodes after the first ``episodes`` that hold ``steps`` steps, all where they hold fewer; None where
    there are none.
    """
    held = np.cumsum([len(trajectory) for trajectory in demos.trajectories[episodes:]])
    if len(held) == 0:
        return None
    count = int(np.searchsorted(held, steps)) + 1
    return replace(demos, trajectories=demos.trajectories[episodes : episodes + count], path=None)


def noised(real: Demonstrations, count: int, seed: int) -> Demonstrations:
    """Steps of ``real``, drawn with replacement, their states moved by the noise of the audit's anchor (integer states
    stay), their actions as recorded: what data augmentation gives without a model.
    """
    rng = np.random.default_rng(seed)
    rows = to_transitions(real)
    drawn = rows[torch.from_numpy(rng.integers(len(rows), size=count))]
    if drawn.obs.is_floating_point():
        shape = (count, 2, *drawn.obs.shape[1:])
        noise = torch.from_numpy(NOISE * rows.obs.numpy().std(axis=0) * rng.standard_normal(shape))
        moved = [(x + noise[:, place]).to(x.dtype) for place, x in enumerate((drawn.obs, drawn.next_obs))]
        drawn = replace(drawn, obs=moved[0], next_obs=moved[1])
    return replace(
        real,
        trajectories=single_steps(drawn),
        kind="transitions",
        generator={"kind": "noise", "seed": seed, "spread": NOISE},
        path=None,
    )


def _synthetic(arguments: Arguments, real: Demonstrations, seed: int, out: Path) -> Demonstrations:
    file = out / "synthetic.npz"
    if not file.exists():
        model = fit(
            arguments.kind,
            real,
            seed=seed,
            out=out / "generator",
            resume=True,
            progress=False,
            steps=arguments.fit_steps,
            batch_size=256,
            data_kind="transitions",
            previews=0,
        )
        sample(model, transitions=arguments.synthetic, seed=seed, out=file)
    return load_demos(file)


def _settings(arguments: Arguments) -> ImitationConfig:
    """The environment's recipe with the steps that were asked for."""
    config = recipe(arguments.env)
    config = replace(config, algo=arguments.algo, evaluation_episodes=arguments.evaluation_episodes)
    if arguments.steps is None:
        return config
    if arguments.algo == "bc":
        return replace(config, bc=replace(config.bc, steps=arguments.steps))
    return replace(config, steps=arguments.steps)
