"""Which waiting requests are decoded together, and whether that is small work. Pure.

Requests wait in lanes, one for each database, table, format and mapping as named by the callers.
A lane decodes one group at a time, in the order of arrival.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cluster.errors import RequestError
from cluster.ingest.compression import is_compressed, unpack_small
from cluster.ingest.request import DELIMITERS, DataFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.ingest.ticket import Ticket
    from cluster.limits import Limits

SMALL_GROUP_BYTES: Final = 64 * 1024
"""Up to here decoding takes about a millisecond, less than it is worth handing to a thread."""

AMORTISED_REQUESTS: Final = 16
"""With so many requests the fixed cost of a group is small for each; a larger one gains little."""

_DELIMITED: Final = frozenset(DELIMITERS)

LaneKey = tuple[str, str, DataFormat, str]
"""Database and table as named by the callers, format, and name of the mapping if any."""


@dataclass(slots=True, eq=False)
class Lane:
    """Waiting requests of one kind. ``is_busy``: a group of it is being decoded in a thread."""

    key: LaneKey
    waiting: deque[Ticket] = field(default_factory=deque)
    is_busy: bool = False
    is_ready: bool = False


@dataclass(slots=True, eq=False)
class DecodeGroup:
    """Requests to decode together. ``payloads[i]`` belongs to ``tickets[i]``.

    ``damaged``: requests found not to be decodable on the way, and why.
    ``is_small``: cheap enough for the thread that owns all state.
    """

    tickets: list[Ticket] = field(default_factory=list)
    damaged: list[tuple[Ticket, RequestError]] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    byte_count: int = 0
    is_small: bool = True


def take_group(
    lane: Lane, column_count: int, limits: Limits, claim: Callable[[Ticket], bool]
) -> DecodeGroup:
    """Takes the next group from the front of a lane.

    ``claim`` is asked for each request and returns False if it needs no decoding (any more): a
    duplicate. Small archives are decompressed here, so that a group's size is its true size; a
    large one makes a group of its own.
    """
    group = DecodeGroup()
    tickets, payloads, waiting = group.tickets, group.payloads, lane.waiting
    # A JSON record of three bytes becomes a pointer for each column while it is decoded.
    weight = 1 if lane.key[2] in _DELIMITED else max(1, column_count // 8)
    while waiting and len(tickets) < limits.ingest_group_requests:
        ticket = waiting[0]
        payload = ticket.request.payload
        if is_compressed(payload):
            try:
                text = unpack_small(payload, limits, SMALL_GROUP_BYTES)
            except RequestError as error:
                group.damaged.append((waiting.popleft(), error))
                continue
            if text is None:
                if tickets:
                    break
                if claim(waiting.popleft()):
                    tickets.append(ticket)
                    payloads.append(payload)
                    group.byte_count = len(payload)
                    group.is_small = False
                    return group
                continue
            payload = text
        byte_count = group.byte_count + len(payload) * weight
        if tickets and byte_count > _room(len(tickets), limits):
            break
        waiting.popleft()
        if claim(ticket):
            tickets.append(ticket)
            payloads.append(payload)
            group.byte_count = byte_count
    group.is_small = group.byte_count <= SMALL_GROUP_BYTES
    return group


def _room(ticket_count: int, limits: Limits) -> int:
    if ticket_count >= AMORTISED_REQUESTS:
        return min(SMALL_GROUP_BYTES, limits.ingest_group_bytes)
    return limits.ingest_group_bytes
