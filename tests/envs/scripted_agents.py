"""A parallel PettingZoo environment whose agents die and join on schedule and whose numbers say where they are from."""

import functools

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

JOIN, DIE, END = 2, 3, 5


class Scripted(ParallelEnv):
    """Observes [episode seed, step, agent]; pays 100 * agent + 10 * step + action.

    a_0 lives throughout and is truncated at step 5; a_1 terminates at step 3; a_2 joins after step 2 and terminates at
    step 5. Observations of a wrong length, ends without leaving and so on are injected by name in ``fault``.
    """

    metadata = {"name": "scripted_v0", "render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, fault="", wide=False, render_mode=None):
        self.possible_agents = ["a_0", "a_1", "a_2"]
        self.fault, self.wide, self.render_mode = fault, wide, render_mode

    @functools.cache  # noqa: B019
    def observation_space(self, agent):
        # Zero is not an element: absent agents must observe something that is.
        return spaces.Box(-1.0 if self.wide else 0.0, 1e10, (4 if self.wide and agent == "a_1" else 3,), np.float64)

    @functools.cache  # noqa: B019
    def action_space(self, agent):
        return spaces.Discrete(5)

    def _obs(self, agent):
        extra = [7] * (self.observation_space(agent).shape[0] - 3)
        return np.array([self.seed, self.t, int(agent[2:]), *extra], dtype=np.float64)

    def reset(self, seed=None, options=None):
        self.seed, self.t = seed, 0
        self.agents = [] if self.fault == "empty" else ["a_0", "a_1"]
        observations = {a: self._obs(a) for a in self.agents}
        if self.fault == "unready":
            raise ValueError("out of stock")
        if self.fault == "lost":
            observations["a_0"][1] = np.nan
        if self.fault == "half":
            return observations
        return observations, {a: {} for a in self.agents}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        self.t += 1
        acted = list(self.agents)
        if self.t == JOIN:
            self.agents = [*self.agents, "a_2"]
        present = list(dict.fromkeys([*acted, *self.agents]))
        terminated = {a: (a == "a_1" and self.t == DIE) or (a == "a_2" and self.t == END) for a in present}
        truncated = {a: a == "a_0" and self.t == END for a in present}
        rewards = {a: 100.0 * int(a[2:]) + 10.0 * self.t + actions.get(a, 0) for a in present}
        observations = {a: self._obs(a) for a in present}
        self.agents = [a for a in self.agents if not (terminated[a] or truncated[a])]
        if self.fault == "stays" and self.t == DIE:
            self.agents = [*self.agents, "a_1"]
        if self.fault == "vanishes" and self.t == DIE:
            terminated["a_1"] = False
        if self.fault == "blind":
            del observations["a_0"]
        if self.fault == "stranger":
            self.agents = [*self.agents, "x"]
        if self.t == 2:
            now = self.fault
            if now == "raises":
                raise ValueError("out of fuel")
            if now == "nan":
                observations["a_1"][0] = np.nan
            if now in ("unpaid", "free"):
                rewards["a_0"] = np.nan if now == "unpaid" else None
            wrong = {"long": np.zeros(4), "scalar": np.float64(0), "complex": np.zeros(3, complex)}
            observations["a_1"] = wrong.get(now, observations["a_1"])
            if now == "four":
                return observations, rewards, terminated, truncated
            if now == "nothing":
                return None
        return observations, rewards, terminated, truncated, {a: {} for a in present}

    def render(self):
        return np.full((4, 6, 3), self.t, np.uint8)


parallel_env = Scripted
