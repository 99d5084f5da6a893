"""What a toy leader holds and what its followers copy: tables, rows, floors, one log of entries."""

from __future__ import annotations

from dataclasses import dataclass, field

from cluster.conformance.values import At

BASE_COLUMNS = ("Id", "Source", "At", "Payload")


@dataclass
class ToyTable:
    """Rows are (id, columns filled); ``sums`` are rolling checksums, ``floor`` rows are sealed."""

    key: int
    columns: tuple[str, ...] = BASE_COLUMNS
    policy: bool = False
    start: int = 0
    floor: int = 0
    rows: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    sums: list[int] = field(default_factory=lambda: [0])

    def append(self, rows: tuple[tuple[int, tuple[str, ...]], ...]) -> None:
        for row in rows:
            self.rows.append(row)
            self.sums.append((self.sums[-1] * 31 + row[0] + 7) % 2**32)


@dataclass(frozen=True)
class Entry:
    """One change of a leader database, committed ``at``."""

    at: float
    kind: str  # create, drop, rows, column, policy, seal, clear
    table: str
    key: int
    rows: tuple[tuple[int, tuple[str, ...]], ...] = ()
    column: str = ""
    on: bool = False
    floor: int = 0


@dataclass
class ToyTree:
    """A database, as far as its entries were applied."""

    tables: dict[str, ToyTable] = field(default_factory=dict)
    version: int = 1

    def apply(self, entry: Entry) -> None:
        if entry.kind != "rows":
            self.version += 1
        if entry.kind == "create":
            self.tables[entry.table] = ToyTable(entry.key)
            return
        table = self.tables.get(entry.table)
        if table is None or table.key != entry.key:
            return
        if entry.kind == "drop":
            del self.tables[entry.table]
        elif entry.kind == "rows":
            table.append(entry.rows)
        elif entry.kind == "column":
            table.columns = (*table.columns, entry.column)
        elif entry.kind == "policy":
            table.policy = entry.on
        elif entry.kind == "seal":
            table.floor = entry.floor
        else:
            table.start = table.floor = entry.floor

    def at(self, *, rows: bool = True) -> At:
        """The position: of everything, or of what is sealed only."""
        keys = {}
        for table in sorted(self.tables.values(), key=lambda item: item.key):
            end = len(table.rows) if rows else min(table.floor, len(table.rows))
            if end:
                keys[table.key] = (end, table.sums[end])
        return At(version=(1, self.version), keys=keys)

    def includes(self, at: At, *, rows: bool) -> bool:
        mine = self.at(rows=rows)
        living = {table.key for table in self.tables.values()}
        return mine.version >= at.version and all(
            mine.ordinal(key) >= ordinal
            for key, (ordinal, _checksum) in at.keys.items()
            if key in living
        )


@dataclass
class ToyDatabase:
    """A leader database: its log, its present state, and the requests it remembers."""

    log: list[Entry] = field(default_factory=list)
    tree: ToyTree = field(default_factory=ToyTree)
    sources: dict[tuple[int, str], At] = field(default_factory=dict)

    def commit(self, entry: Entry) -> None:
        self.log.append(entry)
        self.tree.apply(entry)


@dataclass
class ToyReplica:
    """A follower's copy. ``horizon``: every entry committed until then is applied."""

    leader: str
    database: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    tree: ToyTree = field(default_factory=ToyTree)
    applied: int = 0
    horizon: float = 0.0
    epoch: int = 0
    attached: bool = True
    skipped: bool = False
    closed_since: int | None = None

    def shares(self, table: str) -> bool:
        return table not in self.exclude and (not self.include or table in self.include)
