"""The server side above bytes: runs one handler and decides how its call ends.

Every transport hands its calls to :func:`serve_call`. How calls end is decided here once:

===============================  ===========================================================
the handler ...                  the call ends with ...
===============================  ===========================================================
returns                          OK
raises a RemoraError             its status and details
raises anything else             INTERNAL without its text; logged with traceback
is cancelled by the peer         CANCELLED or DEADLINE_EXCEEDED (the peer knows already)
is cancelled by the server       UNAVAILABLE: trio.Cancelled never becomes a result
===============================  ===========================================================

An exception group counts as its first error if all of them are RemoraErrors, else as "anything
else". Cancellations in it are passed on to trio.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from cluster.errors import (
    InternalError,
    InvalidRequestError,
    LimitExceededError,
    RemoraError,
    Status,
    UnavailableError,
)
from cluster.limits import LIMITS, Limits
from cluster.transport.metadata import checked_metadata
from cluster.transport.status import CALL_OK, CallStatus, status_of
from cluster.transport.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cluster.transport.api import Metadata
    from cluster.transport.interceptors import ServerInterceptor
    from cluster.transport.methods import Method
    from cluster.transport.raw import RawServerCall

log = logging.getLogger("cluster.transport")

STOPPING = status_of(UnavailableError("the server is stopping"))
"""How calls end that a stopping server cuts off."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What all calls of one server share."""

    interceptors: Sequence[ServerInterceptor] = ()
    limits: Limits = LIMITS
    traffic: Traffic = field(default_factory=Traffic)


class ServedCall:
    """What a handler gets: :class:`cluster.transport.api.Call` and ``ServerStream``."""

    __slots__ = ("_method", "_raw", "_serving", "trailing")

    def __init__(self, serving: Serving, raw: RawServerCall, method: Method) -> None:
        self._serving = serving
        self._raw = raw
        self._method = method
        self.trailing: Metadata = ()

    @property
    def method(self) -> str:
        """Full path, ``/package.Service/Method``."""
        return self._method.path

    @property
    def metadata(self) -> Metadata:
        """Metadata the client sent."""
        return self._raw.metadata

    @property
    def peer(self) -> str:
        """Address of the client, for logs."""
        return self._raw.peer

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; infinite without one."""
        return self._raw.seconds_left

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Metadata to send with the status; the last set wins. ValueError: a bad pair."""
        self.trailing = checked_metadata(metadata)

    async def recv_many(self) -> list[Any]:
        """Every message that has arrived, at least one; ``[]`` when the client has closed.

        Raises InvalidRequestError if one does not parse.
        """
        return [self.parsed(payload) for payload in await self._raw.recv_many()]

    async def send(self, message: Any) -> None:
        """Sends one message; parks while the window is full.

        Raises LimitExceededError if it is too large (nothing is sent) and BrokenResourceError if
        the call is over.
        """
        await self._raw.send(self.serialized(message))

    def parsed(self, payload: bytes) -> Any:
        """One request, decoded."""
        self._serving.traffic.received(payload)
        try:
            return self._method.deserialize_request(payload)
        except Exception as error:
            raise InvalidRequestError(
                f"a request of {self.method} does not parse: {error}"
            ) from error

    def serialized(self, message: Any) -> bytes:
        """One response, encoded and within the limit."""
        payload = self._method.serialize_response(message)
        check_message_size(len(payload), self._serving.limits, self.method)
        self._serving.traffic.sent(payload)
        return payload


def check_message_size(size_bytes: int, limits: Limits, method: str) -> None:
    """Raises LimitExceededError if a message of ``size_bytes`` may not be sent."""
    if size_bytes > limits.grpc_message_bytes:
        raise LimitExceededError(
            f"a message of {size_bytes} bytes is over the limit of "
            f"{limits.grpc_message_bytes} bytes ({method})",
            metadata={"limit": "grpc_message_bytes", "method": method},
        )


async def serve_call(
    serving: Serving, raw: RawServerCall, method: Method, request: bytes | None
) -> None:
    """Runs the handler of ``method`` and ends the call. Returns or raises only for trio's sake.

    ``request`` is the single request of a method whose requests are not streamed.
    """
    serving.traffic.started()
    call = ServedCall(serving, raw, method)
    status = CallStatus(Status.CANCELLED)
    payload: bytes | None = None
    try:
        with raw.scope:
            payload = await _intercepted(serving, call, method, request)
            status = CALL_OK
        if raw.scope.cancelled_caught and raw.seconds_left <= 0:
            status = CallStatus(Status.DEADLINE_EXCEEDED)
    except BaseException as error:
        status = _status_after(error, raw, method)
        passing = error.split(Exception)[1] if isinstance(error, BaseExceptionGroup) else error
        if passing is not None and not isinstance(passing, Exception):
            raise passing from None
    finally:
        raw.finish(status, call.trailing, payload if status is CALL_OK else None)
        serving.traffic.ended(status.code)


async def _intercepted(
    serving: Serving, call: ServedCall, method: Method, request: bytes | None
) -> bytes | None:
    if not serving.interceptors:
        return await _handled(call, method, request)
    payload: bytes | None = None

    async def innermost() -> None:
        nonlocal payload
        payload = await _handled(call, method, request)

    chain = innermost
    for interceptor in reversed(serving.interceptors):
        chain = functools.partial(interceptor, call, chain)  # type: ignore[assignment]
    await chain()
    if payload is None and not method.response_streaming:
        raise InternalError(f"an interceptor of {method.path} returned without proceeding")
    return payload


async def _handled(call: ServedCall, method: Method, request: bytes | None) -> bytes | None:
    if request is None:
        response = await method.handler(call)
    else:
        response = await method.handler(call.parsed(request), call)
    return None if method.response_streaming else call.serialized(response)


def _status_after(error: BaseException, raw: RawServerCall, method: Method) -> CallStatus:
    failures = [each for each in _leaves(error) if not isinstance(each, trio.Cancelled)]
    if not failures:
        return STOPPING
    if raw.is_over and all(isinstance(each, trio.BrokenResourceError) for each in failures):
        return CallStatus(Status.CANCELLED)  # it tried to send to a peer that had just left
    if all(isinstance(each, RemoraError) for each in failures):
        first = failures[0]
        assert isinstance(first, RemoraError)
        return status_of(first)
    log.error("the handler of %s failed", method.path, exc_info=error)
    return status_of(InternalError(f"the handler of {method.path} failed"))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
