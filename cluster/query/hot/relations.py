"""What the hot cache holds, and what it should hold. Pure: no DuckDB, no tasks.

A *relation* is an immutable table in DuckDB's memory with the rows of some extents of one table.
One relation an extent would be simplest, but a query pays 0.3 ms for each part it puts together
(measured: a count over 1,000 parts takes 361 ms, over one 0.7 ms). So extents are taken in
together, and relations of like size are joined, up to a size that is left alone. A column tells
the extents of a relation apart, so a query whose tree knows only some of them reads only these.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cluster.query.relation import HotPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cluster.catalog.model import Database, Extent, RowStoreKey, Table
    from cluster.catalog.policies import CachingPolicy
    from cluster.limits import Limits
    from cluster.query.binding import BoundTable

JOIN_AT: Final = 4
"""So many relations of one size class are joined."""

LOADS_A_PLAN: Final = 256
"""So many tables take in extents before everything is looked at again."""

_FIRST_CLASS_ROWS: Final = 4096
_CLASS_FACTOR: Final = 4
_MEMO_ENTRIES: Final = 256
_GUESS: Final = 2
"""Bytes in memory for each byte of a file, until a load has told better. Errs on the high side."""

_SLACK: Final = 1.25
"""A load may turn out larger than estimated; what has no room for that is not begun."""

Member = tuple["RowStoreKey", str, tuple[int, ...]]
"""An extent as data: the table's first key, the file, the ids of its columns. Tags may differ."""


def member_of(table: Table, extent: Extent) -> Member:
    """What tells the data of an extent apart."""
    return (table.key, extent.file, extent.column_ids)


@dataclass(slots=True)
class Relation:
    """A table in memory. ``members`` are numbered in the order of the tuple."""

    name: str
    """The database it is the only table of."""
    key: RowStoreKey
    """Of the table it holds rows of."""
    members: tuple[Member, ...]
    row_counts: tuple[int, ...]
    columns: frozenset[int]
    byte_count: int
    created_us: int
    """Of its newest extent."""
    holders: int = 0
    """Queries that read it now."""
    condemned: bool = False
    """Not given to further queries, and dropped when the last one ends."""

    @property
    def sql(self) -> str:
        """It in SQL."""
        return f'"{self.name}".main.rows'

    @property
    def row_count(self) -> int:
        """Rows in memory, of whatever extents."""
        return sum(self.row_counts)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Where the extents of a table are. ``relations`` are those of ``hot``, in its order."""

    hot: tuple[HotPart, ...] = ()
    relations: tuple[Relation, ...] = ()
    cold: tuple[Extent, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """Extents of one table to take in as one relation."""

    database: Database
    table: Table
    extents: tuple[Extent, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """Relations of one table to make one of: the numbers of the members kept of each."""

    table: Table
    relations: tuple[Relation, ...]
    kept: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next: drop first, then take in, the most urgent first, or join."""

    drop: tuple[Relation, ...] = ()
    loads: tuple[Load, ...] = ()
    join: Join | None = None


@dataclass(slots=True)
class _Unit:
    """Something that wants memory: a relation, or an extent that is in none."""

    created_us: int
    byte_count: float
    relation: Relation | None = None
    load: tuple[Database, Table, Extent] | None = None


