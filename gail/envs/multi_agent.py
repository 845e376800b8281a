"""Batches of PettingZoo environments: one row per possible agent of each copy, grouped by equal spaces.

Glossary:
    copy      one PettingZoo environment; copy i is seeded with ``seed + i``.
    group     the agents with one observation space and one action space. Its rows are copy 0's agents in PettingZoo's
              order, then copy 1's, and so on.
    life      what one agent plays from its first observation to its own end; an agent can have several in an episode.
    episode   of a copy: it is over when no agent lives (or at ``max_episode_steps``), and the next one starts at once.

An agent that ended waits, and one that has not joined yet waits too: their rows are ``valid=False``, pay 0, do not end
and observe zeros (or the element of the space that is nearest to them). ``next_obs`` at an agent's own end is its last
observation; ``obs`` there is its first observation in the next episode, where that starts now, else zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gail.core.errors import EnvironmentFault, InputError
from gail.core.random import derive_seed
from gail.envs.agent_group import AgentRows, GroupVecEnv
from gail.envs.chunk import RowFault, misfit
from gail.envs.finite import bad_value
from gail.envs.leaves import element_layout
from gail.envs.making import making
from gail.envs.pettingzoo import ParallelGame, Source, agents_of
from gail.envs.rendering import prepare_headless
from gail.envs.resolve import is_pettingzoo
from gail.envs.vec import State, Step


def episode_seed(seed: int, episode: int) -> int:
    """What episode number ``episode`` of a copy seeded with ``seed`` is reset with.

    Each episode has a seed of its own, because PettingZoo does not say what ``reset()`` without one does: some
    environments go on with their random stream, others draw from the operating system.
    """
    return seed if episode == 0 else derive_seed(seed, f"episode {episode}")


class MultiAgentEnv:
    """Copies of one PettingZoo environment, stepped together in this process.

    :attr:`restored` ``[copies]`` (bool) says which went on in their saved episodes at the last :meth:`load_state_dict`.
    :attr:`groups` has one :class:`GroupVecEnv` per group, by name; they describe the rows (:attr:`rows` holds them).
    Step all groups at once with :meth:`step`, or play a single group through its ``GroupVecEnv``.
    """

    def __init__(
        self,
        source: Source,
        num_envs: int,
        device: torch.device | str = "cpu",
        *,
        max_episode_steps: int | None = None,
        **env_kwargs: Any,
    ) -> None:
        """Make ``num_envs`` copies.

        Args:
            source: an id (see :mod:`gail.envs.pettingzoo`); a callable that makes one PettingZoo environment
                (parallel or AEC) from ``env_kwargs``; or such an environment, which is the only copy, takes no
                keywords and is left open by :meth:`close`.
            num_envs: how many copies.
            device: where every tensor of a step lives.
            max_episode_steps: cut each episode after so many steps, beside the environment's own limit.
            env_kwargs: the environment's own keywords.

        Raises:
            InputError: on an unknown module or keyword, a missing package, or a space that is not supported.
        """
        agents = agents_of(source)
        self.env_id = name = agents.text
        self._borrowed = is_pettingzoo(source)
        if self._borrowed and (num_envs != 1 or env_kwargs):
            found = ", ".join(env_kwargs) or f"num_envs {num_envs}"
            raise InputError(f"{name}: is one environment, found {found}; pass what makes it, for copies and keywords")
        if env_kwargs.get("render_mode") is not None:
            prepare_headless()
        self.env_kwargs = dict(env_kwargs)
        if max_episode_steps is not None:
            self.env_kwargs["max_episode_steps"] = max_episode_steps
        self.device = torch.device(device)
        self.max_episode_steps = max_episode_steps
        self.saves_state = True
        self.restored = np.ones(num_envs, np.bool_)
        with making(name, agents.make, env_kwargs, ("max_episode_steps",)):
            self._games = [ParallelGame(name, lambda: agents.make(**env_kwargs)) for _ in range(num_envs)]
        self.rows = self._group()
        # Where each agent's rows are: agent -> (group's arrays, row in copy 0, rows per copy).
        self._places = {
            agent: (rows, index, len(rows.agents))
            for rows in self.rows.values()
            for index, agent in enumerate(rows.agents)
        }
        self.groups = {group: GroupVecEnv(self, group) for group in self.rows}
        self._seeds: list[int] = []
        self._episodes = [0] * num_envs
        self._elapsed = [0] * num_envs

    @property
    def copies(self) -> int:
        """How many PettingZoo environments there are."""
        return len(self._games)

    def _group(self) -> dict[str, AgentRows]:
        game = self._games[0]
        grouped: list[tuple[gym.Space, gym.Space, list[Any]]] = []
        for agent in game.agents:
            observes, acts = game.observation_spaces[agent], game.action_spaces[agent]
            for space, role in ((observes, "observation"), (acts, "action")):
                try:
                    element_layout(space)
                except InputError as error:
                    raise InputError(f"{self.env_id}: agent {agent!r}: {role} {error}") from None
            same = next((g[2] for g in grouped if g[0] == observes and g[1] == acts), None)
            if same is None:
                grouped.append((observes, acts, [agent]))
            else:
                same.append(agent)
        found: dict[str, AgentRows] = {}
        for observes, acts, agents in grouped:
            rows = AgentRows(agents, self.copies, observes, acts)
            name = rows.name()
            found[name if name not in found else f"{name}-{len(found)}"] = rows
        return found

    def reset(self, seed: int | None = None) -> dict[str, Tensor]:
        """Start new episodes everywhere and return each group's observations ``[N, ...]``.

        Copy ``i`` is seeded with ``seed + i``; with None its sequence of episodes goes on.
        """
        if seed is not None:
            self._seeds = [int(seed) + copy for copy in range(self.copies)]
            self._episodes = [-1] * self.copies
        elif not self._seeds:
            fresh = int(np.random.SeedSequence().generate_state(1)[0] >> 1)
            self._seeds = [fresh + copy for copy in range(self.copies)]
            self._episodes = [-1] * self.copies
        for copy in range(self.copies):
            self._start_episode(copy)
        return self._observations()

    def _start_episode(self, copy: int) -> None:
        self._episodes[copy] += 1
        self._elapsed[copy] = 0
        with self._named(copy):
            observations = self._games[copy].reset(episode_seed(self._seeds[copy], self._episodes[copy]))
            for agent in self._games[copy].living():
                self._check(agent, observations[agent], " from reset")
        self._show(copy, observations)
        for rows in self.rows.values():
            for row in self._span(rows, copy):
                rows.log.start_episode(row)

    @staticmethod
    def _span(rows: AgentRows, copy: int) -> range:
        return range(copy * len(rows.agents), (copy + 1) * len(rows.agents))

    def _show(self, copy: int, observations: Mapping[Any, Any]) -> None:
        """Write what the living agents of ``copy`` act on next; the others observe zeros."""
        living = set(self._games[copy].living())
        for agent, (rows, index, width) in self._places.items():
            rows.obs[copy * width + index] = observations[agent] if agent in living else rows.zeros

    def _observations(self) -> dict[str, Tensor]:
        return {name: self._to_device(rows.obs) for name, rows in self.rows.items()}

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, copy=True)

    def step(self, actions: Mapping[str, Tensor]) -> dict[str, Step]:
        """Play one step with each group's actions ``[N, ...]``; rows of absent agents are not looked at.

        Returns:
            One step per group. ``info["episode_over"]`` ``[N]`` (bool) is True in all rows of a copy whose episode is
            over: what ``obs`` shows there belongs to the next one.

        Raises:
            InputError: where a group is missing, a shape is wrong, or the environment breaks PettingZoo's interface.
            EnvironmentFault: where the environment raises, or returns NaN or infinity.
        """
        if not self._seeds:
            raise RuntimeError(f"{self.env_id}: call reset before the first step")
        if set(actions) != set(self.groups):
            raise InputError(f"{self.env_id}: actions for groups {sorted(actions)}, expected {sorted(self.groups)}")
        for name, rows in self.rows.items():
            self.groups[name]._check_actions(actions[name])
            rows.actions[...] = actions[name].detach().cpu().numpy()
            rows.log.append(rows.actions)
            rows.reward[:] = 0.0
            for flags in (rows.terminated, rows.truncated, rows.valid, rows.episode_over):
                flags[:] = False
        for copy in range(self.copies):
            self._step_copy(copy)
        return {name: self._step_of(rows) for name, rows in self.rows.items()}

    def _step_copy(self, copy: int) -> None:
        game = self._games[copy]
        acting = game.living()
        actions = self._actions_of(copy, acting)
        self._elapsed[copy] += 1
        with self._named(copy, actions):
            observations, results = game.step(actions)
            for agent, (reward, _, _) in results.items():
                self._check(agent, observations[agent])
                if not math.isfinite(reward):
                    raise RowFault(None, f"returned {reward} in reward of agent {agent!r}")
        cut = self._elapsed[copy] == self.max_episode_steps
        living = set(game.living())
        for agent in acting:
            rows, index, width = self._places[agent]
            row = copy * width + index
            rows.valid[row] = True
            rows.next_obs[row] = observations[agent]
            rows.reward[row], rows.terminated[row], rows.truncated[row] = results[agent]
            if cut and agent in living:
                rows.truncated[row] = True
        if cut or not living:
            for rows in self.rows.values():
                rows.episode_over[self._span(rows, copy)] = True
            self._start_episode(copy)
        else:
            self._show(copy, observations)

    def _check(self, agent: Any, obs: Any, whence: str = "") -> None:
        """Raise a RowFault where ``obs`` is no observation of ``agent``."""
        rows = self._places[agent][0]
        array = np.asarray(obs)
        if (wrong := misfit(array, rows.obs.shape[1:], rows.obs.dtype)) is not None:
            raise RowFault(None, f"returned an observation{whence} for agent {agent!r} of {wrong}")
        if (bad := bad_value(array[None], f"the observation{whence} of agent {agent!r}")) is not None:
            raise RowFault(None, bad[1])

    @contextmanager
    def _named(self, copy: int, actions: Mapping[Any, Any] | None = None) -> Iterator[None]:
        """Turn what goes wrong in ``copy``, which played ``actions`` or was reset, into an EnvironmentFault."""
        try:
            yield
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            fault = error if isinstance(error, RowFault) else RowFault.of(None, error)
            step = f"in step {self._elapsed[copy]}" if actions is not None else "at the start"
            raise EnvironmentFault(
                self.env_id,
                fault.problem,
                {copy: self._seeds[copy]},
                when=f"{step} of episode {self._episodes[copy]} since that seed",
                action=None if actions is None else {agent: action.tolist() for agent, action in actions.items()},
            ) from (error.__cause__ if fault is error else error)

    def _actions_of(self, copy: int, agents: Sequence[Any]) -> dict[Any, Any]:
        actions = {}
        for agent in agents:
            rows, index, width = self._places[agent]
            # A copy: an environment may keep or change the action that it is given.
            actions[agent] = rows.actions[copy * width + index].copy()
        return actions

    def _step_of(self, rows: AgentRows) -> Step:
        rows.next_obs[~rows.valid] = rows.obs[~rows.valid]
        names = ("obs", "next_obs", "reward", "terminated", "truncated", "valid")
        columns = {name: self._to_device(getattr(rows, name)) for name in names}
        return Step(**columns, info={"episode_over": self._to_device(rows.episode_over)})

    def state_dict(self) -> State:
        """The running episodes: each copy's seed, its episode's number, and the actions since it started.

        An episode too long to be recorded sets ``saves_state`` to False.
        """
        if not self._seeds:
            raise RuntimeError(f"{self.env_id}: call reset before state_dict")
        groups = {}
        for name, rows in self.rows.items():
            episodes = [rows.log.episode(row) for row in range(rows.count)]
            if any(actions is None for actions in episodes):
                self.saves_state = False
            kept = [rows.actions[:0], *(actions for actions in episodes if actions is not None)]
            groups[name] = {
                "actions": torch.from_numpy(np.concatenate(kept)),
                "lengths": torch.tensor([-1 if actions is None else len(actions) for actions in episodes]),
                "obs": torch.from_numpy(rows.obs.copy()),
            }
        return {"seeds": list(self._seeds), "episodes": list(self._episodes), "groups": groups}

    def load_state_dict(self, state: State) -> dict[str, Tensor]:
        """Replay the saved episodes and verify where they lead; returns each group's observations to act on.

        Copies that do not get there start new episodes, and ``saves_state`` becomes False.

        Raises:
            InputError: where it was saved with other groups or another number of copies.
        """
        for name, rows in self.rows.items():
            saved = state["groups"].get(name)
            if saved is None or tuple(saved["obs"].shape) != rows.obs.shape:
                found = "is missing" if saved is None else f"has observations {list(saved['obs'].shape)}"
                raise InputError(
                    f"{self.env_id}: in the saved state, group {name!r} {found}, expected {list(rows.obs.shape)}"
                )
        self._seeds, self._episodes = list(state["seeds"]), [number - 1 for number in state["episodes"]]
        recorded = {name: _split_actions(state["groups"][name]) for name in self.rows}
        for copy in range(self.copies):
            self._start_episode(copy)
            self.restored[copy] = self._replay(copy, recorded, state)
            if not self.restored[copy]:
                self.saves_state = False
                self._start_episode(copy)
                for name, rows in self.rows.items():
                    for row in self._span(rows, copy):
                        recorded[name][row] = recorded[name][row][:0]
        for name, rows in self.rows.items():
            rows.log.load(recorded[name])
        return self._observations()

    def _replay(self, copy: int, recorded: Mapping[str, Sequence[NDArray[Any]]], state: State) -> bool:
        """Repeat an episode; whether it ends in the same observations."""
        game = self._games[copy]
        first = next(iter(self.rows))
        row = self._span(self.rows[first], copy)[0]
        if state["groups"][first]["lengths"][row] < 0:
            return False
        for t in range(len(recorded[first][row])):
            for name, rows in self.rows.items():
                for row in self._span(rows, copy):
                    rows.actions[row] = recorded[name][row][t]
            self._elapsed[copy] += 1
            actions = self._actions_of(copy, game.living())
            with self._named(copy, actions):
                observations, _ = game.step(actions)
            if not game.living():
                return False
            self._show(copy, observations)
        spans = [(rows.obs, state["groups"][name]["obs"], self._span(rows, copy)) for name, rows in self.rows.items()]
        return all(now[span].tobytes() == saved.cpu().numpy()[span].tobytes() for now, saved, span in spans)

    @property
    def render_fps(self) -> float | None:
        """Steps per second of play, where the environment says so."""
        return self._games[0].env.metadata.get("render_fps")

    def render(self) -> list[np.ndarray]:
        """One RGB frame ``[H, W, 3]`` per copy; needs ``render_mode="rgb_array"``."""
        return [game.render() for game in self._games]

    def close(self) -> None:
        """Close every copy but the caller's own environment."""
        for game in () if self._borrowed else self._games:
            game.close()


