"""Experts by the algorithms of Stable-Baselines3, on this toolkit's environments; needs ``stable-baselines3``.

The loop, the losses and the optimizers are theirs; environments, run directory and evaluation are ours. Their own
files are pickles, so none is written: what is saved is the policy, rebuilt from its weights; such a run cannot be
resumed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.preprocessing import is_image_space_channels_first

from gail.agents.policy import save_policy
from gail.agents.sb3_policy import ACTIVATIONS, Hints, SB3Policy, activation_named, rebuild
from gail.core.engine import RunLog, TrainingDiverged
from gail.core.errors import EnvironmentFault, InputError
from gail.core.progress import ProgressBar
from gail.envs.sb3 import SB3VecEnv
from gail.envs.spaces import is_image
from gail.envs.vec import VecEnv

_RESERVED = ("env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model")
_LINES = 200
"""How many lines of metrics a run writes; of its policy it keeps a tenth as many copies."""


class SB3Training:
    """An algorithm of Stable-Baselines3 on one batch of environments.

    Args:
        env: what is played; it stays open.
        algorithm: a class of Stable-Baselines3: A2C, DDPG, DQN, PPO, SAC, TD3.
        kwargs: keyword arguments of that class. ``policy`` is MlpPolicy, or CnnPolicy for images, where it is not
            given; ``policy_kwargs`` may name its ``activation_fn`` ("relu").
        seed: of everything, the environments included.

    Raises:
        InputError: where the algorithm does not take the keywords or the spaces.
    """

    exact_resume = False

    def __init__(self, env: VecEnv, algorithm: str, kwargs: dict[str, Any], seed: int) -> None:
        self.env = env
        self.model = _make_model(env, algorithm, kwargs, seed)

    @property
    def steps(self) -> int:
        """Environment steps played; a whole number of rollouts, so possibly more than asked for."""
        return int(self.model.num_timesteps)

    @property
    def policy(self) -> SB3Policy:
        """The policy as it is now, as this toolkit plays it.

        Raises:
            TrainingDiverged: where its weights are not finite.
        """
        weights, policy = self.model.policy.state_dict(), self.model.policy
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise TrainingDiverged(f"the policy's weights are no longer finite at step {self.steps}")
        where = f"sb3:{type(self.model).__name__}"
        space = self.env.observation_space
        hints = Hints(
            activation=activation_named(where, policy.activation_fn.__name__),
            squash=policy.squash_output,
            clip_mean=getattr(getattr(policy, "actor", None), "clip_mean", 2.0),
            epsilon=getattr(self.model, "exploration_rate", 0.0),
            channels_first=not is_image(space) or is_image_space_channels_first(space),
        )
        return rebuild(where, weights, space, self.env.action_space, hints).to(self.env.device)

    def save_policy(self, path: Path) -> None:
        """Write the policy as it is now."""
        save_policy(self.policy, path, env_id=self.env.env_id, env_kwargs=self.env.env_kwargs)

    def train(self, *, total_steps: int, title: str, directory: Path | None = None, progress: bool = True) -> float:
        """Learn from the environment's own reward; returns the wall-clock seconds.

        Args:
            total_steps: environment steps.
            title: names the run in the progress bar.
            directory: gets ``metrics.jsonl``, TensorBoard events and ``checkpoints/{latest,best}/policy.safetensors``.
            progress: show a progress bar.

        Raises:
            TrainingDiverged: where weights are no longer finite.
            EnvironmentFault: where an environment breaks.
        """
        log = RunLog(directory) if directory is not None else None
        if log is not None:
            log.open(0)
            if progress:
                log.announce()
        with ProgressBar(title, total_steps, enabled=progress) as bar:
            watch = _Watch(self, bar, log, total_steps)
            try:
                self.model.learn(total_steps, callback=watch, log_interval=None)
            except EnvironmentFault as fault:
                fault.consequence = f"training stopped after step {self.steps:,}"
                if watch.saved:
                    fault.consequence += f"; {watch.copy} is the policy of step {watch.saved:,}"
                raise
            finally:
                if log is not None:
                    log.close()
        return watch.seconds


def _make_model(env: VecEnv, algorithm: str, kwargs: dict[str, Any], seed: int) -> Any:
    # JSON has no tuples, and no keyword of their algorithms is a list.
    kwargs = {name: tuple(value) if isinstance(value, list) else value for name, value in kwargs.items()}
    for name in _RESERVED:
        if name in kwargs:
            raise InputError(f"--sb3-kwargs: {name!r} is set by this toolkit's own flags, expected another keyword")
    policy = kwargs.pop("policy", "CnnPolicy" if is_image(env.observation_space) else "MlpPolicy")
    network = kwargs.get("policy_kwargs", {})
    if isinstance(network, dict) and isinstance(network.get("activation_fn"), str):
        name = activation_named("--sb3-kwargs: policy_kwargs", network["activation_fn"])
        kwargs["policy_kwargs"] = {**network, "activation_fn": ACTIVATIONS[name]}
    kind = getattr(stable_baselines3, algorithm)
    try:
        return kind(policy, SB3VecEnv(env), seed=seed, device=env.device, verbose=0, **kwargs)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"--algo sb3:{algorithm}, --sb3-kwargs: {' '.join(str(error).split())}") from error


class _Watch(BaseCallback):
    """Progress, metrics and copies of the policy while Stable-Baselines3 trains."""

    def __init__(self, training: SB3Training, bar: ProgressBar, log: RunLog | None, total: int) -> None:
        super().__init__()
        self.training, self.bar, self.log, self.total = training, bar, log, total
        self.interval = max(total // _LINES, 1)
        self.copy = log.checkpoint.with_name("policy.safetensors") if log is not None else None
        self.saved = 0
        """The step of the last copy of the policy."""
        self.seconds = 0.0
        self._next, self._last_step, self._last_seconds = self.interval, 0, 0.0
        self._best = -np.inf

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()
        self.bar.update(0)

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next = self.num_timesteps + self.interval
            self._tell(ended=False)
        return True

    def _on_training_end(self) -> None:
        if self.num_timesteps > self._last_step:
            self._tell(ended=True)

    def _tell(self, ended: bool) -> None:
        """Show and write what happened since the last call."""
        self.seconds = time.perf_counter() - self._started
        step, finished = self.num_timesteps, list(self.model.ep_info_buffer or [])
        metrics = {
            "seconds": self.seconds,
            "steps_per_second": (step - self._last_step) / max(self.seconds - self._last_seconds, 1e-9),
        }
        if finished:
            metrics["return_mean"] = float(np.mean([episode["r"] for episode in finished]))
            metrics["length_mean"] = float(np.mean([episode["l"] for episode in finished]))
        self._last_step, self._last_seconds = step, self.seconds
        if ended or step < self.total:  # the last rollout goes beyond the total
            self.bar.update(step, **({"return": metrics["return_mean"]} if finished else {}))
        if self.log is None or self.copy is None:
            return
        self.log.write(step, metrics)
        if step - self.saved < 10 * self.interval:
            return
        self.saved = step
        self.training.save_policy(self.copy)
        if metrics.get("return_mean", -np.inf) > self._best:
            self._best = metrics["return_mean"]
            self.training.save_policy(self.log.best)
