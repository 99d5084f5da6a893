"""Shared by every test."""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import settings

# The same examples each time: a failure somebody sees is a failure everybody sees.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

_ARCHIVES: Final = {b"\x1f\x8b": "gzip", b"PK": "zip"}


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Archives have the time in them: processes that share the tests must agree on names."""
    del config, argname
    return _ARCHIVES.get(val[:2]) if isinstance(val, bytes) else None


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """Variables of whoever runs the tests must not change what the tests see."""
    for name in [name for name in os.environ if name.startswith("REMORA_")]:
        if name != "REMORA_TRANSPORT":
            del os.environ[name]
