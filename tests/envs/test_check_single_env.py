"""Each typical defect of a custom environment is reported with its place and its remedy."""

import json

import gymnasium as gym
import numpy as np
import pytest
from defective_envs import DEFECTS, Defective, NoRenderMode

from gail.cli.main import main
from gail.envs import check_environment

EXPECTED = {
    "obs outside": ("obs-in-space", ["reset", "obs[0] = ", "from -20.0 to 20.0", "clip the observation"]),
    "wrong dtype": ("obs-in-space", ["dtype float64", "float32", "obs.astype(np.float32)"]),
    "wrong shape": ("obs-in-space", ["shape [3]", "[2]", "reshape"]),
    "reward not float": ("reward", ["step 0", "ndarray", "return float(reward)"]),
    "no seeding": ("seed", ["reset with seed 7", "same seed", "self.np_random"]),
    "aliasing": ("aliasing", ["step 0", "obs.copy()"]),
    "four values": ("step-result", ["step 0", "a tuple of 4", "terminated", "truncated"]),
    "terminated not bool": ("flags", ["terminated 0.0 (float)", "bool(terminated)"]),
    "nan": ("obs-in-space", ["step 4", "obs[0] = nan", "0/0"]),
    "info missing": ("info", ["step 0", "NoneType", "{}"]),
    "reset without info": ("reset-result", ["float32 [2]", "return observation, {}"]),
    "render returns nothing": ("render", ["render()", "rgb_array", "[height, width, 3]"]),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_reported_once_with_its_remedy(defect: str) -> None:
    report = check_environment(Defective, num_envs=2, steps=30, defect=defect)
    rule, words = EXPECTED[defect]
    assert [finding.rule for finding in report.findings] == [rule], [f.message for f in report.findings]
    assert all(word in report.findings[0].message for word in words), report.findings[0].message


def test_a_sound_environment_passes_every_checker() -> None:
    report = check_environment(Defective, num_envs=2, steps=30)
    assert report.findings == ()
    assert report.checkers == ("gail", "gymnasium", "stable-baselines3", "contract")


def test_a_constructor_without_render_mode_is_reported() -> None:
    report = check_environment(NoRenderMode, num_envs=2, steps=30)
    assert [finding.rule for finding in report.findings] == ["render"]
    assert "take render_mode=None in __init__" in report.findings[0].mend


def test_what_only_another_checker_finds_is_passed_on_with_a_remedy() -> None:
    class Wide(Defective):
        def __init__(self, render_mode=None):
            super().__init__(render_mode=render_mode)
            self.action_space = gym.spaces.Box(-5, 5, (1,), np.float32)

        def step(self, action):
            return super().step(int(action[0] > 0))

    findings = check_environment(Wide, num_envs=2, steps=30).findings
    assert "stable-baselines3" in [finding.rule for finding in findings]
    assert any("RescaleAction" in finding.mend for finding in findings)


def test_an_exception_is_reported_with_its_line() -> None:
    class Raising(Defective):
        def step(self, action):
            return 1 / 0

    (finding,) = check_environment(Raising, num_envs=2, steps=5).findings
    assert finding.rule == "raised"
    assert "ZeroDivisionError" in finding.found and "test_check_single_env.py" in finding.where


def test_environments_that_are_made_in_batches_go_through_the_contract_alone() -> None:
    assert check_environment("CartPole-v1", num_envs=2, steps=20).checkers == ("contract",)


def test_pettingzoos_own_test_is_run() -> None:
    report = check_environment("mpe2.simple_spread_v3", num_envs=1, steps=30)
    assert (report.findings, report.checkers) == ((), ("pettingzoo", "contract"))


def test_the_command_prints_place_finding_expectation_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    check = ["envs", "check", "defective_envs:Defective", "--num-envs", "2", "--steps", "20"]
    assert main([*check, "--json", "--env-kwargs", '{"defect": "info missing"}']) == 1
    out = capsys.readouterr().out
    for line in ("info: step 0", "  found     info of NoneType", "  expected  a dict", "  mend      return a dict"):
        assert line in out
    (row,) = json.loads(out.splitlines()[-1])["findings"]
    assert set(row) == {"rule", "where", "found", "expected", "mend", "message"}
    assert main(check) == 0
    assert "no findings (checked by: gail, gymnasium, stable-baselines3, contract)" in capsys.readouterr().out


def test_the_list_counts_each_family_and_finds_an_id(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs", "list", "--json"]) == 0
    out = capsys.readouterr().out
    data = json.loads(out.splitlines()[-1])
    families = {row["family"]: row["ids"] for row in data["families"]}
    assert families["torch-native"] == 6 and families["PettingZoo"] > 10 and "Gymnasium" in families
    assert sum(families.values()) == len({row["id"] for row in data["rows"]})
    assert "./my_env.py:MyEnv" in out
    assert main(["envs", "list", "hopper", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert {"id": "Hopper-v5", "family": "MuJoCo, batched", "time_limit": 1000} in rows
