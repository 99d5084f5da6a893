"""Code around every call: authentication, limits, logging, metrics.

A server interceptor wraps handlers::

    async def only_with_token(call: Call, proceed: Proceed) -> None:
        if ("authorization", TOKEN) not in call.metadata:
            raise ReadOnlyError("no token")     # the handler never runs
        await proceed()                         # raises what the handler raises

A client interceptor wraps calls; it may change metadata and timeout before the call, and sees the
error it ends with::

    @asynccontextmanager
    async def with_token(call: OutgoingCall) -> AsyncIterator[OutgoingCall]:
        yield replace(call, metadata=(*call.metadata, ("authorization", TOKEN)))

The first interceptor is the outermost. A unary call is wrapped whole; a client stream from
entering its block to leaving it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cluster.transport.api import Call

if TYPE_CHECKING:
    from cluster.transport.api import Metadata


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """A call about to be made."""

    method: str
    timeout_seconds: float | None
    """None: no deadline."""
    metadata: Metadata


Proceed: TypeAlias = Callable[[], Awaitable[None]]
"""Runs the rest of the chain and the handler."""

ServerInterceptor: TypeAlias = Callable[[Call, Proceed], Awaitable[None]]

ClientInterceptor: TypeAlias = Callable[[OutgoingCall], AbstractAsyncContextManager[OutgoingCall]]
