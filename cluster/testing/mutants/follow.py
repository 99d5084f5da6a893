"""Defects of shipping and applying rows and metadata (R1, R2, R7, R8, R9)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.registry import Entry
from cluster.gateway import replication as gateway
from cluster.replication import leader
from cluster.replication.exchange import RowsRead, Send
from cluster.replication.leader import LeaderSession
from cluster.replication.position import START, KeyPosition, Position
from cluster.replication.protocol import Progress
from cluster.replication.shipping import Shipping
from cluster.replication.wire import spans_of
from cluster.rowstore import apply, driver
from cluster.rowstore.memory import FreshRows
from cluster.rowstore.record import parse_header
from cluster.rowstore.stores import RowStores
from cluster.testing.mutants.model import Mutant, all_of, replaced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.model import RowStoreKey

_Plant = AbstractContextManager[object]


# -- R1: a prefix -----------------------------------------------------------------------------


def _first_key_of_a_frame_only() -> _Plant:
    plan_apply = apply.plan_apply

    def plan(*args: Any, **options: Any) -> Any:
        whole = plan_apply(*args, **options)
        whole.entries = whole.entries[:1]
        return whole

    return replaced(driver, "plan_apply", plan)


def _stale_batches() -> _Plant:
    append = FreshRows.append

    def keep(self: Any, *args: Any) -> None:
        before = self._snapshot
        append(self, *args)
        self._snapshot = before

    return replaced(FreshRows, "append", keep)


# -- R2: ordered ------------------------------------------------------------------------------


def _sent_again_after_metadata() -> _Plant:
    learn = Shipping.learn

    def rewind(self: Any, changes: Any) -> None:
        for key, floor in changes.floors.items():
            if key in self.cursors:
                self.cursors[key] = floor.ordinal
        learn(self, changes)

    return replaced(Shipping, "learn", rewind)


def _sent_again_after_acknowledgement() -> _Plant:
    acknowledge = Shipping.acknowledge

    def go_back(self: Any, moved: Mapping[RowStoreKey, KeyPosition]) -> None:
        acknowledge(self, moved)
        for key in self.cursors:
            at = self._acknowledged.get(key, START)
            if at.ordinal < self.cursors[key]:
                self._move(key, at)
                self._look_again()

    return replaced(Shipping, "acknowledge", go_back)


# -- R7: resumable ----------------------------------------------------------------------------


def _resumes_at_the_end() -> _Plant:
    metadata_read, restart = LeaderSession.metadata_read, Shipping.restart
    ends: dict[int, Mapping[RowStoreKey, KeyPosition]] = {}

    def note(self: Any, read: Any) -> None:
        ends[id(self._shipping)] = read.ends()
        metadata_read(self, read)

    def jump(self: Any, position: Mapping[RowStoreKey, KeyPosition]) -> None:
        restart(self, position)
        for key, end in ends.get(id(self), {}).items():
            if key in self.cursors and self.cursors[key] < end.ordinal:
                self._move(key, end)

    return all_of(
        replaced(LeaderSession, "metadata_read", note), replaced(Shipping, "restart", jump)
    )


def _first_record_skipped() -> _Plant:
    async def read_rows(self: Any, asked: Any) -> None:
        log = self._service.row_stores
        lsn = asked.lsn
        if lsn is None:
            lsn = log.start_lsn_for(asked.cursors, asked.cursors)
        chunk = await log.read(lsn, asked.cursors, asked.cursors, asked.max_bytes)
        records = chunk.records
        if asked.lsn is None and records:
            records = records[parse_header(memoryview(records), 0)[0].length :]
        read = RowsRead(asked.generation, records, spans_of(records), chunk.next_lsn)
        self.session.rows_read(read)

    return all_of(replaced(gateway._FollowCall, "_read_rows", read_rows), _unchecked_launch())


def _unchecked_launch() -> _Plant:
    launch = Shipping.launch

    def believe(self: Any, chunk: RowsRead) -> None:
        for span in reversed(chunk.spans):
            self.cursors[span.key] = span.first_ordinal
        launch(self, chunk)

    return replaced(Shipping, "launch", believe)


def _first_delta_skipped() -> _Plant:
    since = Entry.deltas_since

    def after(self: Any, version: Any) -> Any:
        deltas = since(self, version)
        return deltas[1:] if deltas is not None and len(deltas) > 1 else deltas

    return replaced(Entry, "deltas_since", after)


# -- R8: bookmarks ----------------------------------------------------------------------------


def _bookmark_of_the_log() -> _Plant:
    metadata_read, bookmark = LeaderSession.metadata_read, Shipping.bookmark
    ends: dict[int, Mapping[RowStoreKey, KeyPosition]] = {}

    def note(self: Any, read: Any) -> None:
        ends[id(self._shipping)] = read.ends()
        metadata_read(self, read)

    def ahead(self: Any) -> dict[RowStoreKey, KeyPosition]:
        told = bookmark(self)
        for key, end in ends.get(id(self), {}).items():
            if end.ordinal > self.sent.get(key, START).ordinal:
                told[key] = end
        return told

    return all_of(
        replaced(LeaderSession, "metadata_read", note), replaced(Shipping, "bookmark", ahead)
    )


def _bookmark_before_metadata() -> _Plant:
    bookmark = LeaderSession._bookmark

    def newest(self: Any, moment: Any) -> Any:
        if self._told is None:
            return None
        output = bookmark(self, moment)
        if isinstance(output, Send) and isinstance(output.frame, Progress):
            position = Position(moment.version, output.frame.position.keys)
            return Send(replace(output.frame, position=position))
        return output

    duties = [duty for duty in leader.DUTIES if duty is not bookmark]
    before = duties.index(LeaderSession._deliver)
    return replaced(leader, "DUTIES", (*duties[:before], newest, *duties[before:]))


# -- R9: never silent -------------------------------------------------------------------------


def _memory_instead_of_the_log() -> _Plant:
    read = RowStores.read

    async def recent(self: Any, lsn: int, keys: Any, cursors: Any, max_bytes: int) -> Any:
        return await read(self, max(lsn, self._tail.records.start_lsn), keys, cursors, max_bytes)

    return all_of(replaced(RowStores, "read", recent), _unchecked_launch())


def _deltas_that_are_left() -> _Plant:
    since = Entry.deltas_since

    def left(self: Any, version: Any) -> Any:
        deltas = since(self, version)
        return tuple(delta for delta, _ in self.history._deltas) if deltas is None else deltas

    return replaced(Entry, "deltas_since", left)


MUTANTS: Final = (
    Mutant(
        "first-key-of-a-frame-only",
        "R1",
        "Of a frame with rows of several tables the position of all is taken over, and the rows of "
        "the first one only.",
        _first_key_of_a_frame_only,
    ),
    Mutant(
        "stale-batches",
        "R1",
        "The list of batches that queries read is kept when rows come: the position moves on, the "
        "rows do not.",
        _stale_batches,
        real=True,
    ),
    Mutant(
        "sent-again-after-metadata",
        "R2",
        "When a table changes, the leader begins again at its floor. The follower refuses to take "
        "the rows twice.",
        _sent_again_after_metadata,
    ),
    Mutant(
        "sent-again-after-acknowledgement",
        "R2",
        "The leader goes on from what was acknowledged last, not from what it sent last.",
        _sent_again_after_acknowledgement,
    ),
    Mutant(
        "resumes-at-the-end",
        "R7",
        "Whoever connects gets what comes from now on, not what comes after its position.",
        _resumes_at_the_end,
    ),
    Mutant(
        "first-record-skipped",
        "R7",
        "The place to go on from is taken for the last record the follower has; nobody compares "
        "what the log gave with what was asked for.",
        _first_record_skipped,
    ),
    Mutant(
        "first-delta-skipped",
        "R7",
        "Of the changes since a version the first one is left out, as if it led to that version.",
        _first_delta_skipped,
    ),
    Mutant(
        "bookmark-of-the-log",
        "R8",
        "A bookmark tells how far the leader's log goes, not how far it was sent.",
        _bookmark_of_the_log,
    ),
    Mutant(
        "bookmark-before-metadata",
        "R8",
        "Bookmarks go out before metadata that waits to be sent, and name its version.",
        _bookmark_before_metadata,
    ),
    Mutant(
        "memory-instead-of-the-log",
        "R9",
        "A follower that is further behind than memory reaches goes on with what memory has; "
        "nobody compares it with what was asked for.",
        _memory_instead_of_the_log,
    ),
    Mutant(
        "deltas-that-are-left",
        "R9",
        "A follower that is further behind than the history of changes gets the changes that are "
        "left, instead of a snapshot.",
        _deltas_that_are_left,
    ),
)
"""In the order of their rules."""
