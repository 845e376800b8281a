"""Environments whose observation is the step number, so that any off-by-one shows; importable by workers."""

import os
import signal
import time

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv


def _first(path):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _raise():
    raise ValueError("the environment itself is broken")


def _hang():
    while True:
        time.sleep(0.01)


FAULTS = {
    "raise": _raise,
    "exit": lambda: os._exit(17),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": _hang,
}


class CountingEnv(gym.Env):
    """Observes [episode, step]; pays the step number; terminates at ``length``.

    In its ``fault_at``-th step it does ``fault``; where ``once`` names a file, only the first to make that file does.
    """

    def __init__(self, length=3, fault=None, fault_at=None, once=None, hidden=False):
        self.observation_space = spaces.Box(0, 1e6, (2,), np.float64)
        self.action_space = spaces.Discrete(2)
        self.length, self.fault, self.fault_at, self.once, self.hidden = length, fault, fault_at, once, hidden
        self.episode = -1
        self.total = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None and not self.hidden:
            self.episode = -1
        self.episode += 1
        self.count = 0
        return self._obs(), {}

    def step(self, action):
        self.count += 1
        self.total += 1
        if self.total == self.fault_at and (self.once is None or _first(self.once)):
            FAULTS[self.fault]()
        return self._obs(), float(self.count), self.count == self.length, False, {}

    def _obs(self):
        # A hidden counter: an environment that a replay from its seed cannot restore.
        return np.array([self.total if self.hidden else self.episode, self.count], dtype=np.float64)


class NoisyWalk(gym.Env):
    """A random walk on its generator, with a random length: replay must restore the generator."""

    def __init__(self):
        self.observation_space = spaces.MultiDiscrete([1000, 1000])
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.integers(400, 600, 2)
        return self.state.copy(), {}

    def step(self, action):
        self.state = (self.state + self.np_random.integers(-5, 6, 2) + np.round(3 * action).astype(int)) % 1000
        action *= 0  # a careless environment that changes what it was given
        return self.state, float(self.state.sum()), bool(self.np_random.random() < 0.05), False, {}


class FragileWalk(NoisyWalk):
    """The same walk, which does ``fault`` in its ``fault_at``-th step, as CountingEnv does."""

    def __init__(self, fault, fault_at, once):
        super().__init__()
        self.observation_space = spaces.Box(0, 1000, (2,), np.int64)
        self.fault, self.fault_at, self.once, self.total = fault, fault_at, once, 0

    def step(self, action):
        self.total += 1
        if self.total == self.fault_at and _first(self.once):
            FAULTS[self.fault]()
        return super().step(action)


class TextEnv(gym.Env):
    """An observation space that the contract does not support."""

    observation_space = spaces.Dict({"a": spaces.Text(2)})
    action_space = spaces.Discrete(2)


class CountingVectorEnv(VectorEnv):
    """Row i counts to i + 2, in any autoreset mode; observations are one reused buffer."""

    def __init__(self, num_envs=3, mode=AutoresetMode.NEXT_STEP, plain_final_obs=False, max_episode_steps=None):
        self.num_envs = num_envs
        self.mode, self.plain_final_obs = mode, plain_final_obs
        self.metadata = {"autoreset_mode": mode}
        self.single_observation_space = spaces.Box(0, 1e6, (2,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.lengths = np.arange(num_envs) + 2
        self.buffer = np.zeros((num_envs, 2), np.float32)  # [episode, step]
        self.ended = np.zeros(num_envs, bool)

    def _restart(self, rows):
        self.buffer[rows, 0] += 1
        self.buffer[rows, 1] = 0

    def reset(self, *, seed=None, options=None):
        rows = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        if seed is not None:
            self.buffer[:, 0] = -1
        self._restart(rows)
        self.ended[rows] = False
        return self.buffer, {}

    def step(self, actions):
        info = {}
        resetting = self.ended if self.mode is AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, bool)
        assert self.mode is not AutoresetMode.DISABLED or not self.ended.any(), "stepped after the end"
        self.buffer[~resetting, 1] += 1
        self._restart(resetting)
        reward = np.where(resetting, 0.0, self.buffer[:, 1])
        terminated = (self.buffer[:, 1] == self.lengths) & ~resetting
        self.ended = terminated.copy()
        if self.mode is AutoresetMode.SAME_STEP and terminated.any():
            if self.plain_final_obs:
                info["final_obs"] = self.buffer.copy()
            else:
                info["final_obs"] = np.full(self.num_envs, None, dtype=object)
                for row in np.flatnonzero(terminated):
                    info["final_obs"][row] = self.buffer[row].copy()
            self._restart(terminated)
            self.ended[:] = False
        return self.buffer, reward, terminated, np.zeros(self.num_envs, bool), info


def register():
    for name, entry, limit in (
        ("Counting-v0", "counting_envs:CountingEnv", None),
        ("NoisyWalk-v0", "counting_envs:NoisyWalk", 40),
        ("FragileWalk-v0", "counting_envs:FragileWalk", 40),
        ("TextObs-v0", "counting_envs:TextEnv", None),
    ):
        if name not in gym.registry:
            vector = "counting_envs:CountingVectorEnv" if name == "Counting-v0" else None
            gym.register(name, entry, max_episode_steps=limit, vector_entry_point=vector)


register()
