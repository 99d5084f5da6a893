"""Rows of tables in the file of queued ingestion: statements within the caller's transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cluster.queued.values import Entity

if TYPE_CHECKING:
    import sqlite3

TABLES: Final = (
    (
        "CREATE TABLE entities (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
        "partition TEXT NOT NULL, row TEXT NOT NULL, properties TEXT NOT NULL, "
        "updated_ns INTEGER NOT NULL, UNIQUE (name, partition, row))"
    ),
)
_SELECT: Final = "SELECT name, partition, row, properties, updated_ns FROM entities"


def insert(connection: sqlite3.Connection, entity: Entity, most: int) -> bool:
    """False: there is one with its keys."""
    cursor = connection.execute(
        "INSERT OR IGNORE INTO entities (name, partition, row, properties, updated_ns) "
        "VALUES (?, ?, ?, ?, ?)",
        (
            entity.table,
            entity.partition,
            entity.row,
            json.dumps(dict(entity.properties)),
            entity.updated_ns,
        ),
    )
    if not cursor.rowcount:
        return False
    connection.execute(
        "DELETE FROM entities WHERE number <= "
        "(SELECT number FROM entities ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (most,),
    )
    return True


def get(connection: sqlite3.Connection, table: str, partition: str, row: str) -> Entity | None:
    """None: there is none."""
    found = connection.execute(
        f"{_SELECT} WHERE name = ? AND partition = ? AND row = ?", (table, partition, row)
    ).fetchone()
    return None if found is None else _entity(*found)


def put(
    connection: sqlite3.Connection, entity: Entity, merge: bool, upsert: bool, most: int
) -> bool:
    """Replaces or merges; False: there is none, and ``upsert`` is not."""
    known = get(connection, entity.table, entity.partition, entity.row)
    if known is None:
        return upsert and insert(connection, entity, most)
    properties = {**known.properties, **entity.properties} if merge else dict(entity.properties)
    connection.execute(
        "UPDATE entities SET properties = ?, updated_ns = ? "
        "WHERE name = ? AND partition = ? AND row = ?",
        (
            json.dumps(properties),
            entity.updated_ns,
            entity.table,
            entity.partition,
            entity.row,
        ),
    )
    return True


def delete(connection: sqlite3.Connection, table: str, partition: str, row: str) -> bool:
    """False: there is none."""
    cursor = connection.execute(
        "DELETE FROM entities WHERE name = ? AND partition = ? AND row = ?",
        (table, partition, row),
    )
    return cursor.rowcount > 0


def listed(
    connection: sqlite3.Connection,
    table: str,
    partition: str | None,
    row: str | None,
    limit: int,
) -> list[Entity]:
    """By partition and row key, of one of each or of all (None)."""
    rows = connection.execute(
        f"{_SELECT} WHERE name = ? AND partition = coalesce(?, partition) "
        "AND row = coalesce(?, row) ORDER BY partition, row LIMIT ?",
        (table, partition, row, limit),
    )
    return [_entity(*row) for row in rows]


def _entity(table: str, partition: str, row: str, properties: str, updated_ns: int) -> Entity:
    return Entity(table, partition, row, json.loads(properties), updated_ns)