def _split_actions(saved: Mapping[str, Any]) -> list[NDArray[Any]]:
    lengths = saved["lengths"].clamp(min=0).tolist()
    return list(np.split(saved["actions"].cpu().numpy(), np.cumsum(lengths)[:-1]))


class UnlikeAgents(InputError):
    """Agents have unlike spaces, so that no single policy can play them all."""

    def __init__(self, env: MultiAgentEnv) -> None:
        found = "; ".join(f"{name} ({', '.join(map(str, group.agents))})" for name, group in env.groups.items())
        super().__init__(
            f"{env.env_id}: agents have unlike spaces: {found}; one policy cannot play them all (gail expert trains "
            "one per group; in Python: train_group_experts)"
        )
        self.groups = tuple(env.groups)


def make_multi_agent(
    source: Source, num_envs: int, device: torch.device | str = "cpu", **env_kwargs: Any
) -> MultiAgentEnv:
    """Batches of a PettingZoo environment whose groups are played by policies of their own; see :class:`MultiAgentEnv`.

    Raises:
        InputError: see :class:`MultiAgentEnv`.
    """
    if not isinstance(num_envs, int) or num_envs < 1:
        raise InputError(f"{source}: num_envs is {num_envs!r}, expected an integer of at least 1")
    limit = env_kwargs.pop("max_episode_steps", None)
    return MultiAgentEnv(source, num_envs, device, max_episode_steps=None if limit == -1 else limit, **env_kwargs)


def make_shared(source: Source, num_envs: int, device: torch.device | str = "cpu", **env_kwargs: Any) -> GroupVecEnv:
    """A PettingZoo environment whose agents have equal spaces, all played by one policy.

    Raises:
        UnlikeAgents: where there are several groups.
        InputError: see :class:`MultiAgentEnv`.
    """
    multi = make_multi_agent(source, num_envs, device, **env_kwargs)
    if len(multi.groups) > 1:
        multi.close()
        raise UnlikeAgents(multi)
    return next(iter(multi.groups.values()))
