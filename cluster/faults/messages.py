"""Between the messages of ``faults.proto`` and the values here. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.conformance.faults import Fault
from cluster.faults.active import FOREVER, ActiveFault
from cluster.faults.kinds import kind_name, parse_kind
from cluster.rpc.v1 import faults_pb2

if TYPE_CHECKING:
    from collections.abc import Container, Iterable


def fault_to_message(fault: Fault) -> faults_pb2.Fault:
    """Encodes a fault. Its duration travels beside it."""
    return faults_pb2.Fault(
        kind=kind_name(fault.kind),
        target=fault.target,
        seconds=fault.seconds,
        jitter_seconds=fault.jitter_seconds,
        ratio=fault.ratio,
        bytes_per_second=fault.bytes_per_second,
        monotonic_seconds=fault.monotonic_seconds,
    )


def fault_from_message(message: faults_pb2.Fault, duration: float = 0.0) -> Fault:
    """Decodes it, unchecked but for its kind: raises InvalidRequestError if there is none."""
    return Fault(
        kind=parse_kind(message.kind),
        target=message.target,
        duration=duration,
        seconds=message.seconds,
        jitter_seconds=message.jitter_seconds,
        ratio=message.ratio,
        bytes_per_second=message.bytes_per_second,
        monotonic_seconds=message.monotonic_seconds,
    )


def active_to_message(
    active: ActiveFault, now: float, *, in_effect: bool = False
) -> faults_pb2.ActiveFault:
    """Encodes a fault there is. Times become relative to ``now``."""
    remaining = 0.0 if active.ends_at == FOREVER else max(1e-6, active.ends_at - now)
    return faults_pb2.ActiveFault(
        id=active.id,
        fault=fault_to_message(active.fault),
        age_seconds=max(0.0, now - active.began_at),
        remaining_seconds=remaining,
        in_effect=in_effect,
    )


def actives_to_messages(
    actives: Iterable[ActiveFault], now: float, in_effect: Container[str] = ()
) -> list[faults_pb2.ActiveFault]:
    """Encodes several; those whose ids are in ``in_effect`` are."""
    return [active_to_message(one, now, in_effect=one.id in in_effect) for one in actives]


def active_from_message(message: faults_pb2.ActiveFault, now: float) -> ActiveFault:
    """Decodes it; its times are relative to ``now``. Raises InvalidRequestError."""
    remaining = message.remaining_seconds
    return ActiveFault(
        id=message.id,
        fault=fault_from_message(message.fault),
        began_at=now - message.age_seconds,
        ends_at=now + remaining if remaining else FOREVER,
    )


def actives_from_messages(
    messages: Iterable[faults_pb2.ActiveFault], now: float
) -> tuple[ActiveFault, ...]:
    """Decodes several."""
    return tuple(active_from_message(message, now) for message in messages)
