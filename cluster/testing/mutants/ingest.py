"""Defects of taking rows: requests told apart, kept whole, made durable (R3, R4, R5, R6)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from cluster.ingest import deciding
from cluster.ingest.deciding import Decider
from cluster.ingest.driver import IngestPipeline
from cluster.replication.position import KeyPosition
from cluster.rowstore import memory, recovery
from cluster.rowstore.loader import RowLoader
from cluster.rowstore.log import SegmentedLog
from cluster.rowstore.memory import FreshRows
from cluster.rowstore.outcomes import OutcomeWindow
from cluster.rowstore.record import (
    DamageKind,
    Record,
    RecordDamageError,
    RequestSpan,
    parse_record,
    source_digest,
)
from cluster.rowstore.stores import RowStores
from cluster.testing.mutants.model import Mutant, all_of, replaced

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.ingest.deciding import Pending

_Plant = AbstractContextManager[object]


# -- R3: once ---------------------------------------------------------------------------------


def _outcomes_dropped_when_durable() -> _Plant:
    def settle(self: Any, _key: object, _ordinal: int, spans: Any, _lsn: int) -> None:
        for source, _ in spans:
            self._outcomes.pop(source, None)

    return replaced(OutcomeWindow, "settle", settle)


def _source_ids_not_recovered() -> _Plant:
    return all_of(
        replaced(RowLoader, "_remember", lambda *_: None),
        replaced(OutcomeWindow, "restore", lambda *_: None),
    )


def _source_of_the_attempt() -> _Plant:
    attempts = count()

    def digest(key: RowStoreKey, source_id: str) -> bytes:
        return source_digest(key, f"{source_id} {next(attempts)}")

    return replaced(deciding, "source_digest", digest)


def _twins_not_noticed() -> _Plant:
    claim = Decider.claim

    def blind(self: Any, ticket: Any, key: RowStoreKey) -> bool:
        self._by_source.clear()
        return claim(self, ticket, key)

    return replaced(Decider, "claim", blind)


# -- R4: all or none --------------------------------------------------------------------------


def _shown_in_two_steps() -> _Plant:
    append = FreshRows.append

    def halves(self: Any, batch: pa.RecordBatch, version: int, byte_count: int) -> None:
        late = vars(self).pop("_late", None)
        if late is not None:
            append(self, *late)
        half = batch.num_rows // 2
        if half:
            append(self, batch.slice(0, half), version, byte_count // 2)
            vars(self)["_late"] = (batch.slice(half), version, byte_count - byte_count // 2)
        else:
            append(self, batch, version, byte_count)

    return replaced(FreshRows, "append", halves)


def _compaction_drops_a_row() -> _Plant:
    join = memory._join

    def short(pieces: list[Any]) -> Any:
        joined = join(pieces)
        if len(pieces) == 1:
            return joined
        return joined._replace(batch=joined.batch.slice(0, joined.batch.num_rows - 1))

    return replaced(memory, "_join", short)


# -- R5: durable ------------------------------------------------------------------------------


def _ack_when_staged() -> _Plant:
    def await_commit(self: Any, pending: Pending) -> None:
        staged: Any = pending.staged
        state = self._row_store._home(staged.key)._contents.keys[staged.key]
        position = KeyPosition(state.staged_ordinal, state.staged_checksum)
        for ticket, rows in zip(pending.tickets, pending.row_counts, strict=True):
            self._commit(ticket, staged.key, rows, position, duplicate=pending.duplicate)

    return replaced(Decider, "await_commit", await_commit)


def _log_not_synced() -> _Plant:
    return replaced(SegmentedLog, "_put", lambda _, file, buffers: file.append(buffers))


def _segment_name_not_synced() -> _Plant:
    begin = SegmentedLog._begin_segment

    def unsynced(self: Any) -> None:
        before, self._sync = self._sync, False
        try:
            begin(self)
        finally:
            self._sync = before

    return replaced(SegmentedLog, "_begin_segment", unsynced)


def _failed_sync_tried_again() -> _Plant:
    put = SegmentedLog._put

    def insist(self: Any, file: Any, buffers: Any) -> None:
        try:
            put(self, file, buffers)
        except OSError:
            file.datasync()

    return replaced(SegmentedLog, "_put", insist)


def _last_record_taken_for_torn() -> _Plant:
    segment = recovery._Recovery._segment

    def short(view: memoryview, offset: int) -> Record:
        record = parse_record(view, offset)
        if offset + record.header.length == len(view):
            raise RecordDamageError(DamageKind.INCOMPLETE, offset, len(view) - offset, "torn")
        return record

    def cut(self: Any, lsn: int, *, is_last: bool) -> bool:
        damaged: _Plant = nullcontext()
        if is_last and self._sync:
            damaged = all_of(
                replaced(recovery, "parse_record", short),
                replaced(recovery, "is_torn", lambda *_: True),
            )
        with damaged:
            return segment(self, lsn, is_last=is_last)

    return replaced(recovery._Recovery, "_segment", cut)


# -- R6: real ---------------------------------------------------------------------------------


def _rows_before_the_bad_one_stored() -> _Plant:
    finish = IngestPipeline._finish

    def store(self: Any, lane: Any, aim: Any, group: Any, result: Any, parts: Any = None) -> None:
        for payload, error in zip(group.payloads, result.errors, strict=True):
            kept, newline, _ = payload.rstrip().rpartition(b"\n")
            if error is None or not newline:
                continue
            batch = aim.decoder.decode_group(lane.key[2], [kept + newline]).batch
            if batch is not None:
                store = self._decider._row_store
                key = store.choose(aim.target.table.references).key
                own = [RequestSpan(b"", batch.num_rows)]
                store.stage(key, aim.schema.table.schema_version, batch, own)
        finish(self, lane, aim, group, result, parts)

    return replaced(IngestPipeline, "_finish", store)


def _references_by_a_short_hash() -> _Plant:
    choose = RowStores.choose

    def remembered(self: Any, references: Any) -> Any:
        known = vars(self).setdefault("_remembered", {})
        return choose(self, known.setdefault(references[0].key % 4, references))

    return replaced(RowStores, "choose", remembered)


MUTANTS: Final = (
    Mutant(
        "outcomes-dropped-when-durable",
        "R3",
        "What is remembered of a request is freed as soon as its rows are durable, to save memory; "
        "a retry whose acknowledgement was lost is stored again.",
        _outcomes_dropped_when_durable,
    ),
    Mutant(
        "source-ids-not-recovered",
        "R3",
        "Opening a log brings back the rows and forgets the source ids they came with.",
        _source_ids_not_recovered,
    ),
    Mutant(
        "source-of-the-attempt",
        "R3",
        "The source id is hashed together with the number of the attempt, so no retry is one.",
        _source_of_the_attempt,
        real=True,
    ),
    Mutant(
        "twins-not-noticed",
        "R3",
        "Only what is staged is looked up: two requests of one source id that arrive together are "
        "in one group, and both are stored.",
        _twins_not_noticed,
        real=True,
    ),
    Mutant(
        "shown-in-two-steps",
        "R4",
        "A group of rows becomes visible in two steps, not to hold the node's thread for long: one "
        "half now, the other with the next group.",
        _shown_in_two_steps,
        real=True,
    ),
    Mutant(
        "compaction-drops-a-row",
        "R4",
        "Joining sixteen small batches to a larger one is off by one row.",
        _compaction_drops_a_row,
        real=True,
    ),
    Mutant(
        "ack-when-staged",
        "R5",
        "A request is acknowledged when its rows have their place in the log, before the log has "
        "the rows.",
        _ack_when_staged,
    ),
    Mutant(
        "log-not-synced",
        "R5",
        "The log is written and never synced: the kernel will do that, and the power stays on.",
        _log_not_synced,
    ),
    Mutant(
        "segment-name-not-synced",
        "R5",
        "A new segment is synced and its folder is not: after a power failure the file has no "
        "name.",
        _segment_name_not_synced,
    ),
    Mutant(
        "failed-sync-tried-again",
        "R5",
        "A sync that failed is tried again, and its success believed, although the kernel has "
        "dropped the pages it could not write.",
        _failed_sync_tried_again,
    ),
    Mutant(
        "last-record-taken-for-torn",
        "R5",
        "Opening a log stops one record early: it takes the last one for torn, and cuts it off.",
        _last_record_taken_for_torn,
        real=True,
    ),
    Mutant(
        "rows-before-the-bad-one-stored",
        "R6",
        "A request with a bad row is refused at that row; those before it are stored already.",
        _rows_before_the_bad_one_stored,
        real=True,
    ),
    Mutant(
        "references-by-a-short-hash",
        "R6",
        "Where a table's rows go is remembered under a hash that two tables can share: rows of one "
        "are stored in the other.",
        _references_by_a_short_hash,
    ),
)
"""In the order of their rules."""
