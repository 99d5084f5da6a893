"""What a link does to the frames it carries, as data.

Pure: each decision is a hash of (seed, link, frame number), so it depends on nothing else that
happens, and a run with the same seed meets the same faults.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFaults:
    """Faults of one directed link. The default is a perfect link.

    Frames of one call stay in order whatever the faults. ValueError: a ratio outside 0 to 1, or
    seconds that are negative or not finite.
    """

    delay_seconds: float = 0.0
    """Every frame takes at least this long."""
    jitter_seconds: float = 0.0
    """And up to this much longer, evenly distributed."""
    drop_ratio: float = 0.0
    """Share of frames lost. A stream never loses a message silently: its call ends UNAVAILABLE."""
    reset_ratio: float = 0.0
    """Share of frames that reset the connection: all of its calls end UNAVAILABLE."""
    reorder_ratio: float = 0.0
    """Share of frames held back while frames of other calls overtake them."""
    reorder_seconds: float = 0.0
    """How long such a frame is held back at most."""
    partitioned: bool = False
    """Frames wait until the link is healed, or the connection's keepalive gives up."""

    def __post_init__(self) -> None:
        for name in ("drop_ratio", "reset_ratio", "reorder_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        for name in ("delay_seconds", "jitter_seconds", "reorder_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative")


NO_FAULTS = LinkFaults()


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one frame."""

    delay_seconds: float
    dropped: bool
    reset: bool
    overtaken: bool
    """True: frames of other calls may pass it."""


def decide(seed: int, source: str, target: str, number: int, faults: LinkFaults) -> Decision:
    """The fate of frame ``number`` (0, 1, ...) of the link from ``source`` to ``target``."""
    key = f"{seed}\0{source}\0{target}\0{number}".encode()
    digest = hashlib.blake2b(key, digest_size=40).digest()
    drop, reset, reorder, held, jitter = (
        int.from_bytes(digest[at : at + 8], "big") / 2**64 for at in range(0, 40, 8)
    )
    overtaken = reorder < faults.reorder_ratio
    delay_seconds = faults.delay_seconds + jitter * faults.jitter_seconds
    if overtaken:
        delay_seconds += held * faults.reorder_seconds
    return Decision(
        delay_seconds=delay_seconds,
        dropped=drop < faults.drop_ratio,
        reset=reset < faults.reset_ratio,
        overtaken=overtaken,
    )
