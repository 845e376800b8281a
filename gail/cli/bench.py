"""``gail bench throughput, learning, synthetic, replay``: the project's own measured tables, peers beside it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from gail.agents.expert import ExpertConfig, expert_recipe
from gail.agents.ppo import PPOConfig
from gail.cli import bench_envs, bench_generators, bench_learning, bench_replay, bench_synthetic
from gail.cli.bench_learning import DEMO_EPISODES, demo_file, table
from gail.cli.options import Common, parse, print_json, show, subcommand
from gail.cli.peers.setup import ensure_peer, run_peer
from gail.core.errors import InputError
from gail.core.files import write_text_atomic
from gail.imitation.recipes import ImitationConfig, recipe

PEER_STEPS = 65_536
"""Environment steps of a peer's timed run: four of its rounds; at its speed the recipe's steps would take an hour."""
PROBE_STEPS = 16_384
"""Environment steps of the runs that choose the peer's threads: one of its rounds."""
PEER_THREADS = (1, 2)
"""Numbers of torch threads that are tried with a peer."""

T = TypeVar("T", "Benchmark", bench_envs.EnvBenchmark, bench_generators.GeneratorBenchmark)

Side = Callable[[], Mapping[str, Any]]
"""One timed run; returns at least ``steps`` and ``steps_per_second``."""


@dataclass(frozen=True)
class Benchmark:
    """What one row compares."""

    name: Literal["GAIL", "PPO"]
    """The algorithm on both sides."""
    environment: str
    """What ours plays."""
    peer: Literal["imitation", "sb3"]
    """The peer's environment (see gail/cli/peers)."""
    script: str
    """The peer's script."""
    peer_environment: str
    """What the peer plays."""
    peer_settings: str
    """What the script fixes, for the notes."""
    target: float
    """The ratio of speeds to reach."""
    steps: int | None = None
    """Environment steps of every timed run, where the recipe's own would take hours."""
    threads: int | None = None
    """Tensor threads of ours, where not the recipe's."""

    @property
    def title(self) -> str:
        """What the row is called, and what ``--only`` looks at."""
        return f"{self.name} on {self.environment} vs {self.peer}"

    @property
    def config(self) -> ImitationConfig | ExpertConfig:
        """The recipe that ours runs."""
        return recipe(self.environment) if self.name == "GAIL" else expert_recipe(self.environment)


_IMITATION = (
    "the settings of imitation's tutorial: 8 environments, policy and critic apart, "
    "5 epochs in minibatches of 64, 8 discriminator updates of 1,024 expert rows per 16,384 steps"
)
_SB3 = "SB3's defaults: 8 environments, policy and critic apart, 10 epochs in minibatches of 64"
_SB3_ATARI = (
    "the Atari settings that SB3 documents: CnnPolicy in make_atari_env with 4 stacked frames, 8 environments, "
    "128 steps each per update, 4 epochs in minibatches of 256, learning rate 2.5e-4, clipping 0.1; equal on both "
    "sides are the network (Nature), the environments, the steps per update, the epochs and the minibatches; ours "
    "computes in bfloat16 where the processor has it, the peer in float32"
)
_ATARI_SCRIPT = "run_sb3_ppo_atari.py"
_GAIL_SCRIPT = "run_imitation_gail.py"

BENCHMARKS = (
    Benchmark("GAIL", "CartPole-v1", "imitation", _GAIL_SCRIPT, "CartPole-v1", _IMITATION, 30.0),
    Benchmark("GAIL", "Hopper-v5", "imitation", _GAIL_SCRIPT, "Hopper-v4", _IMITATION, 6.0),
    Benchmark("PPO", "CartPole-v1", "sb3", "run_sb3_ppo.py", "CartPole-v1", _SB3, 25.0),
    Benchmark(
        "PPO",
        "ALE/Pong-v5",
        "sb3",
        _ATARI_SCRIPT,
        "ALE/Pong-v5",
        _SB3_ATARI,
        5.0,
        steps=8_192,
        threads=2,
    ),
)


