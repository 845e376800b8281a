"""Several demonstration files as one."""

from __future__ import annotations

from collections.abc import Sequence

from gail.core.errors import InputError
from gail.demos.types import Demonstrations


def join_demos(parts: Sequence[Demonstrations]) -> Demonstrations:
    """All episodes of ``parts``, in order.

    Raises:
        InputError: where they are of different environments, or recorded episodes would be mixed with transitions or
            with synthetic ones.
    """
    first = parts[0]
    for part in parts[1:]:
        where = part.path or "demonstrations"
        for name, found, expected in (
            ("env_id", part.env_id, first.env_id),
            ("env_kwargs", part.env_kwargs, first.env_kwargs),
            ("kind", part.kind, first.kind),
            ("generator", part.generator, first.generator),
        ):
            if found != expected:
                raise InputError(f"{where}: field {name!r} is {found!r}, expected {expected!r} as in {first.path}")
    return Demonstrations(
        tuple(trajectory for part in parts for trajectory in part),
        env_id=first.env_id,
        env_kwargs=first.env_kwargs,
        source="; ".join(dict.fromkeys(part.source for part in parts if part.source)),
        kind=first.kind,
        generator=first.generator,
        dropped=sum(part.dropped for part in parts),
    )
