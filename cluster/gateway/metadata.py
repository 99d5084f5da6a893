"""Metadata on its way to followers: each tree and each transaction is encoded once for all of them.

A tree of 10,000 tables takes half a second to encode. All calls that send it share the messages,
and whoever encodes it lets others run every few milliseconds.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from cluster.replication.protocol import MetadataDelta, Snapshot
from cluster.replication.wire import encode_in_steps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable

    from cluster.catalog.model import Database
    from cluster.limits import Limits
    from cluster.rpc.v1 import replication_pb2 as pb


@dataclass(slots=True)
class _Encoded:
    """``source`` keeps the object alive by whose identity this is found."""

    source: object
    messages: tuple[pb.FollowResponse, ...] = ()
    size_bytes: int = 0
    users: int = 0


class EncodedMetadata:
    """Snapshots and deltas as messages, found again by the identity of what they were made of.

    What nobody is sending is kept up to ``limits.replication_encoded_bytes``, the newest first.
    """

    def __init__(self, limits: Limits) -> None:
        self._limit_bytes = limits.replication_encoded_bytes
        self._entries: OrderedDict[Hashable, _Encoded] = OrderedDict()
        self._encoding: dict[Hashable, trio.Event] = {}
        self._trees: dict[str, tuple[Database, Database]] = {}
        self.encoded_total = 0
        self.kept_bytes = 0

    def rooted(self, database: Database, url: str) -> Database:
        """The tree with its storage root filled in; the same object for the same tree."""
        before, after = self._trees.get(database.name, (None, None))
        if before is not database or after is None or after.storage_root != url:
            after = replace(database, storage_root=url)
            self._trees[database.name] = (database, after)
        return after

    def clear(self) -> None:
        """No call is under way: nothing is kept."""
        self._entries.clear()
        self._trees.clear()
        self.kept_bytes = 0

    @asynccontextmanager
    async def messages(
        self, frame: Snapshot | MetadataDelta
    ) -> AsyncIterator[tuple[pb.FollowResponse, ...]]:
        """The messages of a frame, to be sent in the block."""
        key = _key_of(frame)
        while (entry := self._entries.get(key)) is None:
            if (encoding := self._encoding.get(key)) is not None:
                await encoding.wait()
            else:
                await self._encode(key, frame)
        self._entries.move_to_end(key)
        entry.users += 1
        try:
            yield entry.messages
        finally:
            entry.users -= 1
            self._evict()

    async def _encode(self, key: Hashable, frame: Snapshot | MetadataDelta) -> None:
        self._encoding[key] = trio.Event()
        try:
            steps = encode_in_steps(frame)
            while True:
                try:
                    next(steps)
                except StopIteration as done:
                    messages: tuple[pb.FollowResponse, ...] = done.value
                    break
                await trio.lowlevel.checkpoint()
        finally:
            self._encoding.pop(key).set()
        size_bytes = sum(message.ByteSize() for message in messages)
        self._entries[key] = _Encoded(_source_of(frame), messages, size_bytes)
        self.kept_bytes += size_bytes
        self.encoded_total += 1

    def _evict(self) -> None:
        for key, entry in tuple(self._entries.items()):
            if self.kept_bytes <= self._limit_bytes:
                return
            if not entry.users:
                del self._entries[key]
                self.kept_bytes -= entry.size_bytes


def _source_of(frame: Snapshot | MetadataDelta) -> object:
    return frame.database if isinstance(frame, Snapshot) else frame.changes


def _key_of(frame: Snapshot | MetadataDelta) -> Hashable:
    # Every transaction of a database has changes of its own, but an empty tuple is always the same.
    if isinstance(frame, Snapshot):
        return id(frame.database), frame.reset_rows
    return id(frame.changes), frame.from_version, frame.to_version
