"""Experts: reinforcement learning on the true reward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch

from gail.agents.dqn import DQN, DQNConfig
from gail.agents.evaluate import Evaluation, evaluate_in, random_return
from gail.agents.off_policy import OffPolicy
from gail.agents.policy import ActorCritic, NetworkPolicy, new_policy, save_policy
from gail.agents.ppo import PPO, PPOConfig
from gail.agents.q_policy import QPolicy
from gail.agents.rollout import Collector
from gail.agents.sac import SAC, SACConfig
from gail.agents.squashed_policy import SquashedGaussianPolicy
from gail.agents.summary import conclude
from gail.agents.synthetic import MakeSynthesizer, Synthesizer, SyntheticConfig, require_vectors
from gail.core.config import parse_json_object
from gail.core.device import resolve_device, use_threads
from gail.core.engine import Turn, train
from gail.core.errors import InputError
from gail.core.player import Player
from gail.core.random import derive_seed, make_generator, seeded_initialization
from gail.core.rundir import open_run
from gail.envs import EnvLike, env_text, open_vec, resolve_env
from gail.envs.gym_async import check_restarts
from gail.envs.vec import VecEnv
from gail.envs.worker_options import WorkerOptions

if TYPE_CHECKING:
    from gail.agents.sb3_train import SB3Training

SB3_ALGORITHMS = ("sb3:A2C", "sb3:DDPG", "sb3:DQN", "sb3:PPO", "sb3:SAC", "sb3:TD3")
"""Those of Stable-Baselines3."""
OWN_ALGORITHMS = ("ppo", "dqn", "sac")
"""Those of this package, each with a field of :class:`ExpertConfig`."""
ALGORITHMS = (*OWN_ALGORITHMS, *SB3_ALGORITHMS)
"""The learners."""


@dataclass(frozen=True)
class ExpertConfig:
    """What `gail expert` does."""

    algo: str = "ppo"
    """The learner: ppo, dqn (discrete actions), sac (bounded continuous actions), or one of Stable-Baselines3: sb3:PPO,
    A2C, DQN, SAC, TD3, DDPG."""
    steps: int = 1_000_000
    """Environment steps."""
    num_envs: int = 16
    """Environments stepped together."""
    backend: str = "auto"
    """How environments are vectorized: auto, native, mujoco, sync, async or vector_entry_point."""
    device: str = "cpu"
    """Where networks and tensors live: cpu, cuda, cuda:1, ..."""
    threads: int = 1
    """Threads of each tensor operation on the processor."""
    evaluation_episodes: int = 50
    """Episodes with deterministic actions after training."""
    clip_rewards: bool = False
    """Learn from the sign of each reward (Mnih et al. 2015); returns are always those of the true reward."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """PPO's hyperparameters."""
    dqn: DQNConfig = field(default_factory=DQNConfig)
    """DQN's hyperparameters."""
    sac: SACConfig = field(default_factory=SACConfig)
    """SAC's hyperparameters."""
    sb3_kwargs: str = "{}"
    """Keyword arguments of the algorithm of Stable-Baselines3, as JSON, for example '{"n_steps": 256}' (sb3:NAME)."""

    def __post_init__(self) -> None:
        if self.algo not in ALGORITHMS:
            raise InputError(f"--algo: {self.algo!r} is unknown; expected one of {', '.join(ALGORITHMS)}")
        if self.sb3_kwargs != "{}" and self.algo not in SB3_ALGORITHMS:
            raise InputError(f"--sb3-kwargs: given with --algo {self.algo}, expected --algo sb3:NAME")
        parse_json_object("--sb3-kwargs", self.sb3_kwargs)
        for name in ("steps", "num_envs", "threads", "evaluation_episodes"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')}: {getattr(self, name)}, expected at least 1")


_RECIPES: dict[str, ExpertConfig] = {
    "CartPole-v1": ExpertConfig(
        steps=491_520,
        num_envs=128,
        ppo=PPOConfig(horizon=32, learning_rate=3e-3, epochs=2, minibatch_size=512, activation="relu", shared=True),
    ),
    "Pendulum-v1": ExpertConfig(
        steps=300_000,
        num_envs=16,
        ppo=PPOConfig(horizon=200, learning_rate=1e-3, gamma=0.9, minibatch_size=320),
    ),
    "Hopper-v5": ExpertConfig(
        steps=2_000_000,
        num_envs=64,
        ppo=PPOConfig(horizon=64, learning_rate=1e-3, epochs=8, minibatch_size=512),
    ),
}

# Short episodes with dense rewards and many agents.
MPE_PPO = PPOConfig(
    horizon=50, learning_rate=1e-3, gamma=0.9, gae_lambda=0.9, epochs=8, minibatch_size=480, activation="relu"
)
_MPE = ExpertConfig(steps=250_000, num_envs=32, ppo=MPE_PPO)

# The published settings (Schulman et al. 2017, table 5, with the learning rate and minibatches of its reference code).
_ATARI = ExpertConfig(
    steps=10_000_000,
    num_envs=8,
    evaluation_episodes=30,
    clip_rewards=True,
    ppo=PPOConfig(horizon=128, learning_rate=2.5e-4, epochs=4, minibatch_size=256, clip=0.1, entropy_coef=0.01),
)
_SAC = ExpertConfig(algo="sac", steps=1_000_000, num_envs=8)
_DQN = ExpertConfig(algo="dqn", steps=100_000, num_envs=8)
_DQN_RECIPES: dict[str, ExpertConfig] = {
    "CartPole-v1": ExpertConfig(
        algo="dqn",
        steps=100_000,
        num_envs=8,
        dqn=DQNConfig(
            learning_rate=1e-3,
            anneal=True,
            batch_size=128,
            target_rate=0.01,
            target_every=1,
            epsilon_end=0.04,
            exploration_fraction=0.2,
        ),
    ),
}
# Prioritized, double, duelling, three steps: the parts of Rainbow (Hessel et al. 2018) without its distributions. It
# takes 32 transitions every 4 steps; 128 every 16 are as many, and cost a run of Pong 0.7 of the processor's time.
_DQN_ATARI = ExpertConfig(
    algo="dqn",
    steps=10_000_000,
    num_envs=8,
    evaluation_episodes=30,
    clip_rewards=True,
    dqn=DQNConfig(
        learning_rate=2.5e-4,
        batch_size=128,
        buffer_size=1_000_000,
        learning_starts=20_000,
        steps_per_update=16,
        target_every=500,
        exploration_fraction=0.025,
        # 7 GB, twice in memory while a checkpoint is copied; and no Atari run resumes exactly anyway.
        save_replay=False,
    ),
)


def expert_recipe(env_id: str, algo: str = "ppo") -> ExpertConfig:
    """The settings of a learner for an environment; those without their own share a default (Atari, MPE: one each).

    Algorithms of Stable-Baselines3 keep their own hyperparameters, on as many environments as those are made for.
    """
    if algo in SB3_ALGORITHMS:
        return ExpertConfig(algo, num_envs=8 if algo in ("sb3:A2C", "sb3:PPO") else 1)
    if env_id.startswith("mpe2.") and algo == "ppo":
        return _MPE
    if algo == "sac":
        return _SAC
    own, atari, default = (_DQN_RECIPES, _DQN_ATARI, _DQN) if algo == "dqn" else (_RECIPES, _ATARI, ExpertConfig())
    return own.get(env_id, atari if env_id.startswith("ALE/") else default)


class TrueReward:
    """The game of plain PPO: one player, paid by the environment."""

    def __init__(
        self,
        env: VecEnv,
        config: PPOConfig,
        *,
        policy: ActorCritic,
        seed: int,
        generators: Mapping[str, torch.Generator],
        clip_rewards: bool = False,
    ) -> None:
        self.env, self.policy, self.clip_rewards = env, policy, clip_rewards
        self.ppo = PPO(policy, config, generators["shuffle"])
        self.players: Mapping[str, Player] = {"policy": self.ppo.player}
        self.collector = Collector(env, horizon=config.horizon, seed=seed, generator=generators["actions"])
        self.steps = 0

    @property
    def exact_resume(self) -> bool:
        """Whether the environments could go on exactly wherever a checkpoint left them."""
        return self.collector.exact_resume

    def round(self) -> Iterator[Turn]:
        """One rollout and the policy's turns on it."""
        rollout = self.collector.collect(self.policy)
        yield from self.ppo.turns(rollout, rollout.rewards.sign() if self.clip_rewards else rollout.rewards)
        self.steps += rollout.rewards.numel()

    def round_metrics(self) -> dict[str, float]:
        """Episode statistics."""
        return self.collector.stats.metrics()

    def shown_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The return."""
        return {"return": metrics["return_mean"]} if "return_mean" in metrics else {}

    def save_policy(self, path: Path) -> None:
        """Write the policy as it is now."""
        save_policy(self.policy, path, env_id=self.env.env_id, env_kwargs=self.env.env_kwargs)

    def state_dict(self) -> dict[str, Any]:
        """All but the player."""
        return {"steps": self.steps, "collector": self.collector.state_dict(), "ppo": self.ppo.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.steps = int(state["steps"])
        self.collector.load_state_dict(state["collector"])
        self.ppo.load_state_dict(state["ppo"])


@dataclass(frozen=True)
class ExpertResult:
    """What training an expert gave."""

    policy: NetworkPolicy
    evaluation: Evaluation
    summary: dict[str, Any]


def _ppo(env: VecEnv, config: ExpertConfig, seed: int, make: MakeSynthesizer | None) -> TrueReward:
    return TrueReward(
        env,
        config.ppo,
        policy=new_policy(env, seed, **config.ppo.network),
        seed=derive_seed(seed, "environment"),
        generators={name: make_generator(seed, name, env.device) for name in ("actions", "shuffle")},
        clip_rewards=config.clip_rewards,
    )


def _dqn(env: VecEnv, config: ExpertConfig, seed: int, make: MakeSynthesizer | None) -> DQN:
    with seeded_initialization(seed, "policy"):
        policy = QPolicy(env.observation_space, env.action_space, **config.dqn.network)
    return DQN(
        env,
        config.dqn,
        policy=policy.to(env.device),
        total_steps=config.steps,
        seed=derive_seed(seed, "environment"),
        generators={
            "actions": make_generator(seed, "actions", env.device),
            "replay": make_generator(seed, "replay"),
            "synthetic": make_generator(seed, "synthetic", env.device),
        },
        clip_rewards=config.clip_rewards,
        synthesizer=_synthesizer(
            env, config.dqn.synthetic, gym.spaces.MultiDiscrete([policy.count]), config.steps, seed, make
        ),
    )


def _sac(env: VecEnv, config: ExpertConfig, seed: int, make: MakeSynthesizer | None) -> SAC:
    with seeded_initialization(seed, "policy"):
        policy = SquashedGaussianPolicy(env.observation_space, env.action_space, **config.sac.network).to(env.device)
        samples = gym.spaces.Box(-1.0, 1.0, (policy.size,), np.float32)
        return SAC(
            env,
            config.sac,
            policy=policy,
            total_steps=config.steps,
            seed=derive_seed(seed, "environment"),
            generators={
                "actions": make_generator(seed, "actions", env.device),
                "noise": make_generator(seed, "noise", env.device),
                "replay": make_generator(seed, "replay"),
                "synthetic": make_generator(seed, "synthetic", env.device),
            },
            clip_rewards=config.clip_rewards,
            synthesizer=_synthesizer(env, config.sac.synthetic, samples, config.steps, seed, make),
        )


def _synthesizer(
    env: VecEnv, config: SyntheticConfig, samples: gym.Space, steps: int, seed: int, make: MakeSynthesizer | None
) -> Synthesizer | None:
    if config.share == 0:
        return None
    if make is None:
        raise InputError(
            "synthetic.share: is above 0, expected a synthesizer, for example "
            "train_expert(..., synthesizer=gail.ReplayModel)"
        )
    config.require_refit(steps)
    require_vectors(env.observation_space, env.env_id)
    return make(config, env.observation_space, samples, seed, env.device)


def _sb3(env: VecEnv, config: ExpertConfig, seed: int) -> SB3Training:
    # Only now: it is an extra, and slow to import.
    from gail.agents.sb3_train import SB3Training

    kwargs = parse_json_object("--sb3-kwargs", config.sb3_kwargs)
    return SB3Training(env, config.algo.removeprefix("sb3:"), kwargs, derive_seed(seed, "stable-baselines3"))


def _check_sb3(config: ExpertConfig, resume: bool, workers: WorkerOptions | None) -> None:
    """Refuse what Stable-Baselines3 cannot do."""
    if resume:
        raise InputError(f"--resume: {config.algo} cannot be resumed (its state can only be saved as pickles)")
    if workers is not None and workers.restart_workers:
        raise InputError(f"--restart-workers: {config.algo} cannot leave out the rows that were lost")
    if find_spec("stable_baselines3") is None:
        raise InputError(
            f"--algo: {config.algo} needs the package 'stable-baselines3'; install it with: "
            "pip install 'gail-toolkit[sb3]'"
        )


def train_expert(
    env_id: EnvLike,
    *,
    config: ExpertConfig | None = None,
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    out: Path | None = None,
    resume: bool = False,
    workers: WorkerOptions | None = None,
    synthesizer: MakeSynthesizer | None = None,
    progress: bool = True,
) -> ExpertResult:
    """Train a policy on the environment's own reward.

    Args:
        env_id: what is played: whatever :func:`gail.make_vec` takes.
        config: settings; None takes the environment's recipe.
        seed: determines everything on CPU.
        env_kwargs: keyword arguments of the environment.
        out: run directory; None writes nothing.
        resume: go on with the run in ``out``.
        workers: what becomes of worker processes that break; may differ in the run that is resumed.
        synthesizer: makes the generative player of synthetic experience replay (``gail.ReplayModel``), where the
            learner's ``synthetic.share`` is above 0.
        progress: show a progress bar.

    Raises:
        InputError: on anything that cannot be used, before training starts.
    """
    env_id, env_kwargs = resolve_env(env_id, env_kwargs)
    name = env_text(env_id)
    config = config or expert_recipe(name)
    device = resolve_device(config.device)
    use_threads(config.threads)
    with open_vec(env_id, config.num_envs, device=device, backend=config.backend, workers=workers, **env_kwargs) as env:
        check_restarts(env, workers)
        by_sb3 = config.algo in SB3_ALGORITHMS
        if by_sb3:
            _check_sb3(config, resume, workers)
        makers: dict[str, Callable[[VecEnv, ExpertConfig, int, MakeSynthesizer | None], TrueReward | OffPolicy]] = {
            "ppo": _ppo,
            "dqn": _dqn,
            "sac": _sac,
        }
        game = _sb3(env, config, seed) if by_sb3 else makers[config.algo](env, config, seed, synthesizer)
        if out is not None:
            run = {"verb": "expert", "env_id": name, "env_kwargs": env_kwargs, "seed": seed}
            open_run(out, {"run": run, "config": config}, resume=resume)
        title = f"expert {config.algo} {name}"
        if isinstance(game, TrueReward | OffPolicy):
            seconds = train(
                game, total_steps=config.steps, title=title, directory=out, resume=resume, progress=progress
            )
        else:
            seconds = game.train(total_steps=config.steps, title=title, directory=out, progress=progress)
        if out is not None:
            game.save_policy(out / "policy.safetensors")
    evaluation = evaluate_in(
        game.policy,
        env_id,
        env_kwargs,
        episodes=config.evaluation_episodes,
        device=device,
        backend=config.backend,
        workers=workers,
    )
    summary = conclude(
        game,
        evaluation,
        out,
        env_id=name,
        algo=config.algo,
        seed=seed,
        seconds=seconds,
        random_return=random_return(env_id, env_kwargs, backend=config.backend, workers=workers).interval.mean,
        device=device,
        worker_restarts=env.worker_restarts,
    )
    return ExpertResult(game.policy, evaluation, summary)
