"""Metadata trees and changes as canonical JSON, both ways. Pure.

Canonical: UTF-8, keys sorted, no spaces, tables sorted by name, every field present. Equal values
give equal bytes, so trees of leader and follower are compared by comparing bytes.

Decoding is strict, because the bytes come from a peer or a disk: an unknown kind of change, an
unknown, missing or repeated field, a value of the wrong type or out of its domain raises
:class:`cluster.errors.ProtocolError` and nothing is guessed.

A table's schema history is written as its newest columns and the length of each older schema: a
schema always starts with the columns of the one before (:mod:`cluster.catalog.changes`).
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cluster.catalog import changes as c
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    ScalarType,
    StreamingIngestionPolicy,
    Table,
    Version,
)
from cluster.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

_MAXIMUM_VERSION: Final = 2**63 - 1


def encode_database(database: Database) -> bytes:
    """The whole tree."""
    return _dump(
        {
            "database_id": database.database_id,
            "name": database.name,
            "pretty_name": database.pretty_name,
            "streaming_policy": _policy_value(database.streaming_policy),
            "tables": [_table_value(database.tables[name]) for name in sorted(database.tables)],
            "version": [database.version.major, database.version.minor],
        }
    )


def decode_database(data: bytes) -> Database:
    """The tree. Raises ProtocolError."""
    reader = _Fields(_load(data), "database")
    tables = [_read_table(item) for item in reader.list_of("tables")]
    database = Database(
        name=reader.text("name"),
        database_id=reader.text("database_id"),
        version=_read_version(reader.list_of("version")),
        tables={table.name: table for table in tables},
        streaming_policy=_read_policy(reader.take("streaming_policy")),
        pretty_name=reader.text("pretty_name"),
    )
    reader.end()
    if len(database.tables) != len(tables):
        raise ProtocolError("Metadata names a table twice.")
    if len({table.key for table in tables}) != len(tables):
        raise ProtocolError("Metadata gives one row store key to two tables.")
    return database


def encode_changes(changes: Sequence[c.Change]) -> bytes:
    """The changes of one transaction, in order."""
    return _dump([_change_value(change) for change in changes])


def decode_changes(data: bytes) -> tuple[c.Change, ...]:
    """The changes of one transaction, at least one. Raises ProtocolError."""
    items = _load(data)
    if not isinstance(items, list) or not items:
        raise ProtocolError("Metadata changes are not a list with at least one change.")
    return tuple(map(_read_change, items))


def _dump(value: object) -> bytes:
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    return text.encode("utf-8")


def _load(data: bytes) -> Any:
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except ValueError as error:
        raise ProtocolError(f"Metadata is not JSON: {error}.") from None
    except RecursionError:
        raise ProtocolError("Metadata is nested too deeply.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is repeated")
    return fields


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number")


class _Fields:
    """Takes the fields of one JSON object by name and type; what is left over is an error."""

    __slots__ = ("_fields", "_what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise ProtocolError(f"Metadata of a {what} is not an object.")
        self._fields = dict(value)
        self._what = what

    def take(self, name: str) -> Any:
        if name not in self._fields:
            raise ProtocolError(f"Metadata of a {self._what} has no field '{name}'.")
        return self._fields.pop(name)

    def text(self, name: str) -> str:
        value = self._typed(name, str)
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ProtocolError(f"Field '{name}' of a {self._what} is not Unicode.") from None
        return value

    def list_of(self, name: str) -> list[Any]:
        return self._typed(name, list)

    def key(self, name: str) -> RowStoreKey:
        return RowStoreKey(_integer(self.take(name), 1, c.MAXIMUM_KEY, "row store key"))

    def end(self) -> None:
        if self._fields:
            names = ", ".join(sorted(self._fields))
            raise ProtocolError(f"Metadata of a {self._what} has unknown fields: {names}.")

    def _typed(self, name: str, kind: type[T]) -> T:
        value = self.take(name)
        if not isinstance(value, kind):
            raise ProtocolError(f"Field '{name}' of a {self._what} has the wrong type.")
        return value


def _integer(value: object, minimum: int, maximum: int, what: str) -> int:
    # bool is an int to Python, not to JSON.
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise ProtocolError(f"Metadata has a {what} out of range.")
    return value


def _read_version(items: list[Any]) -> Version:
    if len(items) != 2:
        raise ProtocolError("A metadata version is not two numbers.")
    major, minor = (_integer(item, 0, _MAXIMUM_VERSION, "version") for item in items)
    return Version(major, minor)


def _policy_value(policy: StreamingIngestionPolicy | None) -> object:
    if policy is None:
        return None
    rate = policy.hint_allocated_rate
    return {
        "hint_allocated_rate": None if rate is None else float(rate),
        "is_enabled": policy.is_enabled,
    }


def _read_policy(value: object) -> StreamingIngestionPolicy | None:
    if value is None:
        return None
    reader = _Fields(value, "policy")
    enabled, rate = reader.take("is_enabled"), reader.take("hint_allocated_rate")
    reader.end()
    if not isinstance(enabled, bool):
        raise ProtocolError("A policy's 'is_enabled' is not true or false.")
    if rate is not None and not (isinstance(rate, float) and math.isfinite(rate) and rate >= 0):
        raise ProtocolError("A policy's 'hint_allocated_rate' is not a number of zero or more.")
    return StreamingIngestionPolicy(enabled, rate)


def _columns_value(columns: Sequence[Column]) -> object:
    return [[column.name, column.type.value] for column in columns]


def _read_columns(items: list[Any]) -> tuple[Column, ...]:
    columns = tuple(map(_read_column, items))
    if not columns or len({column.name for column in columns}) != len(columns):
        raise ProtocolError("Columns are missing or named twice.")
    return columns


def _read_column(item: object) -> Column:
    if not (isinstance(item, list) and len(item) == 2 and all(isinstance(x, str) for x in item)):
        raise ProtocolError("A column is not a name and a type.")
    try:
        return Column(item[0].encode("utf-8").decode(), ScalarType(item[1]))
    except ValueError:  # also of a name that is not Unicode
        raise ProtocolError(f"A column has the unknown type {item[1]!r} or a bad name.") from None


def _table_value(table: Table) -> object:
    return {
        "columns": _columns_value(table.columns),
        "docstring": table.docstring,
        "folder": table.folder,
        "key": table.key,
        "name": table.name,
        "older_schema_lengths": [len(schema) for schema in table.schemas[:-1]],
        "streaming_policy": _policy_value(table.streaming_policy),
        "table_id": table.table_id,
    }


def _read_table(value: object) -> Table:
    reader = _Fields(value, "table")
    columns = _read_columns(reader.list_of("columns"))
    lengths: list[int] = []
    for item in reader.list_of("older_schema_lengths"):
        minimum = lengths[-1] + 1 if lengths else 1
        lengths.append(_integer(item, minimum, len(columns) - 1, "schema length"))
    table = Table(
        name=reader.text("name"),
        table_id=reader.text("table_id"),
        key=reader.key("key"),
        schemas=(*(columns[:length] for length in lengths), columns),
        streaming_policy=_read_policy(reader.take("streaming_policy")),
        folder=reader.text("folder"),
        docstring=reader.text("docstring"),
    )
    reader.end()
    return table


def _change_value(change: c.Change) -> object:
    kind = type(change)
    fields = {name: _WRITE[field](getattr(change, name)) for name, field in _FIELDS[kind].items()}
    return {"kind": kind.__name__, **fields}


def _read_change(value: object) -> c.Change:
    reader = _Fields(value, "change")
    name = reader.text("kind")
    kind = _KINDS.get(name)
    if kind is None:
        raise ProtocolError(f"'{name}' is not a known kind of metadata change.")
    fields = {item: _READ[field](reader, item) for item, field in _FIELDS[kind].items()}
    reader.end()
    return kind(**fields)


_FIELDS: Final[Mapping[type[c.Change], Mapping[str, str]]] = {
    c.CreateTable: {
        "table": "text",
        "table_id": "text",
        "key": "key",
        "columns": "columns",
        "folder": "text",
        "docstring": "text",
    },
    c.AppendColumns: {"table": "text", "columns": "columns"},
    c.DescribeTable: {"table": "text", "folder": "text", "docstring": "text"},
    c.DropTable: {"table": "text"},
    c.SetTableStreamingPolicy: {"table": "text", "policy": "policy"},
    c.SetDatabaseStreamingPolicy: {"policy": "policy"},
}
"""The kinds of change that travel, with the JSON type of each field."""

_KINDS: Final = {kind.__name__: kind for kind in _FIELDS}

_WRITE: Final[Mapping[str, Callable[[Any], object]]] = {
    "text": str,
    "key": int,
    "columns": _columns_value,
    "policy": _policy_value,
}
_READ: Final[Mapping[str, Callable[[_Fields, str], Any]]] = {
    "text": _Fields.text,
    "key": _Fields.key,
    "columns": lambda reader, name: _read_columns(reader.list_of(name)),
    "policy": lambda reader, name: _read_policy(reader.take(name)),
}
