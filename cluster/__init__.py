"""Remora: leader clusters, coordinator, doors and tools. See README.md."""

from __future__ import annotations

__version__ = "0.1.0"
