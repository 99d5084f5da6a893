"""What the leader of a ``World`` has committed and when, and what a read of it gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cluster.catalog.changes import (
    AppendColumns,
    ClearTable,
    CreateTable,
    DropTable,
    ReplaceExtents,
    RestoreTable,
    SealedRange,
    SealRows,
    SetReferences,
    apply,
)
from cluster.catalog.journal import Delta
from cluster.catalog.model import (
    Column,
    Database,
    Extent,
    Provenance,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    StreamingIngestionPolicy,
)
from cluster.replication.exchange import MetadataRead, RowsRead
from cluster.replication.floors import floors_of, raised
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
    """The leader's database and its log: the truth a follower is compared with.

    Nothing is removed from ``log``; what a real log has trimmed cannot be read any more.
    """

    def __init__(self, limits):
        self.limits = limits
        self.now = 100.0
        self.incarnation = 0
        self.next_key = 0
        self.next_extent = 0
        self.root = "file:///leader/1"
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
        self.trees = {self.database.version: self.database}
        self.log = []
        self.kept = 0  # deltas before this index are not kept

    def commit(self, change):
        after = apply(self.database, (change,), self.limits)
        self.history.append(Delta(self.database.version, after.version, (change,)))
        self.database = self.trees[after.version] = after

    def new_key(self):
        self.next_key += 1
        return RowStoreKey(self.next_key)

    def create_table(self, name, keys=1):
        key = self.new_key()
        self.commit(CreateTable(name, f"t{key}", key, (COLUMN,)))
        for _ in range(keys - 1):
            self.add_key(name)

    def add_key(self, name):
        references = self.database.tables[name].references
        added = RowStoreReference(len(references), self.new_key())
        self.commit(SetReferences(name, (*references, added)))

    def drop_table(self, name):
        self.commit(DropTable(name))

    def restore_table(self, name):
        """Undoes the newest drop of a table of that name; False if there is none."""
        for dropped in reversed(self.database.dropped_tables):
            if dropped.table.name == name and name not in self.database.tables:
                self.commit(RestoreTable(dropped.version, name, self.new_key()))
                return True
        return False

    def add_column(self, name):
        width = len(self.database.tables[name].columns)
        self.commit(AppendColumns(name, (Column(f"C{width}", ScalarType.LONG),)))

    def ingest(self, name, rows=1, place=0):
        """A record of a table, under the key of its reference at ``place``, counted round."""
        table = self.database.tables[name]
        key = table.keys[place % len(table.keys)]
        before = self.ends().get(key, START)
        checksum = hash((before.checksum, rows, len(self.log))) & 0xFFFF_FFFF
        span = RecordSpan(key, table.schema_version, before.ordinal, rows, checksum)
        self.log.append(Record(span, self.now, b"%08d" % len(self.log)))

    # -- sealing

    def seal(self, name, records=1 << 30):
        """Seals the oldest unsealed records of each key of a table, at most so many of each.

        False if there are none.
        """
        ranges, sources = [], []
        for reference in self.database.tables[name].references:
            spans = self.unsealed(reference)[:records]
            if spans:
                end = spans[-1].end
                ranges.append(SealedRange(reference.key, end, spans[-1].checksum))
                sources.append(Provenance(reference.key, reference.sealed_ordinal, end))
        if not ranges:
            return False
        rows = sum(source.end_ordinal - source.first_ordinal for source in sources)
        extent = self.extent(name, rows, tuple(sources))
        self.commit(SealRows(name, tuple(ranges), (extent,)))
        return True

    def merge(self, name):
        """All extents of a table become one; False if there are fewer than two."""
        extents = self.database.tables[name].extents
        if len(extents) < 2:
            return False
        sources = tuple(source for extent in extents.values() for source in extent.sources)
        rows = sum(extent.row_count for extent in extents.values())
        merged = self.extent(name, rows, sources)
        self.commit(ReplaceExtents(name, tuple(extents), (merged,)))
        return True

    def clear(self, name):
        """Every row of a table is gone, sealed or not."""
        ends = self.ends()
        ranges = tuple(
            SealedRange(key, ends[key].ordinal, ends[key].checksum)
            for key in self.database.tables[name].keys
            if key in ends
        )
        self.commit(ClearTable(name, ranges))

    def extent(self, name, rows, sources):
        self.next_extent += 1
        name = f"e{self.next_extent}"
        return Extent(name, f"{name}.parquet", 10, 1, (0,), rows, 10, 1, 1, sources=sources)

    def unsealed(self, reference):
        return [
            record.span
            for record in self.log
            if record.span.key == reference.key
            and record.span.first_ordinal >= reference.sealed_ordinal
        ]

    # -- what the driver of a session reads

    def ends(self):
        """Every key that ever had rows, also in tables that are gone."""
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
        ends = raised(self.ends(), floors_of(self.database))
        return MetadataRead(replace(self.database, storage_root=self.root), deltas, lambda: ends)

    def committed(self):
        """Spans that are not sealed, of the tables that exist on the leader, by key."""
        found = {
            reference.key: self.unsealed(reference)
            for table in self.database.tables.values()
            for reference in table.references
        }
        return {key: spans for key, spans in found.items() if spans}

    def read_rows(self, asked):
        """What a read gives of the log as it is now: sealed records are trimmed from it."""
        start = 0 if asked.lsn is None else asked.lsn // RECORD_BYTES
        floors = floors_of(self.database)
        spans, records, lsn = [], b"", start
        for record in self.log[start:]:
            span = record.span
            wanted = span.end > max(
                asked.cursors.get(span.key, 1 << 62), floors.get(span.key, START).ordinal
            )
            if wanted and len(records) + RECORD_BYTES > asked.max_bytes:
                break
            lsn += 1
            if wanted:
                spans.append(span)
                records += record.body
        return RowsRead(asked.generation, records, tuple(spans), lsn * RECORD_BYTES)
