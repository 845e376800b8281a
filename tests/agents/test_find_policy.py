"""Policies from elsewhere: code that the user names plays like a policy of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gail.agents import RandomPolicy, evaluate, evaluate_policy, find_policy
from gail.cli.main import main
from gail.core.errors import InputError
from gail.demos import load_demos
from gail.envs import make_vec

DOCS = Path(__file__).parents[2] / "docs"

# It pushes towards where the pole falls, and counts the steps of the episode.
OWN = """
import torch
from gail.agents import PolicyOutput

class Leaning:
    def __init__(self, observation_space, action_space, device):
        self.observation_space, self.action_space, self.device = observation_space, action_space, device

    def initial_state(self, n):
        return torch.zeros(n, 1, device=self.device)

    def act(self, obs, state, *, deterministic=False, generator=None):
        assert (state < 500).all()
        action = (obs[:, 2] + 0.5 * obs[:, 3] > 0).long()
        return PolicyOutput(action, action[:, None], state=state + 1)

def mindless(observation_space, action_space):
    return object()
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own_policy.py").write_text(OWN)
    return str(tmp_path / "own_policy.py")


def test_own_code_is_evaluated_and_collected_by_the_command_line(own, tmp_path, capsys):
    assert main(["evaluate", f"{own}:Leaning", "--env", "CartPole-v1", "--episodes", "3", "--json"]) == 0
    assert '"return_mean": 500.0' in capsys.readouterr().out
    out = tmp_path / "own.npz"
    arguments = [f"{own}:Leaning", "--env", "CartPole-v1", "--episodes", "2", "-o", str(out)]
    assert main(["demos", "collect", *arguments]) == 0
    demos = load_demos(out)
    assert demos.env_id == "CartPole-v1" and demos.returns.tolist() == [500.0, 500.0]


def test_a_module_on_the_path_is_found_like_a_file(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_policy("own_policy:Leaning", "CartPole-v1", {"max_episode_steps": 7})
    assert type(found.policy).__name__ == "Leaning"
    result = evaluate("own_policy:Leaning", env_id="CartPole-v1", env_kwargs={"max_episode_steps": 7}, episodes=2)
    assert result["return_mean"] == 7 and result["expert_return"] is None


@pytest.mark.parametrize(
    "name,env,words",
    [
        ("Leaning", None, ["--env"]),
        ("Leanin", "CartPole-v1", ["Leanin", "it has Leaning"]),
        ("mindless", "CartPole-v1", ["mindless", "object", "'act'"]),
        ("Leaning", "Nowhere-v1", ["Nowhere-v1"]),
    ],
)
def test_code_that_does_not_fit_gets_one_clear_line(own, name, env, words):
    with pytest.raises(InputError) as error:
        find_policy(f"{own}:{name}", env)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_example_of_the_docs_plays_pong_with_the_authors_weights(third_party_data, tmp_path, monkeypatch):
    pytest.importorskip("ale_py")
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "plug_in_policy.md").read_text(), re.DOTALL)
    assert code.count("\n") < 40
    (tmp_path / "baby_a3c.py").write_text(code)
    monkeypatch.setenv("BABY_A3C", str(third_party_data / "atari" / "baby-a3c-pong.tar"))
    found = find_policy(f"{tmp_path}/baby_a3c.py:BabyA3C", "Pong-v4")
    env = make_vec("Pong-v4", 4, backend="sync", max_episode_steps=250)
    trained = evaluate_policy(found.policy, env, episodes=4, deterministic=False)
    random = evaluate_policy(RandomPolicy(env.observation_space, env.action_space), env, episodes=4)
    assert trained.returns.mean() >= 0 and random.returns.mean() <= -2
