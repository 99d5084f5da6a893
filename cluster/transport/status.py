"""Between errors and the status that ends a call. Knows google.rpc, not gRPC.

A :class:`RemoraError` travels as a serialised ``google.rpc.Status`` in the trailing metadata
``grpc-status-details-bin``, with these details (``google/rpc/error_details.proto``):

- ``ErrorInfo``: ``reason`` and ``domain`` name the class; ``metadata`` holds the error's own facts
  and, under the names of :data:`RESERVED_FACTS`, its Kusto code and type, HTTP status, permanence
  and remedy, so that a client in any language sees them;
- ``RetryInfo`` when the error says how long to wait;
- ``PreconditionFailure`` for a :class:`StateError`;
- ``QuotaFailure`` for an error whose status is RESOURCE_EXHAUSTED.

The receiving side makes an equal error again: same class (matched by reason), message, remedy,
metadata and retry delay. What is not kept: text beyond :data:`TEXT_BYTES`, facts beyond
:data:`FACTS_BYTES`, and facts named like a reserved one. Metadata is HTTP/2 headers, which peers
bound (8 KiB is common), so an error must stay small to arrive at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from cluster.errors import (
    ERROR_DOMAIN,
    RemoraError,
    RpcError,
    StateError,
    Status,
    TimedOutError,
    UnavailableError,
    error_classes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata key of the serialised ``google.rpc.Status``."""

RESERVED_FACTS = ("code", "type", "http_status", "permanent", "remedy")
"""Names in ``ErrorInfo.metadata`` that describe the error's class, not its occasion."""

TEXT_BYTES = 2048
"""Bytes of UTF-8 of a message or remedy that travel; the rest is cut and marked with ``...``."""

FACTS_BYTES = 2048
"""Bytes of UTF-8 of all of an error's own facts that travel; facts beyond are left out."""


@dataclass(frozen=True, slots=True)
class CallStatus:
    """How a call ended. ``details`` is a serialised ``google.rpc.Status``, empty if there is none.

    ``details`` of a status received is whatever the peer sent: :func:`error_of` checks it.
    """

    code: Status
    message: str = ""
    details: bytes = b""


CALL_OK = CallStatus(Status.OK)


def status_of(error: RemoraError) -> CallStatus:
    """The status a call that failed with ``error`` ends with."""
    code = error.rpc_status if isinstance(error, RpcError) else error.status
    message = _cut(error.message)
    status = status_pb2.Status(code=int(code), message=message)
    for detail in _details_of(error, message):
        status.details.add().Pack(detail)
    return CallStatus(code, message, status.SerializeToString())


def error_of(status: CallStatus) -> RemoraError:
    """The error a call that ended with ``status`` raises; ``status`` must not be OK.

    Without Remora details DEADLINE_EXCEEDED becomes :class:`TimedOutError`, UNAVAILABLE
    :class:`UnavailableError` and everything else :class:`RpcError`. Details that do not parse, or
    are not Remora's, count as none: they come from a peer and prove nothing.
    """
    if status.code is Status.OK:
        raise ValueError("a call that ended with OK has no error")
    typed = _typed_error(status)
    if typed is not None:
        return typed
    if status.code is Status.DEADLINE_EXCEEDED:
        return TimedOutError(status.message or "the deadline of the call is over")
    if status.code is Status.UNAVAILABLE:
        return UnavailableError(status.message or "the peer cannot be reached")
    return RpcError(status.code, status.message or "the call failed without a message")


def status_code(number: int) -> Status:
    """The canonical status of a number off the wire; unknown numbers are UNKNOWN (gRPC's rule)."""
    try:
        return Status(number)
    except ValueError:
        return Status.UNKNOWN


def _details_of(error: RemoraError, message: str) -> Iterable[object]:
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN)
    room_bytes = FACTS_BYTES
    for name, fact in error.metadata.items():
        room_bytes -= len(name.encode()) + len(fact.encode())
        if room_bytes < 0:
            break
        info.metadata[name] = fact
    info.metadata.update(
        code=error.code,
        type=error.kusto_type,
        http_status=str(error.http_status),
        permanent="true" if error.permanent else "false",
        remedy=_cut(error.remedy),
    )
    yield info
    if error.retry_after_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_seconds * 1e9))
        yield retry
    subject = error.metadata.get("limit") or error.metadata.get("database") or ERROR_DOMAIN
    if isinstance(error, StateError):
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(type=error.reason, subject=subject, description=message)
        yield failure
    if error.status is Status.RESOURCE_EXHAUSTED:
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(subject=subject, description=message)
        yield quota


def _typed_error(status: CallStatus) -> RemoraError | None:
    if not status.details:
        return None
    try:
        message = status_pb2.Status.FromString(status.details)
        info = error_details_pb2.ErrorInfo()
        retry = error_details_pb2.RetryInfo()
        for detail in message.details:
            # Unpack merges nothing and returns False when the detail is of another type.
            detail.Unpack(info)
            detail.Unpack(retry)
    except DecodeError:
        return None
    if info.domain != ERROR_DOMAIN:
        return None
    error_class = {each.reason: each for each in error_classes()}.get(info.reason)
    if error_class is None:
        return None
    # Classes may have constructors of their own; what travels is what the base class holds.
    error = error_class.__new__(error_class)
    RemoraError.__init__(
        error,
        message.message,
        remedy=info.metadata.get("remedy"),
        metadata={k: v for k, v in info.metadata.items() if k not in RESERVED_FACTS},
        retry_after_seconds=(
            retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None
        ),
    )
    if isinstance(error, RpcError):
        error.rpc_status = status.code
    return error


def _cut(text: str) -> str:
    data = text.encode(errors="replace")
    if len(data) <= TEXT_BYTES:
        return data.decode()
    return data[: TEXT_BYTES - 3].decode(errors="ignore") + "..."
