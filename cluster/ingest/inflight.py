"""How much is being ingested at once, and who is turned away or waits because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from cluster.errors import ThrottledError

if TYPE_CHECKING:
    from cluster.limits import Limits

THROTTLED_RETRY_SECONDS: Final = 0.1
"""What a throttled caller is told to wait: longer than a small request takes."""


class InFlight:
    """Counts requests from the moment they are taken until they are decided.

    A caller that goes away does not make room: its request is still being worked on.
    """

    def __init__(self, limits: Limits, cores: int) -> None:
        if cores < 1:
            raise ValueError(f"cores must be at least 1, not {cores}")
        self.unary_count = 0
        self.byte_count = 0
        self._unary_limit = limits.ingest_requests_per_core * cores
        self._byte_limit = limits.ingest_inflight_bytes
        self._room: trio.Event | None = None

    def check_unary(self, size: int) -> None:
        """Raises ThrottledError if one more unary request of ``size`` bytes is too much."""
        if self.unary_count >= self._unary_limit:
            raise _throttled(
                f"{self.unary_count} requests are in flight",
                "ingest_requests_per_core",
                self._unary_limit,
            )
        if not self.has_room(size):
            raise _throttled(
                f"{self.byte_count} bytes are in flight, this request has {size}",
                "ingest_inflight_bytes",
                self._byte_limit,
            )

    def has_room(self, size: int) -> bool:
        """Whether ``size`` more bytes stay within ``limits.ingest_inflight_bytes``.

        One request is always let in, however large: its size is judged by admission.
        """
        return not self.byte_count or self.byte_count + size <= self._byte_limit

    async def wait_for_room(self, size: int) -> None:
        """Returns when :meth:`has_room` is true; at once, without a checkpoint, if it is."""
        while not self.has_room(size):
            if self._room is None:
                self._room = trio.Event()
            await self._room.wait()

    def enter(self, size: int, *, is_unary: bool) -> None:
        """A request is taken."""
        self.byte_count += size
        self.unary_count += is_unary

    def leave(self, size: int, *, is_unary: bool) -> None:
        """It is decided."""
        self.byte_count -= size
        self.unary_count -= is_unary
        if self._room is not None:
            self._room.set()
            self._room = None


def _throttled(found: str, limit_name: str, limit: int) -> ThrottledError:
    return ThrottledError(
        f"too much is being ingested at once: {found}, the limit is {limit} ({limit_name})",
        metadata={"limit": limit_name, "limit_value": str(limit)},
        retry_after_seconds=THROTTLED_RETRY_SECONDS,
    )
