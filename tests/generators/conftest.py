"""Fixtures that tests of generators share."""

from __future__ import annotations

import pytest
from toy_data import make_images

from gail.generators.dataset import Dataset


@pytest.fixture
def tiny_images() -> Dataset:
    return make_images()
