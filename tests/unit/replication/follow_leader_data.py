"""What the leader of a ``World`` has committed and when, and what a read of it gives."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.catalog.changes import AppendColumns, CreateTable, DropTable, apply
from cluster.catalog.journal import Delta
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    ScalarType,
    StreamingIngestionPolicy,
)
from cluster.replication.exchange import MetadataRead, RowsRead
from cluster.replication.position import START, KeyPosition
from cluster.replication.protocol import MetadataDelta, RecordSpan

COLUMN = Column("Name", ScalarType.STRING)
RECORD_BYTES = 8


@dataclass(frozen=True)
class Record:
    span: RecordSpan
    committed_at: float
    body: bytes


class LeaderData:
    """The leader's database and its log: the truth a follower is compared with."""

    def __init__(self, limits):
        self.limits = limits
        self.now = 100.0
        self.incarnation = 0
        self.next_key = 0
        self.fresh_leader()

    def fresh_leader(self):
        """A database with another id and history under the same name."""
        self.incarnation += 1
        self.database = Database(
            "db",
            f"id-{self.incarnation}",
            streaming_policy=StreamingIngestionPolicy(is_enabled=True),
        )
        self.history = []
        self.log = []
        self.kept = 0  # deltas before this index are not kept

    def commit(self, change):
        after = apply(self.database, (change,), self.limits)
        self.history.append(Delta(self.database.version, after.version, (change,)))
        self.database = after

    def create_table(self, name):
        self.next_key += 1
        self.commit(CreateTable(name, f"t{self.next_key}", RowStoreKey(self.next_key), (COLUMN,)))

    def drop_table(self, name):
        self.commit(DropTable(name))

    def add_column(self, name):
        width = len(self.database.tables[name].columns)
        self.commit(AppendColumns(name, (Column(f"C{width}", ScalarType.LONG),)))

    def ingest(self, name, rows=1):
        table = self.database.tables[name]
        before = self.ends().get(table.key, START)
        checksum = hash((before.checksum, rows, len(self.log))) & 0xFFFF_FFFF
        span = RecordSpan(table.key, table.schema_version, before.ordinal, rows, checksum)
        self.log.append(Record(span, self.now, b"%08d" % len(self.log)))

    def ends(self):
        return {r.span.key: KeyPosition(r.span.end, r.span.checksum) for r in self.log}

    def read_metadata(self, after):
        deltas = None
        for index, delta in enumerate(self.history):
            if delta.from_version == after and index >= self.kept:
                tail = self.history[index:]
                deltas = tuple(MetadataDelta(d.from_version, d.to_version, d.changes) for d in tail)
                break
        else:
            if after == self.database.version:
                deltas = ()
        return MetadataRead(self.database, deltas, self.ends())

    def committed(self):
        """Spans of the tables that exist on the leader, by key."""
        found = {table.key: [] for table in self.database.tables.values()}
        for record in self.log:
            if record.span.key in found:
                found[record.span.key].append(record.span)
        return {key: spans for key, spans in found.items() if spans}

    def read_rows(self, asked):
        """What a read gives of the log as it is now."""
        start = 0 if asked.lsn is None else asked.lsn // RECORD_BYTES
        spans, records, lsn = [], b"", start
        for record in self.log[start:]:
            wanted = record.span.end > asked.cursors.get(record.span.key, 1 << 62)
            if wanted and len(records) + RECORD_BYTES > asked.max_bytes:
                break
            lsn += 1
            if wanted:
                spans.append(record.span)
                records += record.body
        return RowsRead(asked.generation, records, tuple(spans), lsn * RECORD_BYTES)
