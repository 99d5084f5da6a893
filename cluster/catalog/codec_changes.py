"""Changes as canonical JSON, both ways: a table of fields for each kind. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog import changes as c
from cluster.catalog import codec_values as v
from cluster.catalog.changes_tables import MAXIMUM_ROW_STORE
from cluster.catalog.codec_json import Fields, dump, integer, list_of, load, text_of
from cluster.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cluster.catalog.model import Extent


def encode_changes(changes: Sequence[c.Change]) -> bytes:
    """The changes of one transaction, in order."""
    return dump([_write_change(change) for change in changes])


def decode_changes(data: bytes) -> tuple[c.Change, ...]:
    """The changes of one transaction, at least one, of this format or an older one.

    Raises ProtocolError.
    """
    items = load(data)
    if not isinstance(items, list) or not items:
        raise ProtocolError("Metadata changes are not a list with at least one change.")
    return tuple(map(_read_change, items))


def _write_change(change: c.Change) -> object:
    kind = type(change)
    fields = {
        field.name or name: field.write(getattr(change, name))
        for name, field in _FIELDS[kind].items()
    }
    return {"kind": kind.__name__, **fields}


def _read_change(value: object) -> c.Change:
    reader = Fields(value, "change")
    name = reader.text("kind")
    kind = _KINDS.get(name)
    if kind is None:
        raise ProtocolError(
            f"'{name}' is not a known kind of metadata change.",
            remedy="Use a version at least as new as the one that wrote it.",
        )
    fields = {
        item: field.read(reader.take(field.name or item, **field.default))
        for item, field in _FIELDS[kind].items()
    }
    reader.end()
    return kind(**fields)


@dataclass(frozen=True, slots=True)
class _Field:
    """How a field is written and read.

    ``default``: what it is where format 1 did not have it. ``name``: its name in JSON, if that is
    not the name of the attribute (``kind`` is taken: it tells the kind of change).
    """

    write: Callable[[Any], object]
    read: Callable[[object], Any]
    default: Mapping[str, object]
    name: str = ""


def _field(
    write: Callable[[Any], object], read: Callable[[object], Any], **default: object
) -> _Field:
    return _Field(write, read, default)


def _write_extents(extents: Sequence[Extent]) -> object:
    return [v.write_extent(extent) for extent in extents]


_TEXT: Final = _field(str, lambda value: text_of(value, "text of a change"))
_NAMED_KIND: Final = replace(_TEXT, name="kind_of_entity")
_OPTIONAL_TEXT: Final = _field(
    lambda text: text, lambda value: None if value is None else text_of(value, "text of a change")
)
_KEY: Final = _field(int, v.read_key)
_COLUMNS: Final = _field(v.write_columns, v.read_columns)
_ROW_STORE: Final = _field(
    int, lambda value: integer(value, "row store", 0, MAXIMUM_ROW_STORE), default=0
)
_STREAMING: Final = _field(v.write_streaming, v.read_streaming)
_EXTENTS: Final = _field(_write_extents, v.read_extents)
_RANGES: Final = _field(v.write_ranges, v.read_ranges)
_PAIRS: Final = _field(v.write_pairs, v.read_pairs)
_TIME: Final = _field(int, lambda value: integer(value, "time"), default=0)
_VERSION: Final = _field(v.write_version, v.read_version)
_VERSIONS: Final = _field(
    lambda versions: [v.write_version(version) for version in versions],
    lambda value: tuple(v.read_version(item) for item in list_of(value, "versions")),
)

_FIELDS: Final[Mapping[type[c.Change], Mapping[str, _Field]]] = {
    c.CreateTable: {
        "table": _TEXT,
        "table_id": _TEXT,
        "key": _KEY,
        "columns": _COLUMNS,
        "folder": _TEXT,
        "docstring": _TEXT,
        "row_store": _ROW_STORE,
    },
    c.AppendColumns: {"table": _TEXT, "columns": _COLUMNS},
    c.SetSchema: {
        "table": _TEXT,
        "columns": _COLUMNS,
        "column_ids": _field(v.write_ids, lambda value: v.read_ids(value, 0)),
    },
    c.DescribeTable: {"table": _TEXT, "folder": _TEXT, "docstring": _TEXT},
    c.DescribeColumns: {"table": _TEXT, "docstrings": _PAIRS},
    c.RenameTables: {"names": _PAIRS},
    c.DropTable: {"table": _TEXT, "dropped_us": _TIME},
    c.RestoreTable: {
        "version": _VERSION,
        "table": _TEXT,
        "key": _KEY,
        "row_store": _ROW_STORE,
        "new_name": _TEXT,
    },
    c.ForgetDroppedTables: {"versions": _VERSIONS},
    c.SetTableStreamingPolicy: {"table": _TEXT, "policy": _STREAMING},
    c.SetDatabaseStreamingPolicy: {"policy": _STREAMING},
    c.SetPolicy: {"table": _TEXT, "kind": _NAMED_KIND, "policy": _OPTIONAL_TEXT},
    c.SetMapping: {
        "table": _TEXT,
        "kind": _NAMED_KIND,
        "name": _TEXT,
        "mapping": _field(v.write_mapping, v.read_mapping),
    },
    c.SetFunction: {"name": _TEXT, "function": _field(v.write_function, v.read_function)},
    c.SetPrettyName: {"text": _TEXT},
    c.SetPrincipals: {
        "table": _TEXT,
        "principals": _field(v.write_principals, v.read_principals),
    },
    c.SetReferences: {
        "table": _TEXT,
        "references": _field(v.write_references, v.read_references),
    },
    c.SealRows: {"table": _TEXT, "ranges": _RANGES, "extents": _EXTENTS},
    c.ReplaceExtents: {
        "table": _TEXT,
        "dropped": _field(list, v.read_texts),
        "added": _EXTENTS,
    },
    c.ClearTable: {"table": _TEXT, "ranges": _RANGES},
}
"""The kinds of change that travel, with their fields."""

_KINDS: Final = {kind.__name__: kind for kind in _FIELDS}
