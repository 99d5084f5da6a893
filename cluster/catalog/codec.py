"""Metadata trees and changes as canonical JSON, both ways. Pure.

Canonical: UTF-8, keys sorted, no spaces, tables and everything else with a name sorted by it, every
field present. Equal values give equal bytes, so trees of leader and follower are compared by
comparing bytes.

Decoding is strict, because the bytes come from a peer or a disk: an unknown kind of change, an
unknown, missing or repeated field, a value of the wrong type or out of its domain raises
:class:`cluster.errors.ProtocolError` and nothing is guessed.

A tree says its format. This is format 3. One of format 2, which has no principals, and one of
format 1 (:mod:`cluster.catalog.codec_format_1`) are read too, a newer one is refused.

A table's schemas are written newest first in mind: each older one as the number of its columns if
the next one starts with them, as an appended column leaves it, else in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import immutables

from cluster.catalog import codec_values as v
from cluster.catalog.codec_changes import decode_changes, encode_changes
from cluster.catalog.codec_format_1 import read_database as read_database_of_format_1
from cluster.catalog.codec_json import (
    Fields,
    dump,
    integer,
    join_array,
    join_object,
    list_of,
    load,
    text_of,
)
from cluster.catalog.model import Column, Database, DroppedTable, MappingName, Table
from cluster.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from cluster.catalog.model import Extent, Function, IngestionMapping, RoleAssignment

__all__ = [
    "FORMAT",
    "decode_changes",
    "decode_database",
    "encode_changes",
    "encode_database",
    "encode_database_in_steps",
]

FORMAT: Final = 3

TABLES_A_STEP: Final = 16
"""Tables encoded in one go: about 2 ms."""

Schema = tuple[tuple[Column, ...], tuple[int, ...]]
"""Columns and their ids."""


def encode_database(database: Database) -> bytes:
    """The whole tree."""
    steps = encode_database_in_steps(database)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            encoded: bytes = done.value
            return encoded


def encode_database_in_steps(database: Database) -> Generator[None, None, bytes]:
    """The same, with a pause offered after each few tables: 10,000 of 20 columns take a second."""
    fields = {
        "database_id": database.database_id,
        "format": FORMAT,
        "functions": [
            v.write_function(database.functions[name]) for name in sorted(database.functions)
        ],
        "mappings": _write_mappings(database.mappings),
        "name": database.name,
        "policies": dict(database.policies),
        "pretty_name": database.pretty_name,
        "principals": v.write_principals(database.principals),
        "storage_root": database.storage_root,
        "streaming_policy": v.write_streaming(database.streaming_policy),
        "version": v.write_version(database.version),
    }
    encoded = {name: dump(value) for name, value in fields.items()}
    tables = []
    for number, name in enumerate(sorted(database.tables), 1):
        tables.append(_encode_table(database.tables[name]))
        if number % TABLES_A_STEP == 0:
            yield
    encoded["tables"] = join_array(tables)
    encoded["dropped_tables"] = join_array(map(_encode_dropped, database.dropped_tables))
    return join_object(encoded)


def decode_database(data: bytes) -> Database:
    """The tree. Raises ProtocolError."""
    reader = Fields(load(data), "database")
    if not reader.has("format"):
        database = read_database_of_format_1(reader)
    else:
        found = integer(reader.take("format"), "format of a database", 1)
        if found not in (FORMAT, 2):
            raise ProtocolError(
                f"Metadata of a database has format {found}, this program reads {FORMAT}, 2 and 1.",
                remedy="Use a version at least as new as the one that wrote it.",
                metadata={"format": str(found)},
            )
        database = _read_database(reader, found)
    _check_keys(database)
    return database


def _read_database(reader: Fields, found: int) -> Database:
    tables = [_read_table(item, found) for item in reader.list_of("tables")]
    functions = [_read_function(item) for item in reader.list_of("functions")]
    database = Database(
        name=reader.text("name"),
        database_id=reader.text("database_id"),
        version=v.read_version(reader.take("version")),
        tables={table.name: table for table in tables},
        streaming_policy=v.read_streaming(reader.take("streaming_policy")),
        pretty_name=reader.text("pretty_name"),
        policies=_read_policies(reader),
        mappings=_read_mappings(reader),
        functions={function.name: function for function in functions},
        dropped_tables=tuple(
            _read_dropped(item, found) for item in reader.list_of("dropped_tables")
        ),
        storage_root=reader.text("storage_root"),
        principals=_read_principals(reader, found),
    )
    reader.end()
    if len(database.tables) != len(tables) or len(database.functions) != len(functions):
        raise ProtocolError("Metadata names a table or function twice.")
    return database


def _check_keys(database: Database) -> None:
    kept = (*database.tables.values(), *(dropped.table for dropped in database.dropped_tables))
    keys = [key for table in kept for key in table.keys]
    if len(set(keys)) != len(keys):
        raise ProtocolError("Metadata gives one row store key to two tables.")


def _encode_table(table: Table) -> bytes:
    fields = {
        "docstring": table.docstring,
        "folder": table.folder,
        "mappings": _write_mappings(table.mappings),
        "name": table.name,
        "policies": dict(table.policies),
        "principals": v.write_principals(table.principals),
        "references": v.write_references(table.references),
        "schemas": _write_schemas(table),
        "streaming_policy": v.write_streaming(table.streaming_policy),
        "table_id": table.table_id,
    }
    encoded = {name: dump(value) for name, value in fields.items()}
    extents = _in_order(table.extents.values())
    encoded["extents"] = join_array(dump(v.write_extent(extent)) for extent in extents)
    return join_object(encoded)


def _in_order(extents: Iterable[Extent]) -> list[Extent]:
    return sorted(extents, key=lambda extent: extent.extent_id)


def _read_table(value: object, found: int) -> Table:
    reader = Fields(value, "table")
    schemas = _read_schemas(reader.list_of("schemas"))
    extents = v.read_extents(reader.take("extents"))
    table = Table(
        name=reader.text("name"),
        table_id=reader.text("table_id"),
        references=v.read_references(reader.take("references")),
        schemas=tuple(columns for columns, _ in schemas),
        column_ids=tuple(ids for _, ids in schemas),
        streaming_policy=v.read_streaming(reader.take("streaming_policy")),
        folder=reader.text("folder"),
        docstring=reader.text("docstring"),
        policies=_read_policies(reader),
        mappings=_read_mappings(reader),
        extents=immutables.Map((extent.extent_id, extent) for extent in extents),
        principals=_read_principals(reader, found),
    )
    reader.end()
    if len(table.extents) != len(extents):
        raise ProtocolError(f"Metadata names an extent of table '{table.name}' twice.")
    known = {identity for ids in table.column_ids for identity in ids}
    for ids in {extent.column_ids for extent in extents}:
        if not known.issuperset(identity for identity in ids if identity != -1):
            raise ProtocolError(f"An extent has a column that table '{table.name}' never had.")
    return table


def _write_schemas(table: Table) -> list[object]:
    schemas = list(zip(table.schemas, table.column_ids, strict=True))
    written: list[object] = []
    for place, schema in enumerate(schemas):
        length = len(schema[0])
        if place + 1 < len(schemas) and _start(schemas[place + 1], length) == schema:
            written.append(length)
        else:
            written.append([v.write_columns(schema[0]), v.write_ids(schema[1])])
    return written


def _start(schema: Schema, length: int) -> Schema | None:
    """The first columns of a schema as they were before it; None if it is no longer."""
    columns, ids = schema
    if length >= len(columns):
        return None
    bare = tuple(Column(column.name, column.type) for column in columns[:length])
    return bare, ids[:length]


def _read_schemas(items: Sequence[Any]) -> list[Schema]:
    schemas: list[Schema] = []
    for item in reversed(items):
        if isinstance(item, list):
            schemas.append(_read_schema(item))
            continue
        if not schemas:
            raise ProtocolError("The newest schema of a table is not written in full.")
        longer = schemas[-1]
        older = _start(longer, integer(item, "schema length", 1, len(longer[0]) - 1))
        assert older is not None
        schemas.append(older)
    if not schemas:
        raise ProtocolError("A table has no schema.")
    schemas.reverse()
    _check_types(schemas)
    return schemas


def _read_schema(item: list[Any]) -> Schema:
    columns_value, ids_value = list_of(item, "schema", 2)
    columns, ids = v.read_columns(columns_value), v.read_ids(ids_value, 0)
    if len(columns) != len(ids) or len(set(ids)) != len(ids):
        raise ProtocolError("A schema has column ids that are not one a column.")
    return columns, ids


def _check_types(schemas: Iterable[Schema]) -> None:
    types: dict[int, object] = {}
    for columns, ids in schemas:
        for column, identity in zip(columns, ids, strict=True):
            if types.setdefault(identity, column.type) is not column.type:
                raise ProtocolError("A column id of a table has two types.")


def _encode_dropped(dropped: DroppedTable) -> bytes:
    version, dropped_us = v.write_version(dropped.version), dropped.dropped_us
    return join_array((_encode_table(dropped.table), dump(version), dump(dropped_us)))


def _read_dropped(value: object, found: int) -> DroppedTable:
    table, version, dropped_us = list_of(value, "dropped table", 3)
    return DroppedTable(
        _read_table(table, found), v.read_version(version), integer(dropped_us, "time of a drop")
    )


def _read_principals(reader: Fields, found: int) -> tuple[RoleAssignment, ...]:
    return () if found == 2 else v.read_principals(reader.take("principals"))


def _read_policies(reader: Fields) -> Mapping[str, str]:
    policies = reader.take("policies")
    if not isinstance(policies, dict):
        raise ProtocolError("Metadata has policies that are not an object.")
    return {
        text_of(kind, "policy kind"): text_of(text, "policy") for kind, text in policies.items()
    }


def _write_mappings(mappings: Mapping[MappingName, IngestionMapping]) -> list[object]:
    return [v.write_mapping(mappings[name]) for name in sorted(mappings)]


def _read_mappings(reader: Fields) -> Mapping[MappingName, IngestionMapping]:
    mappings: dict[MappingName, IngestionMapping] = {}
    for item in reader.list_of("mappings"):
        mapping = v.read_mapping(item)
        if mapping is None or (mapping.kind, mapping.name) in mappings:
            raise ProtocolError("Metadata has a mapping that is none, or one twice.")
        mappings[mapping.kind, mapping.name] = mapping
    return mappings


def _read_function(value: object) -> Function:
    function = v.read_function(value)
    if function is None:
        raise ProtocolError("Metadata has a function that is none.")
    return function
