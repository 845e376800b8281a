"""Human play, recorded as one action and one reward per frame, played again in the emulator.

A recording is an ``.npz`` of

==========================  ===================================================================================
``actions``                 ``[F]`` integers: indices of the game's action set, one per frame
``rewards``                 ``[F]``: what each frame earned
``rom``                     text: the game, as ALE spells it (``private_eye``)
``action_set``              optional text: ``minimal`` (default) or ``full``
``frame_skip``              optional: 1
``repeat_action_probability``  optional: 0 (with sticky actions nothing could be played again)
``dropped_initial_noops``   optional: frames of doing nothing before the first recorded one
==========================  ===================================================================================

The recorded frames are played one by one, whatever is made of them. An agent acts once in ``frameskip`` frames, a
person in any: the action of such a window is the one held for most of its frames, the latest of them where several are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from gail.core.progress import ProgressBar
from gail.demos.archive import read_npz
from gail.demos.errors import DemosError
from gail.demos.fields import read_text, require_vector
from gail.demos.frames import stack_frames
from gail.demos.npz import write_flat_npz_streamed
from gail.demos.types import Demonstrations, Trajectory
from gail.envs import resolve_env
from gail.envs.atari import AtariProtocol, is_atari
from gail.envs.atari_single import make_single
from gail.envs.ids import require_registered
from gail.envs.resolve import find_spec

_SEED = 0
"""Of the console; without sticky actions it draws nothing."""

_OPTIONAL = ("action_set", "frame_skip", "repeat_action_probability", "dropped_initial_noops")


@dataclass(frozen=True)
class Recording:
    """What a person did in F frames of a game."""

    path: Path
    """The file."""
    env_id: str
    """The game's id."""
    actions: np.ndarray
    """``[F]`` int64."""
    rewards: np.ndarray
    """``[F]`` float32."""
    full_action_space: bool
    """Whether ``actions`` count in ALE's full action set."""
    noops: int
    """Frames of doing nothing before the first recorded one."""

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True)
class Replay:
    """A recording that was played again, frame by frame with the recorded rewards."""

    demos: Demonstrations
    """One episode; native frames are on disk only (here they are black)."""
    frames: int
    """Frames played."""
    recorded_return: float
    """Sum of the recorded rewards."""
    replayed_return: float
    """Sum of the rewards that the emulator gave."""
    mixed: int
    """Steps whose frames have more than one action."""


def read_recording(path: str | Path) -> Recording:
    """Read a recording (see the module's docstring).

    Raises:
        InputError: one line naming the file, the field, what was found and what was expected.
    """
    path = Path(path)
    data = read_npz(path, ("actions", "rewards", "rom"), _OPTIONAL)
    frames = data["actions"].size
    require_vector(path, "actions", data["actions"], frames, "one per frame")
    require_vector(path, "rewards", data["rewards"], frames, "one per frame")
    if data["actions"].dtype.kind not in "iu" or frames == 0:
        kind = data["actions"].dtype
        raise DemosError(f"{path}: field 'actions': expected at least one integer, found {frames} of {kind}")
    if data["rewards"].dtype.kind not in "biuf":
        raise DemosError(f"{path}: field 'rewards': expected numbers, found {data['rewards'].dtype}")
    rom = read_text(path, "rom", data["rom"])
    env_id, _ = resolve_env(require_registered(rom, path))
    if not is_atari(env_id):
        find_spec("ALE/Pong-v5")  # says how to install ALE where that is the reason
        raise DemosError(f"{path}: field 'rom': expected a game of ALE such as 'private_eye', found {rom[:40]!r}")
    action_set = read_text(path, "action_set", data["action_set"]) if "action_set" in data else "minimal"
    if action_set not in ("minimal", "full"):
        raise DemosError(f"{path}: field 'action_set': expected 'minimal' or 'full', found {action_set[:40]!r}")
    for name, wanted in (("frame_skip", 1), ("repeat_action_probability", 0)):
        found = _number(path, name, data.get(name, np.asarray(wanted)))
        if found != wanted:
            raise DemosError(f"{path}: field {name!r}: expected {wanted}, found {found:g}")
    noops = int(_number(path, "dropped_initial_noops", data.get("dropped_initial_noops", np.asarray(0))))
    return Recording(
        path, env_id, data["actions"].astype(np.int64), data["rewards"].astype(np.float32), action_set == "full", noops
    )


def _number(path: Path, name: str, value: np.ndarray) -> float:
    if value.size != 1 or value.dtype.kind not in "biuf":
        raise DemosError(f"{path}: field {name!r}: expected one number, found {value.dtype} {value.shape}")
    return float(value.reshape(-1)[0])


