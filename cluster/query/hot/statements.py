"""The SQL that makes relations of the hot cache. Pure.

Each relation is the only table of an in-memory database of its own: a checkpoint compresses it
there (509 MB to 58 MB measured, and scans get faster), and detaching frees it at once, while
queries that still read it go on.
"""

# ruff: noqa: S608 - names are quoted, values are numbers or quoted text

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from cluster.query.binding import INGESTION_TIME_TYPE
from cluster.query.relation import INGESTED, MEMBER, cold_parts, file_relation, null, types_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.catalog.model import Extent, Table
    from cluster.query.hot.relations import Join

NUMBERS: Final = "$members"
"""Name under which :func:`load_statement`'s Arrow table is registered."""

HELD_BYTES: Final = (
    "SELECT coalesce(sum(memory_usage_bytes), 0) FROM duckdb_memory() WHERE tag='IN_MEMORY_TABLE'"
)
"""What all relations take in memory; nothing else makes tables there."""


def load_statement(
    name: str, table: Table, located: Sequence[tuple[Extent, str]]
) -> tuple[str, pa.Table, frozenset[int]]:
    """CREATE TABLE from files, the table of numbers it joins with, and the ids of its columns.

    Members are numbered in the order given; each has a file of its own.
    """
    types = types_of(table)
    ids = sorted({i for extent, _ in located for i in extent.column_ids if i in types})
    numbers = {path: number for number, (_, path) in enumerate(located)}
    parts = []
    for part in cold_parts(located):
        known = set(part.column_ids)
        columns = [f"_r.c{i}" if i in known else f"{null(types[i])} AS c{i}" for i in ids]
        columns.append(f"coalesce(_r.{INGESTED}, _m.constant) AS {INGESTED}")
        columns.append(f"_m.number AS {MEMBER}")
        relation = file_relation(part, types)
        parts.append(
            f"SELECT {', '.join(columns)} FROM {relation} AS _r "
            f'JOIN "{NUMBERS}" AS _m ON _r.filename = _m.path'
        )
    constants = [
        extent.ingested_min_us if extent.ingested_min_us == extent.ingested_max_us else None
        for extent, _ in located
    ]
    members = pa.table(
        {
            "path": pa.array([path for _, path in located], pa.string()),
            "number": pa.array([numbers[path] for _, path in located], pa.int32()),
            "constant": pa.array(constants, INGESTION_TIME_TYPE),
        }
    )
    statement = f'CREATE TABLE "{name}".main.rows AS {" UNION ALL ".join(parts)}'
    return statement, members, frozenset(ids)


def join_statement(name: str, join: Join) -> tuple[str, frozenset[int]]:
    """CREATE TABLE from relations, and the ids of its columns.

    Members keep their order: those kept of the first relation, then those of the second.
    """
    types = types_of(join.table)
    ids = sorted(frozenset().union(*(relation.columns for relation in join.relations)))
    parts = []
    offset = 0
    for relation, kept in zip(join.relations, join.kept, strict=True):
        columns = [f"c{i}" if i in relation.columns else f"{null(types[i])} AS c{i}" for i in ids]
        renumbered = " ".join(f"WHEN {old} THEN {offset + new}" for new, old in enumerate(kept))
        if kept == tuple(range(len(relation.members))):
            number, where = f"CAST({MEMBER} + {offset} AS INTEGER)", ""
        else:
            number = f"CAST(CASE {MEMBER} {renumbered} END AS INTEGER)"
            where = f" WHERE {MEMBER} IN ({', '.join(map(str, kept))})"
        columns += [INGESTED, f"{number} AS {MEMBER}"]
        parts.append(f"SELECT {', '.join(columns)} FROM {relation.sql}{where}")
        offset += len(kept)
    return f'CREATE TABLE "{name}".main.rows AS {" UNION ALL ".join(parts)}', frozenset(ids)
