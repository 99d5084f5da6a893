"""Limits of the setup that process tests share."""

from __future__ import annotations

from typing import Final

LIMITS: Final = {
    "lease_seconds": 2.0,
    "heartbeat_seconds": 0.25,
    "upkeep_check_seconds": 0.5,
    "queued_flush_seconds": 0.05,
}
"""Short waits, so that a test that waits for one to run out is quick."""
