"""The seam inside transports: calls as bytes.

Each implementation moves bytes; what is the same for all (generated code, errors, limits,
interceptors, counters) is written once above this seam, in :mod:`.serving` and :mod:`.calling`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio

    from cluster.transport.api import Metadata
    from cluster.transport.status import CallStatus


class RawServerCall(Protocol):
    """One call at the server. ``scope`` is the handler's; cancelled when the peer is gone."""

    scope: trio.CancelScope

    @property
    def metadata(self) -> Metadata: ...

    @property
    def peer(self) -> str: ...

    @property
    def seconds_left(self) -> float: ...

    @property
    def is_over(self) -> bool:
        """True once nothing can be sent any more."""

    async def recv_many(self) -> list[bytes]:
        """Messages that have arrived, at least one; ``[]`` at the end."""

    async def send(self, payload: bytes) -> None:
        """Parks while the window is full. BrokenResourceError: the call is over."""

    def finish(self, status: CallStatus, trailing: Metadata, payload: bytes | None) -> None:
        """Ends the call after what was sent; ``payload`` is the single response, if any."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """Outcome of a unary call at the client. ``payload`` is None unless the status is OK."""

    status: CallStatus
    payload: bytes | None
    trailing: Metadata


class RawClientStream(Protocol):
    """One streaming call at the client; started when made."""

    @property
    def trailing(self) -> Metadata:
        """Metadata sent with the status; empty before it has arrived."""

    async def recv_many(self) -> list[bytes]:
        """Messages that have arrived, at least one; ``[]`` at the end."""

    async def send(self, payload: bytes) -> None:
        """Parks while the window is full. BrokenResourceError: the call is over."""

    def close_send(self) -> None:
        """Half-closes after what was sent."""

    async def status(self) -> CallStatus:
        """Waits for the end of the call."""

    def cancel(self) -> None:
        """Cancels the call; nothing if it is over."""