@dataclass(frozen=True)
class Arguments:
    """Training speed beside the peers', in turn on this machine; exit status 1 where a target is not met."""

    repeats: int = 3
    """Timed runs of each side; the row holds medians."""
    peers: Path | None = None
    """Folder of the peers' environments, built where missing. By default gail/peers in the user's cache."""
    steps: int | None = None
    """Environment steps of every timed run, for a quick look. By default the recipe's own; 65,536 for the peers."""
    demos_dir: Path | None = None
    """Folder of ENV.npz files; by default the bundled demonstrations."""
    out: Path | None = None
    """JSON file for the table; must not exist yet."""
    only: str | None = None
    """Only rows whose title contains this text, for example Hopper or PPO."""
    envs: bool = False
    """Instead of training, time environments alone: MuJoCo's, at 8 and 64 environments."""
    generators: bool = False
    """Instead of policies, train generators, each beside a plain loop of the same network."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Find the table, measure it and return the exit status."""
    tables = {"learning": bench_learning.run, "synthetic": bench_synthetic.run, "replay": bench_replay.run}
    return subcommand(argv, "bench", {"throughput": _throughput, **tables})


def _throughput(argv: list[str]) -> int:
    arguments = parse(Arguments, argv, prog="gail bench throughput", description="Training speed beside the peers'.")
    for name, value in (("repeats", arguments.repeats), ("steps", arguments.steps)):
        if value is not None and value < 1:
            raise InputError(f"--{name}: {value}, expected at least 1")
    if arguments.out is not None and arguments.out.exists():
        raise InputError(f"{arguments.out}: exists already; choose another --out")
    rows = _rows(arguments)
    data = table(rows)
    hidden = ("notes", "measurements")
    show([{key: value for key, value in row.items() if key not in hidden} for row in rows], title=data["hardware"])
    for line in dict.fromkeys(f"{row['benchmark']} on {row['environment']}: {row['notes']}" for row in rows):
        print(line)
    if arguments.out is not None:
        write_text_atomic(arguments.out, json.dumps(data, indent=2) + "\n")
    if arguments.common.json:
        print_json(data)
    return 1 if any(row["met"] is False for row in rows) else 0


def _rows(arguments: Arguments) -> list[dict[str, Any]]:
    if arguments.envs and arguments.generators:
        raise InputError("--envs --generators: expected one of them")
    if not arguments.envs and not arguments.generators:
        return _training_rows(arguments)
    for name, value in (("steps", arguments.steps), ("demos-dir", arguments.demos_dir)):
        if value is not None:
            flag = "--envs" if arguments.envs else "--generators"
            raise InputError(f"--{name}: {value}, but {flag} has its own")
    return _env_rows(arguments) if arguments.envs else _generator_rows(arguments)


def _generator_rows(arguments: Arguments) -> list[dict[str, Any]]:
    chosen = _chosen(arguments.only, bench_generators.GENERATOR_BENCHMARKS)
    return [bench_generators.generator_row(b, repeats=arguments.repeats) for b in chosen]


def _env_rows(arguments: Arguments) -> list[dict[str, Any]]:
    chosen = _chosen(arguments.only, bench_envs.ENV_BENCHMARKS)
    envpool = ensure_peer("envpool", arguments.peers or _peers_folder())
    return [row for b in chosen for row in bench_envs.env_rows(b, envpool, repeats=arguments.repeats)]


def _training_rows(arguments: Arguments) -> list[dict[str, Any]]:
    chosen = _chosen(arguments.only, BENCHMARKS)
    demos = {b: demo_file(b.environment, arguments.demos_dir) if b.name == "GAIL" else None for b in chosen}
    root = arguments.peers or _peers_folder()
    pythons = {peer: ensure_peer(peer, root) for peer in dict.fromkeys(b.peer for b in chosen)}
    return [
        throughput_row(b, demos[b], pythons[b.peer], repeats=arguments.repeats, steps=arguments.steps) for b in chosen
    ]


