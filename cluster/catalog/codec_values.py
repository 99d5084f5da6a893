"""The small values of a metadata tree as JSON, both ways. Pure.

Those of which there are many are arrays, in the order of the tuples below, not objects: an extent
costs some 200 bytes. Column ids are runs ``first, count, ...`` of consecutive ids.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.changes import MAXIMUM_KEY, SealedRange
from cluster.catalog.changes_data import MINIMUM_TIME, check_extent
from cluster.catalog.changes_tables import MAXIMUM_ROW_STORE
from cluster.catalog.codec_json import Fields, boolean, integer, list_of, text_of
from cluster.catalog.model import (
    Column,
    Extent,
    Function,
    IngestionMapping,
    Provenance,
    Role,
    RoleAssignment,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    StreamingIngestionPolicy,
    Version,
)
from cluster.errors import ProtocolError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAXIMUM_COLUMN_ID: Final = 2**31 - 1
MAXIMUM_COLUMNS: Final = 2**20
"""Columns of one extent; keeps a short run from becoming a long tuple."""

_TYPES: Final[Mapping[str, ScalarType]] = {scalar.value: scalar for scalar in ScalarType}
_ROLES: Final[Mapping[str, Role]] = {role.value: role for role in Role}


def write_version(version: Version) -> list[int]:
    """``[major, minor]``."""
    return [version.major, version.minor]


def read_version(value: object) -> Version:
    """Reads :func:`write_version`."""
    major, minor = (integer(item, "version") for item in list_of(value, "version", 2))
    return Version(major, minor)


def read_key(value: object) -> RowStoreKey:
    """A row store key."""
    return RowStoreKey(integer(value, "row store key", 1, MAXIMUM_KEY))


def write_streaming(policy: StreamingIngestionPolicy | None) -> object:
    """An object of two fields, or null."""
    if policy is None:
        return None
    rate = policy.hint_allocated_rate
    return {
        "hint_allocated_rate": None if rate is None else float(rate),
        "is_enabled": policy.is_enabled,
    }


def read_streaming(value: object) -> StreamingIngestionPolicy | None:
    """Reads :func:`write_streaming`."""
    if value is None:
        return None
    reader = Fields(value, "policy")
    enabled = boolean(reader.take("is_enabled"), "policy's 'is_enabled'")
    rate = reader.take("hint_allocated_rate")
    reader.end()
    if rate is not None and not (isinstance(rate, float) and math.isfinite(rate) and rate >= 0):
        raise ProtocolError("A policy's 'hint_allocated_rate' is not a number of zero or more.")
    return StreamingIngestionPolicy(enabled, rate)


def write_columns(columns: Sequence[Column]) -> list[list[str]]:
    """``[name, type]`` of each, or ``[name, type, docstring]`` if it has one."""
    return [
        [column.name, column.type.value, column.docstring]
        if column.docstring
        else [column.name, column.type.value]
        for column in columns
    ]


def read_columns(value: object) -> tuple[Column, ...]:
    """Reads :func:`write_columns`: at least one column, no name twice."""
    columns = tuple(map(_read_column, list_of(value, "columns")))
    if not columns or len({column.name for column in columns}) != len(columns):
        raise ProtocolError("Columns are missing or named twice.")
    return columns


def _read_column(item: object) -> Column:
    parts = [text_of(part, "part of a column") for part in list_of(item, "column")]
    if not 2 <= len(parts) <= 3:
        raise ProtocolError("A column is not a name, a type and perhaps a docstring.")
    scalar = _TYPES.get(parts[1])
    if scalar is None:
        raise ProtocolError(f"A column has the unknown type {parts[1]!r}.")
    return Column(parts[0], scalar, *parts[2:])


def write_ids(ids: Sequence[int]) -> list[int]:
    """Runs ``first, count, ...`` of consecutive ids, as few as there can be."""
    runs: list[int] = []
    for identity in ids:
        if runs and identity == runs[-2] + runs[-1]:
            runs[-1] += 1
        else:
            runs += (identity, 1)
    return runs


def read_ids(value: object, minimum: int) -> tuple[int, ...]:
    """Reads :func:`write_ids`. ``minimum`` is 0, or -1 where a column may have no id."""
    runs = list_of(value, "column ids")
    if len(runs) % 2:
        raise ProtocolError("Metadata has column ids that are not runs.")
    ids: list[int] = []
    for at in range(0, len(runs), 2):
        first = integer(runs[at], "column id", minimum, MAXIMUM_COLUMN_ID)
        count = integer(runs[at + 1], "count of column ids", 1, MAXIMUM_COLUMNS - len(ids))
        ids += range(first, first + count)
    return tuple(ids)


def write_references(references: Sequence[RowStoreReference]) -> list[list[object]]:
    """``[row store, key, is enabled, sealed ordinal, sealed checksum]`` of each."""
    return [
        [item.row_store, item.key, item.is_enabled, item.sealed_ordinal, item.sealed_checksum]
        for item in references
    ]


def read_references(value: object) -> tuple[RowStoreReference, ...]:
    """Reads :func:`write_references`; at least one."""
    references = tuple(map(_read_reference, list_of(value, "row store references")))
    if not references:
        raise ProtocolError("A table has no row store reference.")
    return references


def _read_reference(value: object) -> RowStoreReference:
    row_store, key, enabled, ordinal, checksum = list_of(value, "row store reference", 5)
    return RowStoreReference(
        integer(row_store, "row store", 0, MAXIMUM_ROW_STORE),
        read_key(key),
        boolean(enabled, "row store reference's flag"),
        integer(ordinal, "sealed ordinal"),
        integer(checksum, "sealed checksum", 0, MAXIMUM_KEY),
    )


def write_ranges(ranges: Sequence[SealedRange]) -> list[list[int]]:
    """``[key, end ordinal, end checksum]`` of each."""
    return [[item.key, item.end_ordinal, item.end_checksum] for item in ranges]


def read_ranges(value: object) -> tuple[SealedRange, ...]:
    """Reads :func:`write_ranges`."""
    return tuple(map(_read_range, list_of(value, "sealed ranges")))


def _read_range(value: object) -> SealedRange:
    key, ordinal, checksum = list_of(value, "sealed range", 3)
    return SealedRange(
        read_key(key),
        integer(ordinal, "sealed ordinal"),
        integer(checksum, "sealed checksum", 0, MAXIMUM_KEY),
    )


def write_extent(extent: Extent) -> list[object]:
    """The fields of :class:`~cluster.catalog.model.Extent` in their order."""
    return [
        extent.extent_id,
        extent.file,
        extent.file_bytes,
        extent.file_checksum,
        write_ids(extent.column_ids),
        extent.row_count,
        extent.original_bytes,
        extent.created_min_us,
        extent.created_max_us,
        extent.ingested_min_us,
        extent.ingested_max_us,
        list(extent.tags),
        [[source.key, source.first_ordinal, source.end_ordinal] for source in extent.sources],
    ]


def read_extents(value: object) -> tuple[Extent, ...]:
    """Reads an array of :func:`write_extent`. Equal column ids of several are one tuple."""
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    return tuple(_read_extent(item, known) for item in list_of(value, "extents"))


def _read_extent(value: object, known: dict[tuple[int, ...], tuple[int, ...]]) -> Extent:
    items = list_of(value, "extent", 13)
    ids = read_ids(items[4], -1)
    first, last = (
        None if item is None else integer(item, "ingestion time") for item in items[9:11]
    )
    extent = Extent(
        extent_id=text_of(items[0], "extent id"),
        file=text_of(items[1], "extent file"),
        file_bytes=integer(items[2], "file size"),
        file_checksum=integer(items[3], "file checksum", 0, MAXIMUM_KEY),
        column_ids=known.setdefault(ids, ids),
        row_count=integer(items[5], "row count"),
        original_bytes=integer(items[6], "original size"),
        created_min_us=integer(items[7], "creation time", MINIMUM_TIME),
        created_max_us=integer(items[8], "creation time", MINIMUM_TIME),
        ingested_min_us=first,
        ingested_max_us=last,
        tags=tuple(text_of(tag, "extent tag") for tag in list_of(items[11], "extent tags")),
        sources=tuple(map(_read_source, list_of(items[12], "extent sources"))),
    )
    try:
        check_extent(extent)
    except RequestError as error:
        raise ProtocolError(error.message) from None
    return extent


def _read_source(value: object) -> Provenance:
    key, first, end = list_of(value, "extent source", 3)
    return Provenance(read_key(key), integer(first, "ordinal"), integer(end, "ordinal"))


def write_mapping(mapping: IngestionMapping | None) -> object:
    """``[kind, name, text, updated]``, or null."""
    if mapping is None:
        return None
    return [mapping.kind, mapping.name, mapping.text, mapping.updated_us]


def read_mapping(value: object) -> IngestionMapping | None:
    """Reads :func:`write_mapping`."""
    if value is None:
        return None
    kind, name, text, updated = list_of(value, "mapping", 4)
    return IngestionMapping(
        text_of(name, "mapping name"),
        text_of(kind, "mapping kind"),
        text_of(text, "mapping"),
        integer(updated, "time of a mapping"),
    )


def write_function(function: Function | None) -> object:
    """``[name, parameters, body, folder, docstring]``, or null."""
    if function is None:
        return None
    return [
        function.name,
        function.parameters,
        function.body,
        function.folder,
        function.docstring,
    ]


def read_function(value: object) -> Function | None:
    """Reads :func:`write_function`."""
    if value is None:
        return None
    items: list[Any] = list_of(value, "function", 5)
    return Function(*(text_of(item, "text of a function") for item in items))


def write_principals(principals: Sequence[RoleAssignment]) -> list[list[str]]:
    """``[role, principal, notes, assignment id]`` of each."""
    return [
        [item.role.value, item.principal, item.notes, item.assignment_id] for item in principals
    ]


def read_principals(value: object) -> tuple[RoleAssignment, ...]:
    """Reads :func:`write_principals`."""
    return tuple(map(_read_principal, list_of(value, "principals")))


def _read_principal(value: object) -> RoleAssignment:
    role, *texts = (text_of(item, "text of a principal") for item in list_of(value, "principal", 4))
    found = _ROLES.get(role)
    if found is None:
        raise ProtocolError(f"A principal has the unknown role {role!r}.")
    return RoleAssignment(found, *texts)


def write_pairs(pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Pairs of text."""
    return [list(pair) for pair in pairs]


def read_pairs(value: object) -> tuple[tuple[str, str], ...]:
    """Reads :func:`write_pairs`."""
    pairs = [list_of(item, "pair", 2) for item in list_of(value, "pairs")]
    return tuple((text_of(a, "text"), text_of(b, "text")) for a, b in pairs)


def read_texts(value: object) -> tuple[str, ...]:
    """An array of text."""
    return tuple(text_of(item, "text") for item in list_of(value, "texts"))
