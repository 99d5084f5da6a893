"""Writers' rows to records with their places in the log; several records as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cluster.catalog.model import RowStoreKey
from cluster.replication.position import START, KeyPosition
from cluster.rowstore.checkpoint import encode_checkpoint
from cluster.rowstore.entry import Entry, LogRecord
from cluster.rowstore.record import (
    FLAG_WITH_NEXT,
    RecordHeader,
    encode_record,
    encode_reset,
    next_checksum,
    record_length,
)
from cluster.rowstore.ticket import Group, Staged
from cluster.rowstore.times import NANOSECONDS_A_MICROSECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from cluster.rowstore.contents import Contents
    from cluster.rowstore.record import RequestSpan
    from cluster.rowstore.times import IngestionTimes
    from cluster.rowstore.worker import GroupCommit


class _Prepared(NamedTuple):
    """A record with its place. Of a reset mark only that; else ``before`` is where its key was."""

    record: LogRecord
    entry: Entry | None = None
    staged: Staged | None = None
    before: KeyPosition = START


class Stager:
    """Gives records their ordinals, checksums, times and LSNs, and puts them in a group.

    A **chain** is records staged ``with_next`` and the one after them. Its records are put into
    one group when it is complete, so all of them are written, or none is. It must be completed
    by the task that began it, before any checkpoint; else it is withdrawn.
    """

    def __init__(self, contents: Contents, commit: GroupCommit, *, times: IngestionTimes) -> None:
        self._contents = contents
        self._commit = commit
        self._times = times
        self._chain: list[_Prepared] = []
        self._owner: object = None

    def stage(
        self,
        key: RowStoreKey,
        schema_version: int,
        batch: pa.RecordBatch,
        spans: Sequence[RequestSpan],
        *,
        with_next: bool,
        owner: object,
    ) -> Staged:
        """See ``RowStore.stage``. ``owner`` is the task that stages.

        Whatever it raises, an unfinished chain is withdrawn.
        """
        commit = self._commit
        if self._chain and self._owner is not owner:
            self.withdraw()
        try:
            commit.check_writable()
            staged = self._prepare(key, schema_version, batch, spans, with_next=with_next)
        except BaseException:
            self.withdraw()
            raise
        commit.commit_soon()
        if with_next:
            self._owner = owner
        else:
            self._put_all()
            commit.commit_early()
        return staged

    def withdraw(self) -> None:
        """Gives up an unfinished chain: nothing of it was staged."""
        while self._chain:
            record, entry, staged, before = self._chain.pop()
            if entry is None or staged is None:
                self._contents.orphans.add(record.key)
                continue
            self._contents.withdraw(entry, before)
            self._times.settle(entry.times_us)
            staged.withdraw("the records that belong together were not all staged")

    def reset(self, key: RowStoreKey) -> None:
        """Says in the log that earlier records of a key are void."""
        self.withdraw()
        self._void(key, flags=0)
        self._put_all()

    def _void(self, key: RowStoreKey, *, flags: int) -> None:
        lsn = self._next_lsn
        raw = encode_reset(lsn, key, self._times.now_ns(), flags=flags)
        self._chain.append(_Prepared(LogRecord(lsn, key, 0, raw)))
        self._contents.orphans.discard(key)

    @property
    def _next_lsn(self) -> int:
        return self._commit.staged_lsn + sum([len(item.record.raw) for item in self._chain])

    def _put_all(self) -> None:
        chain, self._chain = self._chain, []
        for record, entry, staged, _ in chain:
            group = self._commit.add(record)
            if entry is not None and staged is not None:
                staged.join(group)
                group.entries.append(entry)
                group.request_count += len(entry.spans)
                self._contents.outcomes.remember(
                    record.key, entry.ordinals[0], entry.spans, group, record.lsn
                )

    def checkpoint(self, below_lsn: int) -> bool:
        """Writes down once more what is remembered of the log below an LSN, if anything is.

        False: there is nothing to write, or it was written before.
        """
        checkpoint = self._contents.outcomes.uncovered_below(below_lsn)
        if checkpoint is None:
            return False
        lsn = self._commit.staged_lsn
        raw = encode_checkpoint(lsn, checkpoint, self._times.now_ns())
        self._commit.add(LogRecord(lsn, RowStoreKey(0), 0, raw))
        return True

    def _prepare(
        self,
        key: RowStoreKey,
        schema_version: int,
        batch: pa.RecordBatch,
        spans: Sequence[RequestSpan],
        *,
        with_next: bool,
    ) -> Staged:
        contents = self._contents
        state = contents.state(key)
        contents.check_batch(state, schema_version, batch)
        body = batch.serialize()
        length = record_length(len(spans), body.size)
        contents.check_record(length)
        contents.check_room(length)
        if key in contents.orphans:
            self._void(key, flags=FLAG_WITH_NEXT if with_next or self._chain else 0)
        commit = self._commit
        lsn = self._next_lsn
        time_us = self._times.mint()
        before = KeyPosition(state.staged_ordinal, state.staged_checksum)
        header = RecordHeader(
            lsn=lsn,
            key=key,
            first_ordinal=before.ordinal,
            checksum=next_checksum(before.checksum, body),
            ingest_time_ns=time_us * NANOSECONDS_A_MICROSECOND,
            length=length,
            row_count=batch.num_rows,
            schema_version=schema_version,
            request_count=len(spans),
            flags=FLAG_WITH_NEXT if with_next else 0,
        )
        try:
            raw = encode_record(header, spans, body)
        except ValueError:
            self._times.settle((time_us,))
            raise
        end_ordinal = header.end_ordinal
        entry = Entry(
            state=state,
            batch=batch,
            schema_version=schema_version,
            byte_count=length,
            end_ordinal=end_ordinal,
            checksum=header.checksum,
            ordinals=(before.ordinal,),
            lsns=(lsn,),
            times_us=(time_us,),
            lengths=(length,),
            spans=spans,
        )
        contents.take(entry)
        # Of a group of its own while nobody knows whether the chain will be completed.
        group = Group() if with_next else commit.group()
        staged = Staged(key, before.ordinal, batch.num_rows, group)
        self._chain.append(_Prepared(LogRecord(lsn, key, end_ordinal, raw), entry, staged, before))
        return staged
