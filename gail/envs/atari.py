"""Atari 2600 games by a stated protocol: names and keywords; imports neither torch nor Gymnasium.

Protocol "v5" (Machado et al. 2018, "Revisiting the Arcade Learning Environment", table 10, with ALE's minimal action
sets): every action is repeated with probability 0.25 instead of the new one (sticky actions), each is held for 4
frames, rewards and lives are the game's own, an episode is cut after 108,000 frames (30 minutes), and the only
preprocessing is the pixels': the maximum of the last two frames, grey, 84 x 84, the last four of them stacked.

``make_vec`` gives this for ``ALE/*-v5`` ids, whichever backend steps them. Ids of other protocols (``Pong-v4``,
``PongNoFrameskip-v4``) are plain Gymnasium environments: raw colour frames, no wrapper.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gail.core.errors import InputError

_OBS_TYPES = ("pixels", "ram", "rgb", "grayscale")
_PIXELS_ONLY = ("stack_num", "img_height", "img_width", "grayscale", "episodic_life")


@dataclass(frozen=True)
class AtariProtocol:
    """How a game is played: the keywords of every ``ALE/*-v5`` id. The defaults are the protocol "v5"."""

    obs_type: str = "pixels"
    """``pixels``: preprocessed and stacked. ``rgb`` ``[210, 160, 3]``, ``grayscale`` ``[210, 160]`` and ``ram``
    ``[128]``: ALE's own observation of the last frame, without preprocessing (backends sync and async only)."""
    repeat_action_probability: float = 0.25
    """Probability per frame that the console sees the previous action (sticky actions)."""
    frameskip: int = 4
    """Frames that each action is held for."""
    full_action_space: bool = False
    """All 18 joystick actions instead of those that mean something in this game."""
    noop_max: int = 0
    """Up to so many frames of doing nothing at the start of an episode, drawn uniformly."""
    use_fire_reset: bool = False
    """Press FIRE once at the start of an episode, in games that have it."""
    episodic_life: bool = False
    """A lost life ends the episode, and the next one starts a new game; never in an evaluation."""
    reward_clipping: bool = False
    """Rewards are clipped to -1, 0, 1; never in an evaluation."""
    stack_num: int = 4
    """Preprocessed frames per observation, the newest last; before the first frame they are black."""
    img_height: int = 84
    """Of a preprocessed frame."""
    img_width: int = 84
    """Of a preprocessed frame."""
    grayscale: bool = True
    """Preprocessed frames are grey ``[stack, height, width]``, else colour ``[stack, height, width, 3]``."""
    max_num_frames_per_episode: int = 108_000
    """Frames after which an episode is truncated (0: never), rounded up to whole steps. ``max_episode_steps`` says the
    same in steps."""
    mode: int | None = None
    """The game's mode switch; None: its default."""
    difficulty: int | None = None
    """The console's difficulty switch; None: its default."""
    sound_obs: bool = False
    """Observations become ``{"image": ..., "sound": [512]}``, the samples of one frame; needs ``frameskip=1`` and an
    ``obs_type`` other than ``pixels``."""

    @property
    def max_episode_steps(self) -> int | None:
        """Steps after which an episode is truncated, or None."""
        return -(-self.max_num_frames_per_episode // self.frameskip) or None

    @property
    def needs_single(self) -> bool:
        """Whether only environments that are stepped one at a time can do this."""
        return self.obs_type != "pixels" or self.mode is not None or self.difficulty is not None

    def keywords(self) -> dict[str, Any]:
        """All keywords that apply, as plain JSON values: what is saved, so that the protocol can be repeated."""
        values = dataclasses.asdict(self)
        unused = _PIXELS_ONLY if self.obs_type != "pixels" else ()
        # Mode 0 is a mode: `0 in (None, False)` would drop it.
        unset = [name for name in ("mode", "difficulty", "sound_obs") if values[name] is None or values[name] is False]
        return {name: value for name, value in values.items() if name not in (*unused, *unset)}

    def for_evaluation(self) -> AtariProtocol:
        """The same without what changes the game for training: an evaluation scores the real one."""
        return dataclasses.replace(self, reward_clipping=False, episodic_life=False)

    def __str__(self) -> str:
        """The protocol in one line."""
        pixels = f"{self.stack_num} frames {self.img_height}x{self.img_width} {'grey' if self.grayscale else 'colour'}"
        parts = [
            f"sticky actions {self.repeat_action_probability:g}",
            f"frame skip {self.frameskip}",
            "all 18 actions" if self.full_action_space else "minimal actions",
            f"{pixels}, maximum of 2" if self.obs_type == "pixels" else f"observation {self.obs_type}",
            "sound" if self.sound_obs else "",
            f"up to {self.noop_max} no-ops" if self.noop_max else "no no-ops",
            "FIRE at the start" if self.use_fire_reset else "",
            "rewards clipped" if self.reward_clipping else "rewards unclipped",
            "a lost life ends the episode" if self.episodic_life else "",
            "" if self.mode is None else f"mode {self.mode}",
            "" if self.difficulty is None else f"difficulty {self.difficulty}",
            f"at most {self.max_num_frames_per_episode:,} frames" if self.max_num_frames_per_episode else "no limit",
        ]
        return ", ".join(part for part in parts if part)


PROTOCOL_KEYWORDS = tuple(field.name for field in dataclasses.fields(AtariProtocol))
"""What may be asked of an ``ALE/*-v5`` id."""


def is_atari(env_id: str) -> bool:
    """Whether :class:`AtariProtocol` governs this id."""
    return env_id.startswith("ALE/") and env_id.endswith("-v5")


def is_console(env_id: str) -> bool:
    """Whether ALE plays this id, by whatever protocol (also ``Pong-v4``, where ale-py has been imported)."""
    import gymnasium as gym

    spec = gym.registry.get(env_id)
    return is_atari(env_id) or (spec is not None and str(spec.entry_point).startswith("ale_py"))


def find_game(name: str) -> str | None:
    """The id of a game by its bare name (``Pong``, ``pong``, ``ms_pacman``), or None where there is none.

    Raises:
        ImportError: where ale-py is not installed.
    """
    import ale_py  # noqa: F401  (importing it registers its environments)
    import gymnasium as gym

    wanted = name.replace("_", "").lower()
    return next((key for key in gym.registry if is_atari(key) and key[4:-3].lower() == wanted), None)


def read_protocol(env_id: str, keywords: Mapping[str, Any]) -> AtariProtocol:
    """The protocol that ``keywords`` ask for.

    Args:
        env_id: for error messages.
        keywords: fields of :class:`AtariProtocol`, and ``max_episode_steps`` (None or -1: no limit).

    Raises:
        InputError: on an unknown keyword, or a value of the wrong type or range.
    """
    values = dict(keywords)
    if "max_episode_steps" in values:
        if "max_num_frames_per_episode" in values:
            raise InputError(f"{env_id}: give max_episode_steps or max_num_frames_per_episode, not both")
        steps = values.pop("max_episode_steps")
        skip = values.get("frameskip", AtariProtocol.frameskip)
        values["max_num_frames_per_episode"] = 0 if steps in (None, -1) else steps * skip
    fields = {field.name: field.type for field in dataclasses.fields(AtariProtocol)}
    for name, value in values.items():
        if name not in fields:
            known = ", ".join([*fields, "max_episode_steps", "render_mode"])
            raise InputError(f"{env_id}: unknown keyword {name!r}, expected one of {known}")
        if not _fits(value, str(fields[name])):
            raise InputError(f"{env_id}: {name} is {value!r}, expected {fields[name]}")
    protocol = AtariProtocol(**values)
    _check_ranges(env_id, protocol, values)
    return protocol


def _fits(value: Any, kind: str) -> bool:
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    if kind == "float":
        return isinstance(value, int | float)
    return isinstance(value, str) if kind == "str" else isinstance(value, int) or (value is None and "None" in kind)


def _check_ranges(env_id: str, protocol: AtariProtocol, given: Mapping[str, Any]) -> None:
    if not 0.0 <= protocol.repeat_action_probability <= 1.0:
        found = protocol.repeat_action_probability
        raise InputError(f"{env_id}: repeat_action_probability is {found}, expected 0 to 1")
    for name, least in (("frameskip", 1), ("stack_num", 1), ("img_height", 1), ("img_width", 1), ("noop_max", 0)):
        if getattr(protocol, name) < least:
            raise InputError(f"{env_id}: {name} is {getattr(protocol, name)}, expected at least {least}")
    if protocol.max_num_frames_per_episode < 0:
        found = protocol.max_num_frames_per_episode
        raise InputError(f"{env_id}: max_num_frames_per_episode is {found}, expected at least 0 (0: no limit)")
    if protocol.obs_type not in _OBS_TYPES:
        raise InputError(f"{env_id}: obs_type is {protocol.obs_type!r}, expected one of {', '.join(_OBS_TYPES)}")
    misplaced = [name for name in _PIXELS_ONLY if name in given and protocol.obs_type != "pixels"]
    if misplaced:
        raise InputError(f"{env_id}: {', '.join(misplaced)}: for obs_type='pixels' only, found {protocol.obs_type!r}")
    if protocol.sound_obs and (protocol.frameskip != 1 or protocol.obs_type == "pixels"):
        raise InputError(
            f"{env_id}: sound_obs needs frameskip=1 (found {protocol.frameskip}; the sound of skipped frames would be "
            f"lost) and obs_type rgb, grayscale or ram (found {protocol.obs_type!r})"
        )
