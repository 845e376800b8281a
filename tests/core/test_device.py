"""Freed memory stays with the process."""

from __future__ import annotations

import resource
import sys

import torch

from gail.core.device import keep_freed_memory


def test_a_block_that_is_freed_and_taken_again_faults_no_page() -> None:
    if sys.platform != "linux":
        return  # only glibc's allocator is told
    keep_freed_memory()

    def faults(rounds: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(rounds):
            torch.empty(40 << 20, dtype=torch.uint8).fill_(1)  # beyond 32 MiB glibc never keeps a block by itself
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults(5)
    assert faults(5) < 10_240  # the pages of one
