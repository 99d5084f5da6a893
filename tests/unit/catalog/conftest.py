"""A place for the catalog's file."""

from __future__ import annotations

import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "node" / "catalog.sqlite"
