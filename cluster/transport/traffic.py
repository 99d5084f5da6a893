"""Counters of a server or channel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.errors import Status


@dataclass(frozen=True, slots=True)
class TransportStatistics:
    """What a server or channel has done since it was made. Messages and bytes are payload."""

    calls_live: int
    """Calls under way now."""
    calls_started: int
    """Calls begun, the live ones included."""
    calls_by_status: Mapping[Status, int]
    """Calls over, by the status they ended with (a client that left counts as CANCELLED)."""
    messages_received: int
    bytes_received: int
    messages_sent: int
    """Messages handed to the transport; the peer may not have them yet."""
    bytes_sent: int


@dataclass(slots=True)
class Traffic:
    """The counters behind :class:`TransportStatistics`. Used from the trio thread only."""

    calls_started: int = 0
    calls_by_status: dict[Status, int] = field(default_factory=dict)
    messages_received: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    bytes_sent: int = 0

    def started(self) -> None:
        """Counts one more call."""
        self.calls_started += 1

    def ended(self, status: Status) -> None:
        """Counts one call over."""
        self.calls_by_status[status] = self.calls_by_status.get(status, 0) + 1

    def received(self, payload: bytes) -> None:
        """Counts one message from the peer."""
        self.messages_received += 1
        self.bytes_received += len(payload)

    def sent(self, payload: bytes) -> None:
        """Counts one message to the peer."""
        self.messages_sent += 1
        self.bytes_sent += len(payload)

    def statistics(self) -> TransportStatistics:
        """A copy that does not change."""
        return TransportStatistics(
            calls_live=self.calls_started - sum(self.calls_by_status.values()),
            calls_started=self.calls_started,
            calls_by_status=dict(self.calls_by_status),
            messages_received=self.messages_received,
            bytes_received=self.bytes_received,
            messages_sent=self.messages_sent,
            bytes_sent=self.bytes_sent,
        )
