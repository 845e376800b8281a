"""In which arithmetic a network runs: float32, or bfloat16 autocast where the processor multiplies it faster."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def runs_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether a network with this setting runs in bfloat16 on ``device``.

    ``auto`` says yes where the hardware multiplies bfloat16 itself (AMX or AVX512_BF16; CUDA from Ampere on). On the
    ``meta`` device, which has no arithmetic, the answer is always no.
    """
    if device.type == "meta" or precision == "fp32":
        return False
    return precision == "bf16" or _multiplies_bf16(device.type)


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which matrix products and convolutions run in the arithmetic that ``precision`` asks for."""
    if not runs_bf16(precision, device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@cache
def _multiplies_bf16(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
