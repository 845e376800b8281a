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

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(40 << 20, dtype=torch.uint8).fill_(1)  # beyond 32 MiB glibc never keeps a block by itself
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # Not at once: where the kept memory is in pieces, some rounds pass until one of them is large enough.
    assert min(faults() for _ in range(40)) < 1024  # a block has 10,240 pages
