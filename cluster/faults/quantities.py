"""Durations and rates as people write them. Pure."""

from __future__ import annotations

import math
import re
from typing import Final

from cluster.errors import InvalidRequestError

SECONDS: Final = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
"""Units of a duration."""

BYTES: Final = {
    "": 1, "B": 1,
    "KB": 1000, "MB": 1000**2, "GB": 1000**3,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
}  # fmt: skip
"""Units of a size."""

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))\s*([A-Za-zµ]*)")
_BYTES_BY_LOWER: Final = {unit.lower(): size for unit, size in BYTES.items()}


def parse_seconds(text: str) -> float:
    """``50ms``, ``30s``, ``2m``, ``1.5h``, ``-10s``; a bare number is seconds.

    Raises InvalidRequestError.
    """
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or found[2] not in SECONDS:
        raise InvalidRequestError(
            f"'{text[:40]}' is not a duration", remedy="Write it like 50ms, 1.5s, 30s, 2m or 1h."
        )
    return float(found[1]) * SECONDS[found[2]]


def parse_rate(text: str) -> int:
    """``1MB/s``, ``512KiB/s``, ``800``: bytes a second. Raises InvalidRequestError."""
    found = _QUANTITY.fullmatch(text.strip().removesuffix("/s"))
    if found is None or found[2].lower() not in _BYTES_BY_LOWER:
        raise InvalidRequestError(
            f"'{text[:40]}' is not a bandwidth", remedy="Write it like 1MB/s, 512KiB/s or 20000."
        )
    return round(float(found[1]) * _BYTES_BY_LOWER[found[2].lower()])


def seconds_text(seconds: float) -> str:
    """A duration in the unit in which it reads best."""
    if not math.isfinite(seconds):
        return str(seconds)
    size = abs(seconds)
    if size >= 3600:
        return f"{seconds / 3600:.3g} h"
    if size >= 120:
        return f"{seconds / 60:.3g} min"
    return f"{seconds:.3g} s" if size >= 1 or not size else f"{seconds * 1000:.3g} ms"


def rate_text(bytes_per_second: int) -> str:
    """A bandwidth in the unit in which it reads best."""
    for unit in ("GB", "MB", "KB"):
        if bytes_per_second >= BYTES[unit]:
            return f"{bytes_per_second / BYTES[unit]:.3g} {unit}/s"
    return f"{bytes_per_second} B/s"
