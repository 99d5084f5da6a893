"""One table of a query as SQL over what DuckDB can read: streamed rows, hot and cold extents. Pure.

The parts are put together with UNION ALL, each with the table's current columns by name. Data of
extents is found by column id: a hot relation's columns are named ``c<id>``; those of files are
named so while they are read, by Parquet's field ids, which are positions in the file. So files of
one read need not agree on names, and a column a file does not have reads null (``string``: "").
"""

# ruff: noqa: S608 - names are quoted, values are numbers or quoted text

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from cluster.catalog.model import ScalarType
from cluster.errors import InternalError
from cluster.query.binding import INGESTION_TIME_TYPE
from cluster.query.fresh import fresh_table
from cluster.query.translation import (
    EXTENT_ID,
    EXTENT_TAGS,
    HIDDEN,
    INGESTION_TIME,
    ROW_COUNT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cluster.catalog.model import Extent, Table
    from cluster.query.binding import BoundTable
    from cluster.query.translation import TableUse

STORED_TYPES: Final = {
    ScalarType.BOOL: "BOOLEAN",
    ScalarType.DATETIME: "TIMESTAMP",
    ScalarType.DECIMAL: "DECIMAL(38,18)",
    ScalarType.DYNAMIC: "JSON",
    ScalarType.GUID: "UUID",
    ScalarType.INT: "INTEGER",
    ScalarType.LONG: "BIGINT",
    ScalarType.REAL: "DOUBLE",
    ScalarType.STRING: "VARCHAR",
    ScalarType.TIMESPAN: "BIGINT",
}
"""DuckDB type of each Kusto type in an extent's file and in the hot cache."""

MEMBER: Final = "member"
"""Column of a hot relation: which of its extents a row is of."""

INGESTED: Final = "ingested"
"""Column of a hot relation, and of a read of files: ingestion times that vary within an extent."""

_KEY: Final = "key"
_ID: Final = "id"
_TAGS: Final = "tags"
_CONSTANT: Final = "constant"


@dataclass(frozen=True, slots=True)
class HotPart:
    """Extents of a table in one hot relation.

    ``members`` are those a query may see, by their number there; ``all_members`` says that these
    are all there are. ``columns`` are the ids of the columns of each member.
    """

    relation: str
    members: Mapping[int, Extent]
    all_members: bool
    columns: frozenset[int]


@dataclass(frozen=True, slots=True)
class ColdPart:
    """Extents whose files have the same columns in the same order. One path an extent.

    ``is_timed``: the last column of the files is that of ingestion times.
    """

    column_ids: tuple[int, ...]
    is_timed: bool
    paths: tuple[str, ...]
    extents: tuple[Extent, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a query: a table, where its rows are, and what is used of it."""

    bound: BoundTable
    use: TableUse
    hot: tuple[HotPart, ...] = ()
    cold: tuple[ColdPart, ...] = ()


def types_of(table: Table) -> dict[int, ScalarType]:
    """The type of every column id the table ever had; an id never changes its type."""
    return {
        identity: column.type
        for columns, ids in zip(table.schemas, table.column_ids, strict=True)
        for column, identity in zip(columns, ids, strict=True)
    }


def cold_parts(located: Iterable[tuple[Extent, str]]) -> tuple[ColdPart, ...]:
    """Extents with the paths of their files, grouped by what one read can take.

    A file of two extents is in two reads: within one, a path tells its extent.
    """
    groups: dict[tuple[tuple[int, ...], bool, int], list[tuple[Extent, str]]] = {}
    seen: dict[str, int] = {}
    for extent, path in located:
        seen[path] = seen.get(path, -1) + 1
        is_timed = extent.ingested_min_us != extent.ingested_max_us
        key = (extent.column_ids, is_timed, seen[path])
        groups.setdefault(key, []).append((extent, path))
    return tuple(
        ColdPart(ids, is_timed, tuple(path for _, path in group), tuple(e for e, _ in group))
        for (ids, is_timed, _), group in groups.items()
    )


def quote(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string in SQL."""
    return "'" + value.replace("'", "''") + "'"


def null(kind: ScalarType) -> str:
    """What a column reads that the data does not have, in the type of the stored form."""
    if kind is ScalarType.STRING:
        return "''"
    return f"CAST(NULL AS {STORED_TYPES[kind]})"


def file_relation(part: ColdPart, types: Mapping[int, ScalarType]) -> str:
    """A read of files by field id; its columns are ``c<id>`` and :data:`INGESTED`."""
    column_ids = part.column_ids
    fields = [
        f"{position}: {{name: 'c{identity}', type: '{STORED_TYPES[types[identity]]}', "
        "default_value: NULL}"
        for position, identity in enumerate(column_ids)
        if identity in types
    ]
    position = len(column_ids) - 1 if part.is_timed else len(column_ids)  # the latter: in no file
    fields.append(f"{position}: {{name: '{INGESTED}', type: 'TIMESTAMP', default_value: NULL}}")
    files = ", ".join(map(text, part.paths))
    return f"read_parquet([{files}], schema=MAP {{{', '.join(fields)}}})"


def relation_sql(index: int, source: Input) -> tuple[str, dict[str, pa.Table]]:
    """SQL of input ``index``, and the Arrow tables it names, which are to be registered."""
    use, bound = source.use, source.bound
    if use.counted:
        count = f"SELECT CAST({bound.row_count} AS BIGINT) AS {quote(ROW_COUNT)}"
        return count, {}
    tables: dict[str, pa.Table] = {}
    parts: list[str] = []
    types = types_of(bound.table)
    for number, hot in enumerate(source.hot):
        known = {identity: f"c{identity}" for identity in hot.columns}
        members = _members_table([*hot.members.items()]) if use.hidden else None
        name = f"${index}h{number}"
        where = ""
        if members is not None:
            tables[name] = members
        elif not hot.all_members:
            where = f" WHERE {MEMBER} IN ({', '.join(map(str, hot.members))})"
        parts.append(_part(source, known, types, hot.relation, name, MEMBER) + where)
    for number, cold in enumerate(source.cold):
        known = {identity: f"c{identity}" for identity in cold.column_ids if identity in types}
        relation = file_relation(cold, types)
        name = f"${index}c{number}"
        if use.hidden:
            tables[name] = _members_table([*zip(cold.paths, cold.extents, strict=True)])
        parts.append(_part(source, known, types, relation, name, "filename"))
    streamed = any(rows.batches for rows in bound.fresh)
    if streamed or not parts:
        name = f"${index}f"
        timed = INGESTION_TIME in use.hidden
        tables[name] = fresh_table(bound, use.columns, with_ingestion_times=timed)
        parts.insert(0, _fresh(use, name))
    return " UNION ALL ".join(parts), tables


def _fresh(use: TableUse, name: str) -> str:
    constants = {
        EXTENT_ID: "CAST('00000000-0000-0000-0000-000000000000' AS UUID)",
        EXTENT_TAGS: "CAST('[]' AS JSON)",
    }
    if not use.hidden:
        return f"FROM {quote(name)}"
    own = ["* EXCLUDE (" + quote(INGESTION_TIME) + ")" if INGESTION_TIME in use.hidden else "*"]
    own += [f"{constants.get(h, quote(h))} AS {quote(h)}" for h in use.hidden]
    return f"SELECT {', '.join(own)} FROM {quote(name)}"


def _part(
    source: Input,
    known: Mapping[int, str],
    types: Mapping[int, ScalarType],
    relation: str,
    members: str,
    key: str,
) -> str:
    """One part as SELECT: the current columns by id, then the hidden ones used."""
    table = source.bound.table
    selected = []
    wanted = frozenset(source.use.columns)
    for column, identity in zip(table.columns, table.column_ids[-1], strict=True):
        if column.name not in wanted:
            continue
        stored = f"_r.{known[identity]}" if identity in known else null(types[identity])
        if column.type is ScalarType.TIMESPAN:
            stored = f"to_microseconds({stored})"
        selected.append(f"{stored} AS {quote(column.name)}")
    if not source.use.hidden:
        return f"SELECT {', '.join(selected)} FROM {relation} AS _r"
    hidden = {
        INGESTION_TIME: f"coalesce(_r.{INGESTED}, _m.{_CONSTANT})",
        EXTENT_ID: f"CAST(_m.{_ID} AS UUID)",
        EXTENT_TAGS: f"CAST(_m.{_TAGS} AS JSON)",
    }
    selected += [f"{hidden[name]} AS {quote(name)}" for name in source.use.hidden]
    return (
        f"SELECT {', '.join(selected)} FROM {relation} AS _r "
        f"JOIN {quote(members)} AS _m ON _r.{key} = _m.{_KEY}"
    )


def _members_table(members: Sequence[tuple[int | str, Extent]]) -> pa.Table:
    """What is the same for all rows of an extent, by its number or the path of its file.

    Joining with it leaves out the extents a query may not see.
    """
    extents = [extent for _, extent in members]
    for extent in extents:
        if (extent.ingested_min_us is None) != (extent.ingested_max_us is None):
            raise InternalError("An extent has half a range of ingestion times.")
    times = [e.ingested_min_us if e.ingested_min_us == e.ingested_max_us else None for e in extents]
    return pa.table(
        {
            _KEY: pa.array([key for key, _ in members]),
            _CONSTANT: pa.array(times, INGESTION_TIME_TYPE),
            _ID: pa.array([extent.extent_id for extent in extents], pa.string()),
            _TAGS: pa.array([json.dumps(list(extent.tags)) for extent in extents], pa.string()),
        }
    )


assert set(HIDDEN) == {INGESTION_TIME, EXTENT_ID, EXTENT_TAGS}
