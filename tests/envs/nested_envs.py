"""An environment whose observation has several parts, at several depths; importable by workers."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

KEYS = ["flags", "inner/0", "inner/1/deep", "position"]
SHAPES = {"flags": [3], "inner/0": [], "inner/1/deep": [2], "position": [2]}


class Nested(gym.Env):
    """Step right to be paid; the parts say where it is in their own ways. Eight steps long."""

    def __init__(self, fault="", buttons=False):
        self.observation_space = spaces.Dict(
            {
                "position": spaces.Box(-20, 20, (2,), np.float64),
                "flags": spaces.MultiBinary(3),
                "inner": spaces.Tuple(
                    (spaces.Discrete(9), spaces.Dict({"deep": spaces.MultiDiscrete([41, 2], start=[-20, 0])}))
                ),
            }
        )
        self.action_space = spaces.MultiBinary(2) if buttons else spaces.Discrete(2)
        self.fault = fault

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = float(self.np_random.uniform(-1, 1)), 0
        return self.obs(), {}

    def step(self, action):
        right = int(np.asarray(action).reshape(-1)[0])
        self.place += 1 if right else -1
        self.time += 1
        return self.obs(), float(right), self.time == 8, False, {}

    def obs(self):
        cell = int(np.floor(self.place))
        obs = {
            "position": np.array([self.place, self.time]),
            "flags": np.array([self.place > 0, self.time > 4, 1], np.int8),
            "inner": (self.time, {"deep": np.array([cell, self.time % 2])}),
        }
        if self.fault == "missing" and self.time == 2:
            del obs["flags"]
        if self.fault == "nan" and self.time == 2:
            obs["position"][1] = np.nan
        return obs


gym.register("Nested-v0", Nested)
