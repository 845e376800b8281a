"""A single environment into which each typical defect can be injected; sound unless one is named."""

import gymnasium as gym
import numpy as np


class Defective(gym.Env):
    """Observes [position, time] and pays the position; ten steps long."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, defect="", render_mode=None):
        self.defect, self.render_mode = defect, render_mode
        self.observation_space = gym.spaces.Box(-20, 20, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.buffer = np.zeros(2, np.float32)
        self.unseeded = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = (self.unseeded if self.defect == "no seeding" else self.np_random).uniform(-1, 1)
        self.time = 0
        obs = self.obs()
        return obs if self.defect == "reset without info" else (obs, {})

    def step(self, action):
        self.position += 1 if action == 1 else -1
        self.time += 1
        reward = np.array([self.position]) if self.defect == "reward not float" else float(self.position)
        over = self.time >= 10
        if self.defect == "terminated not bool":
            over = float(over)
        if self.defect == "four values":
            return self.obs(), reward, over, {}
        return self.obs(), reward, over, False, None if self.defect == "info missing" else {}

    def obs(self):
        values = [self.position, self.time]
        if self.defect == "obs outside":
            values[0] += 100
        if self.defect == "nan" and self.time == 5:
            values[0] = np.nan
        if self.defect == "aliasing":
            self.buffer[:] = values
            return self.buffer
        if self.defect == "wrong shape":
            values.append(0)
        return np.array(values, np.float64 if self.defect == "wrong dtype" else np.float32)

    def render(self):
        if self.defect == "render returns nothing":
            return None
        return np.zeros((16, 16, 3), np.uint8)


class NoRenderMode(Defective):
    """Takes no render_mode, though its metadata lists one."""

    def __init__(self, defect=""):
        super().__init__(defect)


DEFECTS = (
    "obs outside", "wrong dtype", "wrong shape", "reward not float", "no seeding", "aliasing", "four values",
    "terminated not bool", "nan", "info missing", "reset without info", "render returns nothing",
)  # fmt: skip
