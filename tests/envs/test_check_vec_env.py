"""The checker against one environment into which each defect can be injected."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.core.errors import InputError
from gail.envs import Step, VecEnv, check_vec_env

LIMIT = 5


class DefectiveEnv(VecEnv):
    """Observes [noise of this row, step]; correct unless a defect is named."""

    def __init__(self, num_envs=3, defect=""):
        self.env_id, self.env_kwargs, self.num_envs = "Defective-v0", {}, num_envs
        self.observation_space = gym.spaces.Box(0, 100, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.max_episode_steps, self.device = LIMIT, torch.device("cpu")
        self.saves_state = True
        self.defect = defect
        self.noise = np.random.default_rng()
        self.count = torch.zeros(num_envs)
        self.buffer = torch.zeros(num_envs, 2)

    def obs(self):
        if self.defect == "num-envs":
            first = torch.full((self.num_envs,), float(self.num_envs))
        else:
            first = self.row
        obs = torch.stack([first, self.count], 1)
        return obs * 1000 if self.defect == "obs-in-space" else obs

    def reset(self, seed=None):
        draw = self.noise.random() if self.defect == "seed" else (seed or 0)
        self.row = torch.arange(self.num_envs) + draw % 50 * torch.ones(self.num_envs)
        self.count = torch.zeros(self.num_envs)
        self.clock = 0
        return self.obs()

    def step(self, actions):
        defect, n = self.defect, self.num_envs
        valid = torch.ones(n, dtype=torch.bool)
        if defect == "invalid-row" and self.clock == 3:
            valid[0] = False
        self.count = self.count + valid
        self.clock += 1
        limit = {"late": LIMIT + 1, "early": LIMIT - 1}.get(defect, LIMIT)
        truncated = self.count >= limit
        next_obs = self.obs()
        self.count = torch.where(truncated, 0.0, self.count)
        obs = self.obs()
        reward = torch.ones(n)
        if defect == "successor":
            next_obs = torch.where(truncated[:, None], next_obs, next_obs + 1)
        if defect == "nan":
            next_obs[0, 0] = obs[0, 0] = float("nan")
        if defect == "overwritten":
            self.buffer.copy_(next_obs)
            next_obs = self.buffer
        if defect == "dtype":
            next_obs = next_obs.double()
        if defect == "shape":
            reward = reward[:, None]
        if defect == "flags":
            truncated = truncated.float()
        return Step(obs, next_obs, reward, torch.zeros(n, dtype=torch.bool), truncated, valid)

    def state_dict(self):
        state = {"row": self.row.clone(), "count": self.count.clone(), "clock": self.clock}
        if self.defect == "state-restore":
            state["count"] = torch.zeros_like(self.count)
        if self.defect == "state-leaves":
            state["extra"] = {"array": np.zeros(2)}
        return state

    def load_state_dict(self, state):
        self.row, self.count, self.clock = state["row"].clone(), state["count"].clone(), state["clock"]
        if self.defect == "admits":
            self.saves_state = False
        return self.obs()


def rules(defect, steps=23):
    env = DefectiveEnv(defect=defect)
    return [f.rule for f in check_vec_env(env, steps, lambda n: DefectiveEnv(n, defect))]


def test_correct_environment_has_no_findings():
    assert rules("") == []


@pytest.mark.parametrize(
    "defect,rule",
    [
        ("dtype", "layout"),
        ("shape", "layout"),
        ("flags", "layout"),
        ("obs-in-space", "obs-in-space"),
        ("successor", "successor"),
        ("invalid-row", "invalid-row"),
        ("late", "time-limit"),
        ("early", "time-limit"),
        ("overwritten", "overwritten"),
        ("seed", "seed"),
        ("num-envs", "num-envs"),
        ("state-leaves", "state-leaves"),
        ("state-restore", "state-restore"),
        ("admits", "state-restore"),
    ],
)
def test_each_defect_fires_exactly_its_rule(defect, rule):
    assert rules(defect) == [rule]


def test_not_a_number_is_outside_the_space():
    assert "obs-in-space" in rules("nan")


def test_findings_name_the_step_and_how_to_mend_it():
    finding = check_vec_env(DefectiveEnv(defect="late"), 23)[0]
    assert "step 4" in finding.message and "max_episode_steps is 5" in finding.message


def test_a_check_of_no_steps_is_refused():
    with pytest.raises(InputError, match="steps is 0"):
        check_vec_env(DefectiveEnv(), 0)