def _chosen(text: str | None, benchmarks: Sequence[T]) -> list[T]:
    """The benchmarks whose title contains ``text``."""
    chosen = [b for b in benchmarks if (text or "").lower() in b.title.lower()]
    if not chosen:
        raise InputError(f"--only: {text!r} is in none of: {'; '.join(b.title for b in benchmarks)}")
    return chosen


def _peers_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "gail" / "peers"


def throughput_row(
    benchmark: Benchmark, demos: Path | None, python: Path, *, repeats: int, steps: int | None
) -> dict[str, Any]:
    """Choose the peer's threads, time both sides in turn and say how it was done.

    Args:
        benchmark: what is compared.
        demos: the demonstrations of both sides; None where they learn from the true reward.
        python: the interpreter of the peer's environment.
        repeats: timed runs of each side.
        steps: environment steps of every timed run; None takes each side's own.

    Returns:
        The row of :func:`compare` with ``notes``.

    Raises:
        InputError: where a run fails.
    """
    steps = steps or benchmark.steps
    ours, theirs = our_words(benchmark, demos, steps), _peer_words(benchmark, demos)

    def peer(threads: int, count: int) -> dict[str, Any]:
        return run_peer(python, benchmark.script, [*theirs, "--threads", str(threads), "--steps", str(count)])

    _tell(f"{benchmark.title}: choosing the peer's threads")
    probes = {
        threads: peer(threads, min(PROBE_STEPS, steps or PROBE_STEPS))["steps_per_second"] for threads in PEER_THREADS
    }
    threads = max(probes, key=lambda count: probes[count])
    row = compare(benchmark, lambda: _run_ours(ours), lambda: peer(threads, steps or PEER_STEPS), repeats=repeats)
    return {**row, "notes": notes(benchmark, demos, row["measurements"][0], probes)}


def compare(benchmark: Benchmark, ours: Side, peer: Side, *, repeats: int) -> dict[str, Any]:
    """Run both sides in turn and take medians, so that both pay for what else the machine does meanwhile.

    Returns:
        A row with the keys ``benchmark, environment, ours_steps_per_second, peer, peer_steps_per_second, ratio``
        (median of the ratios of neighbouring runs)``, target, met, measurements`` (every single pair).
    """
    pairs: list[dict[str, Any]] = []
    name = benchmark.peer
    for number in range(1, repeats + 1):
        _tell(f"{benchmark.title} [{number}/{repeats}]: ours is running")
        mine = ours()
        speed = mine["steps_per_second"]
        _tell(f"{benchmark.title} [{number}/{repeats}]: ours {speed:,.0f} steps/s; the peer is running")
        theirs = peer()
        name = theirs.get("peer", name)
        pairs.append(
            {
                "ours_steps": mine["steps"],
                "ours_steps_per_second": speed,
                # What the timed runs learned: the speed is that of settings that learn.
                "ours_return_mean": mine.get("return_mean"),
                "ours_normalized_return": mine.get("normalized_return"),
                "peer_steps": theirs["steps"],
                "peer_steps_per_second": theirs["steps_per_second"],
                "ratio": speed / theirs["steps_per_second"],
            }
        )
        _tell(f"{benchmark.title} [{number}/{repeats}]: {name} {theirs['steps_per_second']:,.0f} steps/s")
    same = benchmark.environment == benchmark.peer_environment
    ratio = statistics.median(pair["ratio"] for pair in pairs)
    return {
        "benchmark": benchmark.name,
        "environment": benchmark.environment + ("" if same else f" (peer: {benchmark.peer_environment})"),
        "ours_steps_per_second": statistics.median(pair["ours_steps_per_second"] for pair in pairs),
        "peer": name,
        "peer_steps_per_second": statistics.median(pair["peer_steps_per_second"] for pair in pairs),
        "ratio": ratio,
        "target": benchmark.target,
        "met": ratio >= benchmark.target,
        "measurements": pairs,
    }


