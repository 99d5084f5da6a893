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

    Frames of one call stay in order whatever the faults. ValueError: a ratio outside 0 to 1, a
    negative rate, or seconds that are negative or not finite.
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
    stalled: bool = False
    """Frames wait until the link is healed, and pings are answered: nobody reads at the end."""
    duplicate_ratio: float = 0.0
    """Share of unary requests that arrive twice, as from a client that tries again."""
    bytes_per_second: int = 0
    """Frames take as long as their bytes do at this rate; 0: no time."""

    @property
    def holds(self) -> bool:
        """Frames wait."""
        return self.partitioned or self.stalled

    @property
    def is_certain(self) -> bool:
        """Nothing depends on chance."""
        return not (
            self.drop_ratio or self.reset_ratio or self.reorder_ratio or self.jitter_seconds
        )

    def __post_init__(self) -> None:
        for name in ("drop_ratio", "reset_ratio", "reorder_ratio", "duplicate_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        for name in ("delay_seconds", "jitter_seconds", "reorder_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative")
        if self.bytes_per_second < 0:
            raise ValueError("bytes_per_second must not be negative")


NO_FAULTS = LinkFaults()


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one frame."""

    delay_seconds: float
    dropped: bool
    reset: bool
    overtaken: bool
    """True: frames of other calls may pass it."""


def is_duplicated(seed: int, source: str, target: str, number: int, faults: LinkFaults) -> bool:
    """Whether unary request ``number`` (0, 1, ...) of a link arrives twice."""
    if not faults.duplicate_ratio:
        return False
    key = f"{seed}\0{source}\0{target}\0unary\0{number}".encode()
    digest = hashlib.blake2b(key, digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < faults.duplicate_ratio


def decide(seed: int, source: str, target: str, number: int, faults: LinkFaults) -> Decision:
    """The fate of frame ``number`` (0, 1, ...) of the link from ``source`` to ``target``."""
    if not (
        faults.drop_ratio or faults.reset_ratio or faults.reorder_ratio or faults.jitter_seconds
    ):
        return Decision(faults.delay_seconds, dropped=False, reset=False, overtaken=False)
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
