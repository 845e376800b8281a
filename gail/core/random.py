"""Random numbers: named streams from one seed, and counter-based draws for batched environments.

A counter-based generator has no state to share: draw ``k`` of episode ``e`` of stream ``s`` is a pure
function of ``(s, e, k)``. So environment ``i`` of a batch does not depend on how many others there are,
and resuming needs the counters only (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
The mixing function is the finalizer of SplitMix64 (Steele et al. 2014).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The two's complement reading of an unsigned 64-bit constant: torch has no uint64 arithmetic."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finalizer; the masks turn torch's arithmetic right shifts into logical ones."""
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _MIX_1
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _MIX_2
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def stream_keys(seeds: Tensor) -> Tensor:
    """Keys ``[N]`` (int64) of the streams that belong to integer ``seeds`` ``[N]``."""
    return _mix(seeds.to(torch.int64) * _GOLDEN + _GOLDEN)


def counter_uniform(keys: Tensor, counter: Tensor, draws: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform numbers in ``[0, 1)``, shape ``[N, draws]``.

    Args:
        keys: ``[N]`` int64, from :func:`stream_keys`.
        counter: ``[N]`` int64, for example the episode number of each environment.
        draws: how many numbers per row.
        dtype: float32 (24 random bits) or float64 (53 random bits).
    """
    index = torch.arange(1, draws + 1, device=keys.device, dtype=torch.int64)
    bits = _mix(_mix(keys + counter * _GOLDEN)[:, None] + index * _GOLDEN)
    if dtype == torch.float64:
        return ((bits >> 11) & ((1 << 53) - 1)).to(torch.float64) * 2.0**-53
    return ((bits >> 40) & ((1 << 24) - 1)).to(torch.float32) * 2.0**-24


def derive_seed(seed: int, name: str) -> int:
    """A seed in ``[0, 2**31)`` for the part called ``name``, so that parts never share a stream."""
    state = torch.tensor([seed * 1_000_003 + zlib.crc32(name.encode())], dtype=torch.int64)
    return int(_mix(state * _GOLDEN)[0]) & 0x7FFFFFFF


def make_generator(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on ``device``, seeded for the part called ``name``."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, name))


@contextmanager
def seeded_initialization(seed: int, name: str) -> Iterator[None]:
    """Inside, networks initialize from ``seed`` and the part's ``name`` alone; the global stream stays untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, name))
        yield