@dataclass(slots=True)
class HotRelations:
    """The relations in memory, found by the extents they hold."""

    limits: Limits
    relations: list[Relation] = field(default_factory=list)
    _places: dict[Member, tuple[Relation, int]] = field(default_factory=dict)
    _memo: OrderedDict[int, tuple[Mapping[str, Extent], Coverage]] = field(
        default_factory=OrderedDict
    )
    _bytes_a_row: dict[RowStoreKey, float] = field(default_factory=dict)

    def add(self, relation: Relation) -> None:
        """Rows are in memory: queries that begin from now on find them there."""
        self.relations.append(relation)
        for number, member in enumerate(relation.members):
            self._places[member] = (relation, number)
        if relation.row_count:
            self._bytes_a_row[relation.key] = relation.byte_count / relation.row_count
        self._memo.clear()

    def condemn(self, relation: Relation) -> None:
        """No query that begins from now on finds it."""
        relation.condemned = True
        self.relations.remove(relation)
        for member in relation.members:
            if self._places.get(member, (None, 0))[0] is relation:
                del self._places[member]
        self._memo.clear()

    @property
    def byte_count(self) -> int:
        """Memory of all relations that queries can find."""
        return sum(relation.byte_count for relation in self.relations)

    def cover(self, bound: BoundTable) -> Coverage:
        """Where each extent of a table is now. Costs nothing for extents asked for before."""
        known = self._memo.get(id(bound.extents))
        if known is not None:
            return known[1]
        found: dict[str, dict[int, Extent]] = {}
        relations: dict[str, Relation] = {}
        cold: list[Extent] = []
        for extent in bound.extents.values():
            relation, number = self._places.get(member_of(bound.table, extent), (None, 0))
            if relation is None or number in found.get(relation.name, ()):
                cold.append(extent)  # a second extent of one file is read from the file
                continue
            relations[relation.name] = relation
            found.setdefault(relation.name, {})[number] = extent
        coverage = Coverage(
            tuple(
                HotPart(relation.sql, seen, len(seen) == len(relation.members), relation.columns)
                for relation, seen in zip(relations.values(), found.values(), strict=True)
            ),
            tuple(relations.values()),
            tuple(cold),
        )
        self._memo[id(bound.extents)] = (bound.extents, coverage)  # kept, so its id stays its own
        if len(self._memo) > _MEMO_ENTRIES:
            self._memo.popitem(last=False)
        return coverage

    def plan(
        self,
        tables: Iterable[tuple[Database, Table, CachingPolicy]],
        now_us: int,
        failed: frozenset[Member] = frozenset(),
    ) -> Plan:
        """What to do next, given every table there is. ``failed``: extents not to be tried now.

        Newest first: what was created later is kept when the memory is short. A relation counts as
        its newest hot extent. Costs a step for each extent, and sorting.
        """
        alive: dict[str, set[int]] = {}
        newest: dict[str, int] = {}
        tables_by_key: dict[RowStoreKey, Table] = {}
        units: list[_Unit] = []
        for database, table, policy in tables:
            tables_by_key[table.key] = table
            rate = self._bytes_a_row.get(table.key)
            for extent in table.extents.values():
                if not policy.is_hot(extent.created_max_us, now_us):
                    continue
                member = member_of(table, extent)
                relation, number = self._places.get(member, (None, 0))
                if relation is not None:
                    alive.setdefault(relation.name, set()).add(number)
                    newest[relation.name] = max(newest.get(relation.name, 0), extent.created_max_us)
                elif member not in failed:
                    guess = extent.file_bytes * _GUESS if rate is None else extent.row_count * rate
                    item = (database, table, extent)
                    units.append(_Unit(extent.created_max_us, guess * _SLACK, load=item))
        units += [
            _Unit(newest[relation.name], relation.byte_count, relation=relation)
            for relation in self.relations
            if relation.name in alive
        ]
        # Of equal age what is there comes first: two that do not fit together would take turns.
        units.sort(key=lambda unit: (-unit.created_us, unit.relation is None))
        kept, wanted = self._fitting(units)
        drop = tuple(r for r in self.relations if r.name not in kept)
        loads = self._loads(wanted)
        if loads:
            return Plan(drop, loads)
        return Plan(drop, join=self._join(kept.values(), alive, tables_by_key))

    def _fitting(
        self, units: Sequence[_Unit]
    ) -> tuple[dict[str, Relation], list[tuple[Database, Table, Extent]]]:
        room = float(self.limits.hot_cache_bytes)
        kept: dict[str, Relation] = {}
        wanted: list[tuple[Database, Table, Extent]] = []
        for unit in units:
            if unit.byte_count > room:
                break
            room -= unit.byte_count
            if unit.relation is not None:
                kept[unit.relation.name] = unit.relation
            elif unit.load is not None:
                wanted.append(unit.load)
        return kept, wanted

    def _loads(self, wanted: Sequence[tuple[Database, Table, Extent]]) -> tuple[Load, ...]:
        """One load a table: its newest extent to take in and the next ones that fit with it.

        Of several tables, since a plan looks at all there are. The table with the newest comes
        first.
        """
        by_table: dict[RowStoreKey, list[tuple[Database, Table, Extent]]] = {}
        for item in wanted:
            key = item[1].key
            if key in by_table or len(by_table) < LOADS_A_PLAN:
                by_table.setdefault(key, []).append(item)
        return tuple(self._load(items) for items in by_table.values())

    def _load(self, wanted: Sequence[tuple[Database, Table, Extent]]) -> Load:
        database, table, first = wanted[0]
        extents, rows = [first], first.row_count
        files = {first.file}
        for _, _, extent in wanted[1:]:
            if extent.file in files:
                continue
            if rows + extent.row_count > self.limits.hot_load_rows:
                break
            extents.append(extent)
            files.add(extent.file)
            rows += extent.row_count
        return Load(database, table, tuple(extents))

    def _join(
        self,
        kept: Iterable[Relation],
        alive: Mapping[str, set[int]],
        tables: Mapping[RowStoreKey, Table],
    ) -> Join | None:
        """Relations to join: several of one size, or one with more dead rows than live ones."""
        classes: dict[tuple[RowStoreKey, int], list[Relation]] = {}
        for relation in kept:
            live = alive[relation.name]
            rows = sum(relation.row_counts[number] for number in live)
            if rows * 2 < relation.row_count:
                return Join(tables[relation.key], (relation,), (tuple(sorted(live)),))
            if rows * JOIN_AT <= self.limits.hot_relation_rows:
                classes.setdefault((relation.key, _class_of(rows)), []).append(relation)
        for (key, _), group in classes.items():
            if len(group) >= JOIN_AT:
                numbers = tuple(tuple(sorted(alive[relation.name])) for relation in group)
                return Join(tables[key], tuple(group), numbers)
        return None

    def hold(self, relations: Iterable[Relation]) -> None:
        """A query begins to read them."""
        for relation in relations:
            relation.holders += 1

    def release(self, relations: Iterable[Relation]) -> Iterator[Relation]:
        """It has ended. Yields those that can be dropped now."""
        for relation in relations:
            relation.holders -= 1
            if relation.condemned and not relation.holders:
                yield relation


def _class_of(rows: int) -> int:
    size_class = 0
    while rows >= _FIRST_CLASS_ROWS:
        rows //= _CLASS_FACTOR
        size_class += 1
    return size_class
