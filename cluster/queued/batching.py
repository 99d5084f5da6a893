"""Which messages are ingested together, and when: the ingestion batching policy. Pure.

``batching-policy.md``: a batch is sealed when it has MaximumNumberOfItems blobs, when they come to
MaximumRawDataSizeMB, or MaximumBatchingTimeSpan after its first one; FlushImmediately seals at
once, which here is never before ``flush_us`` after the message came: suites of the SDKs look one
second after queueing and expect nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.batch.properties import IngestionProperties
    from cluster.catalog.policies import IngestionBatchingPolicy


class SealReason(enum.Enum):
    """Why a batch was sealed, as in Kusto's batch metrics."""

    SIZE = "Size"
    COUNT = "Count"
    TIME = "Time"
    FLUSH = "FlushImmediately"


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What messages of one batch have in common.

    ``principal`` is who sent them. ``alone`` is the number of a message that is never ingested with
    others (``ingestIfNotExists`` is decided for each), else 0.
    """

    database: str
    table: str
    properties: IngestionProperties
    principal: str = ""
    alone: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """One message. Sizes in bytes, uncompressed; times in microseconds since 1970 UTC."""

    number: int
    key: GroupKey
    arrived_us: int
    raw_bytes: int
    is_flush: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages to ingest in one transaction, oldest first."""

    key: GroupKey
    numbers: tuple[int, ...]
    reason: SealReason


@dataclass(slots=True)
class _Group:
    """``first_us`` is when the oldest came, ``flush_us`` when the oldest came that is to flush."""

    items: list[Item] = field(default_factory=list)
    raw_bytes: int = 0
    first_us: int | None = None
    flush_us: int | None = None

    def add(self, item: Item) -> None:
        self.items.append(item)
        self.raw_bytes += item.raw_bytes
        self.first_us = _earlier(self.first_us, item.arrived_us)
        if item.is_flush:
            self.flush_us = _earlier(self.flush_us, item.arrived_us)


class Aggregator:
    """Messages that wait. ``policy_of`` is the policy in force; None: there is no such table.

    Messages for a table that is not there do not wait longer than ``flush_us``: they are to fail.
    Policies are read anew each time, so a change of one is obeyed at once.
    """

    def __init__(
        self, policy_of: Callable[[GroupKey], IngestionBatchingPolicy | None], *, flush_us: int
    ) -> None:
        self._policy_of = policy_of
        self._flush_us = flush_us
        self._groups: dict[GroupKey, _Group] = {}

    def __len__(self) -> int:
        """Messages that wait."""
        return sum(len(group.items) for group in self._groups.values())

    def add(self, item: Item) -> None:
        """A message has come, or is there again after a restart."""
        self._groups.setdefault(item.key, _Group()).add(item)

    def due(self, now_us: int) -> list[Batch]:
        """Takes out the batches that are sealed by now."""
        found: list[Batch] = []
        for key in list(self._groups):
            found.extend(self._sealed(key, now_us))
        return found

    def next_due_us(self) -> int | None:
        """When :meth:`due` has something by time, if nothing comes meanwhile; None: never."""
        return min((self._deadline(key)[0] for key in self._groups), default=None)

    def _sealed(self, key: GroupKey, now_us: int) -> Iterator[Batch]:
        policy = self._policy_of(key)
        while policy is not None and (group := self._groups.get(key)) is not None:
            count, reason = _full(group, policy)
            if reason is None:
                break
            yield self._take(key, count, reason)
        if key in self._groups:
            deadline_us, reason = self._deadline(key)
            if deadline_us <= now_us:
                yield self._take(key, len(self._groups[key].items), reason)

    def _take(self, key: GroupKey, count: int, reason: SealReason) -> Batch:
        group = self._groups.pop(key)
        taken, rest = group.items[:count], group.items[count:]
        for item in rest:
            self.add(item)
        return Batch(key, tuple(item.number for item in taken), reason)

    def _deadline(self, key: GroupKey) -> tuple[int, SealReason]:
        group = self._groups[key]
        policy = self._policy_of(key)
        first_us = group.first_us or 0
        if policy is None:
            return first_us + self._flush_us, SealReason.FLUSH
        by_time_us = first_us + policy.time_us
        if group.flush_us is not None and group.flush_us + self._flush_us < by_time_us:
            return group.flush_us + self._flush_us, SealReason.FLUSH
        return by_time_us, SealReason.TIME


def _earlier(known_us: int | None, new_us: int) -> int:
    return new_us if known_us is None else min(known_us, new_us)


def _full(group: _Group, policy: IngestionBatchingPolicy) -> tuple[int, SealReason | None]:
    """How many items the next full batch has, and why it is full; None: it is not."""
    if len(group.items) < policy.items and group.raw_bytes < policy.raw_bytes:
        return 0, None
    size = 0
    for count, item in enumerate(group.items, 1):
        size += item.raw_bytes
        if size >= policy.raw_bytes:
            return count, SealReason.SIZE
        if count == policy.items:
            return count, SealReason.COUNT
    raise AssertionError("a full group has a full batch")
