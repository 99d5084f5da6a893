"""Shared by every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# The same examples each time: a failure somebody sees is a failure everybody sees.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """Variables of whoever runs the tests must not change what the tests see."""
    for name in [name for name in os.environ if name.startswith("REMORA_")]:
        if name != "REMORA_TRANSPORT":
            del os.environ[name]