def notes(benchmark: Benchmark, demos: Path | None, pair: Mapping[str, Any], probes: Mapping[int, float]) -> str:
    """How a row was measured, in words, from the settings themselves.

    Args:
        benchmark: what is compared.
        demos: the demonstrations of both sides, where there are any.
        pair: one entry of ``measurements``.
        probes: the peer's speed in its short run, by number of threads.
    """
    config, ppo = benchmark.config, _ppo(benchmark.config)
    images = benchmark.script == _ATARI_SCRIPT
    critic = "sharing their hidden layers" if ppo.shared else "apart"
    networks = f"policy and critic {_widths(ppo.hidden)} {critic}"
    if images:
        networks = f"policy and critic on one {ppo.pixels.trunk} trunk"
    cores = benchmark.threads or config.threads
    ours = (
        f"ours: the recipe of {_words(benchmark)}, {pair['ours_steps']:,} steps in a run directory as users get it, "
        f"timed by its wall_seconds, {config.num_envs} environments, {cores} thread(s), {networks}"
    )
    if isinstance(config, ImitationConfig):
        judge = config.gail.discriminator
        ours += f", discriminator {_widths(judge.hidden)}, {judge.updates_per_round} updates of {judge.batch_size} "
        ours += f"expert rows per {ppo.horizon * config.num_envs:,} steps"
    ours += f", {ppo.epochs} epochs in minibatches of {ppo.minibatch_size}"
    threads = max(probes, key=lambda count: probes[count])
    tried = ", ".join(f"{count}: {speed:,.0f} steps/s" for count, speed in probes.items())
    widths = "" if images else f"; all its networks {_widths(ppo.hidden)}"
    peer = (
        f"peer: {benchmark.peer_settings}{widths}, {pair['peer_steps']:,} steps after "
        f"an untimed warm-up, {threads} thread(s) (tried in a short run, {tried})"
    )
    both = [] if demos is None else [f"both learn from the first {DEMO_EPISODES} episodes of {demos.name}"]
    if benchmark.environment != benchmark.peer_environment:
        both.append(f"ours plays {benchmark.environment}, the peer {benchmark.peer_environment}, the newest it knows")
    return "; ".join([ours, peer, *both])


def our_words(benchmark: Benchmark, demos: Path | None, steps: int | None) -> list[str]:
    """The command line of ours after ``gail``, without its run directory."""
    words = _words(benchmark).split()[1:]
    if demos is not None:
        words += ["--demos", str(demos), "--demo-episodes", str(DEMO_EPISODES)]
    if benchmark.threads is not None:
        words += ["--threads", str(benchmark.threads)]
    return words if steps is None else [*words, "--steps", str(steps)]


def _words(benchmark: Benchmark) -> str:
    return f"gail {'train' if benchmark.name == 'GAIL' else 'expert'} {benchmark.environment}"


def _peer_words(benchmark: Benchmark, demos: Path | None) -> list[str]:
    """The peer script's arguments but threads and steps; its networks are as wide as ours."""
    words = ["--env", benchmark.peer_environment]
    if benchmark.script != _ATARI_SCRIPT:
        words += ["--hidden", *(str(width) for width in _ppo(benchmark.config).hidden)]
    return words if demos is None else [*words, "--demos", str(demos), "--episodes", str(DEMO_EPISODES)]


def _run_ours(words: list[str]) -> dict[str, Any]:
    """One run as users start it, in a process and a run directory of its own; returns its summary."""
    with tempfile.TemporaryDirectory(prefix="gail-bench-") as folder:
        command = [sys.executable, "-m", "gail", *words, "--out", str(Path(folder) / "run"), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it printed nothing"]
        raise InputError(f"gail {' '.join(words)}: status {done.returncode}: {said[-1]}")
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def _ppo(config: ImitationConfig | ExpertConfig) -> PPOConfig:
    return config.gail.ppo if isinstance(config, ImitationConfig) else config.ppo


def _widths(hidden: tuple[int, ...]) -> str:
    return "-".join(str(width) for width in hidden)


def _tell(text: str) -> None:
    print(f"bench throughput: {text}", file=sys.stderr, flush=True)
