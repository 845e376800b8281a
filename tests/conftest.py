"""Fixtures that every folder of tests shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def third_party_data() -> Path:
    """The folder of data that no one on the project made; tests that need it skip without it."""
    folder = os.environ.get("GAIL_TEST_DATA")
    if not folder:
        pytest.skip("GAIL_TEST_DATA is not set: third-party data is not part of the project")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"GAIL_TEST_DATA={folder} is no folder")
    return path
