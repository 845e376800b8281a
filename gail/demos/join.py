"""Several demonstration files as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gail.core.errors import InputError
from gail.core.leaves import map_leaves
from gail.demos.info import file_hash
from gail.demos.origin import parts_of
from gail.demos.types import JOINED, Demonstrations, Trajectory


def join_demos(parts: Sequence[Demonstrations]) -> Demonstrations:
    """All episodes of ``parts``, in order; all their steps, where some hold unrelated transitions.

    Recorded and synthetic sets, or sets of several generators, may be joined: the result's ``generator`` lists the
    parts with how many of its rows each one is (:mod:`gail.demos.origin`). Rewards stay where every part holds them.

    Raises:
        InputError: where the parts are of different environments.
    """
    first = parts[0]
    for part in parts[1:]:
        where = part.path or "demonstrations"
        for name, found, expected in (
            ("env_id", part.env_id, first.env_id),
            ("env_kwargs", part.env_kwargs, first.env_kwargs),
        ):
            if found != expected:
                raise InputError(f"{where}: field {name!r} is {found!r}, expected {expected!r} as in {first.path}")
    alike = all(part.kind == first.kind for part in parts)
    whole = parts if alike else [unrelated_transitions(part) for part in parts]
    trajectories = tuple(trajectory for part in whole for trajectory in part)
    if any(trajectory.rewards is None for trajectory in trajectories):
        trajectories = tuple(replace(trajectory, rewards=None) for trajectory in trajectories)
    generator = first.generator
    if any(part.generator != first.generator for part in parts):
        hashes = [None if part.path is None else file_hash(part.path) for part in parts]
        entries = [entry for part, sha256 in zip(parts, hashes, strict=True) for entry in parts_of(part, sha256)]
        generator = {"kind": JOINED, "parts": entries}
    return Demonstrations(
        trajectories,
        env_id=first.env_id,
        env_kwargs=first.env_kwargs,
        source="; ".join(dict.fromkeys(part.source for part in parts if part.source)),
        kind=whole[0].kind,
        generator=generator,
        dropped=sum(part.dropped for part in parts),
    )


def unrelated_transitions(demos: Demonstrations) -> Demonstrations:
    """Every step of ``demos`` as a trajectory of its own, of kind ``transitions``; end flags stay at their steps."""
    steps = []
    for trajectory in demos:
        length = len(trajectory)
        for row in range(length):
            last = row == length - 1
            steps.append(
                Trajectory(
                    map_leaves(lambda leaf, row=row: leaf[row : row + 2], trajectory.observations),
                    trajectory.actions[row : row + 1],
                    None if trajectory.rewards is None else trajectory.rewards[row : row + 1],
                    trajectory.terminated if last else False,
                    trajectory.truncated if last else False,
                    agent=trajectory.agent,
                )
            )
    return replace(demos, trajectories=tuple(steps), kind="transitions")