def replay(path: str | Path, *, progress: bool = False, **keywords: Any) -> Replay:
    """Play a recording again and see it as an agent does: by the protocol "v5", without sticky actions.

    Args:
        path: the recording.
        progress: show a progress bar.
        **keywords: of :class:`gail.envs.atari.AtariProtocol`, for example ``frameskip=2``.

    Raises:
        InputError: where the file is no recording, or the first frame whose reward is not the recorded one.
    """
    recording = read_recording(path)
    protocol = _protocol(recording, keywords)
    tape, env = _open(recording, protocol)
    observed, actions, rewards, mixed, over = [], [], [], 0, False
    try:
        observed.append(env.reset(seed=_SEED)[0][-1])
        with ProgressBar(f"replaying {recording.env_id}", len(recording), unit="frames", enabled=progress) as bar:
            while tape.frame < len(recording):
                start = tape.frame
                obs, reward, over, _, _ = env.step(0)
                window = recording.actions[start : tape.frame]
                observed.append(obs[-1])
                actions.append(_held_longest(window))
                rewards.append(reward)
                mixed += int((window != window[0]).any())
                bar.update(tape.frame)
    finally:
        env.close()
    trajectory = Trajectory(
        stack_frames(np.stack(observed), protocol.stack_num),
        np.asarray(actions, dtype=np.int64),
        np.asarray(rewards, dtype=np.float32),
        terminated=bool(over),
        truncated=not over,
        seed=_SEED,
    )
    return _result(recording, protocol, trajectory, tape.earned, mixed)


def replay_native(path: str | Path, out: str | Path, *, progress: bool = False) -> Replay:
    """Play a recording again and write every full colour frame to ``out`` (flat npz), none held in memory.

    Every frame is a step with the person's own action: ``obs_type="rgb"``, ``frameskip=1``.

    Raises:
        InputError: as of :func:`replay`, or where ``out`` exists.
    """
    recording = read_recording(path)
    protocol = _protocol(recording, {"obs_type": "rgb", "frameskip": 1})
    tape, env = _open(recording, protocol)
    # One black frame seen T + 1 times: it has the shape and needs no memory.
    shape = (len(recording) + 1, *(env.observation_space.shape or ()))
    black = np.broadcast_to(np.zeros((), np.uint8), shape)

    def result() -> Replay:
        trajectory = Trajectory(black, recording.actions, recording.rewards, tape.over, not tape.over, _SEED)
        return _result(recording, protocol, trajectory, tape.earned, 0)

    def frames() -> Iterator[np.ndarray]:
        yield env.reset(seed=_SEED)[0]
        with ProgressBar(f"replaying {recording.env_id}", len(recording), unit="frames", enabled=progress) as bar:
            while tape.frame < len(recording):
                yield env.step(0)[0]
                bar.update(tape.frame)

    try:
        write_flat_npz_streamed(Path(out), shape, frames(), lambda: result().demos)
    finally:
        env.close()
    return result()


def _protocol(recording: Recording, keywords: dict[str, Any]) -> AtariProtocol:
    asked = {"repeat_action_probability": 0.0, "full_action_space": recording.full_action_space, **keywords}
    if len(recording) + recording.noops > AtariProtocol.max_num_frames_per_episode:
        asked.setdefault("max_num_frames_per_episode", 0)
    return AtariProtocol(**resolve_env(recording.env_id, asked)[1])


def _open(recording: Recording, protocol: AtariProtocol) -> tuple[_Tape, gym.Env]:
    tapes: list[_Tape] = []

    def insert(console: gym.Env) -> gym.Env:
        tapes.append(_Tape(console, recording, protocol.frameskip))
        return tapes[0]

    env = make_single(find_spec(recording.env_id), protocol.keywords(), insert)
    return tapes[0], env


class _Tape(gym.Wrapper):
    """A console that plays the recorded frames, whatever action it is given, and compares what they earn."""

    def __init__(self, console: gym.Env, recording: Recording, frameskip: int) -> None:
        super().__init__(console)
        self.recording, self.frameskip = recording, frameskip
        self.frame, self.earned, self.over = 0, 0.0, False
        size = getattr(console.action_space, "n", 0)
        outside = np.flatnonzero((recording.actions < 0) | (recording.actions >= size))
        if outside.size:
            found = int(recording.actions[outside[0]])
            raise DemosError(f"{recording.path}: frame {outside[0]}: action {found}, expected 0 to {size - 1}")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        for _ in range(self.recording.noops):
            obs, _, _, _, info = self.env.step(0)
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        recording, frame = self.recording, self.frame
        obs, reward, over, cut, info = self.env.step(int(recording.actions[frame]))
        if float(reward) != float(recording.rewards[frame]):
            raise DemosError(
                f"{recording.path}: frame {frame}: recorded reward {recording.rewards[frame]:g}, replayed {reward:g} "
                f"({recording.env_id}; another game or version of the emulator?)"
            )
        self.frame, self.earned, self.over = frame + 1, self.earned + float(reward), over
        left = len(recording) - self.frame
        if over and left:
            raise DemosError(f"{recording.path}: frame {frame}: the game is over, but {left} recorded frames follow")
        # A last window that is not full is cut like one in which the game ends.
        return obs, float(reward), over, cut or (left == 0 and self.frame % self.frameskip != 0), info


def _held_longest(window: np.ndarray) -> int:
    """The most frequent action of a window, the latest of those where several are."""
    counts = np.bincount(window)
    return int(next(action for action in window[::-1] if counts[action] == counts.max()))


def _result(recording: Recording, protocol: AtariProtocol, trajectory: Trajectory, earned: float, mixed: int) -> Replay:
    demos = Demonstrations(
        (trajectory,),
        env_id=recording.env_id,
        env_kwargs=protocol.keywords(),
        source=f"human play of {len(recording)} frames, replayed from {recording.path.name}",
    )
    return Replay(demos, len(recording), float(np.sum(recording.rewards, dtype=np.float64)), earned, mixed)
