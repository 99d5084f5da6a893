"""Trees of format 1: one row store key a table, columns only ever appended, no extents. Pure.

What format 1 did not have gets its default: column ids by position, the key as the one reference,
in row store 0, with nothing sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.catalog import codec_values as v
from cluster.catalog.codec_json import Fields, integer
from cluster.catalog.model import Database, RowStoreReference, Table
from cluster.errors import ProtocolError

if TYPE_CHECKING:
    from cluster.catalog.model import Column


def read_database(reader: Fields) -> Database:
    """The tree of an object in format 1. Raises ProtocolError."""
    tables = [_read_table(item) for item in reader.list_of("tables")]
    database = Database(
        name=reader.text("name"),
        database_id=reader.text("database_id"),
        version=v.read_version(reader.take("version")),
        tables={table.name: table for table in tables},
        streaming_policy=v.read_streaming(reader.take("streaming_policy")),
        pretty_name=reader.text("pretty_name"),
    )
    reader.end()
    if len(database.tables) != len(tables):
        raise ProtocolError("Metadata names a table twice.")
    return database


def _read_table(value: object) -> Table:
    reader = Fields(value, "table")
    columns = v.read_columns(reader.take("columns"))
    lengths: list[int] = []
    for item in reader.list_of("older_schema_lengths"):
        minimum = lengths[-1] + 1 if lengths else 1
        lengths.append(integer(item, "schema length", minimum, len(columns) - 1))
    schemas: list[tuple[Column, ...]] = [*(columns[:length] for length in lengths), columns]
    table = Table(
        name=reader.text("name"),
        table_id=reader.text("table_id"),
        references=(RowStoreReference(0, v.read_key(reader.take("key"))),),
        schemas=tuple(schemas),
        column_ids=tuple(tuple(range(len(schema))) for schema in schemas),
        streaming_policy=v.read_streaming(reader.take("streaming_policy")),
        folder=reader.text("folder"),
        docstring=reader.text("docstring"),
    )
    reader.end()
    return table
