"""Changes of a table's columns: the values and what each does to the tree. Pure.

Every change of names, order or types is a new schema version; the old ones stay, because rows and
files were written with them. Docstrings are of the schema in force only: a schema that is
superseded loses them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cluster.catalog.lookup import entity_not_found, find_table, next_column_id, with_table
from cluster.catalog.naming import check_entity_name, check_text
from cluster.errors import InvalidRequestError, LimitExceededError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.model import Column, Database, Table
    from cluster.limits import Limits

_COLUMN_POLICY: Final = "column "


@dataclass(frozen=True, slots=True)
class AppendColumns:
    """New columns at the end of a table, with the next free ids: old rows read null there."""

    table: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class SetSchema:
    """The whole new schema of a table: reorder, rename, drop, retype and add in one change.

    A column that stays keeps its id, under whatever name and at whatever place. An id that is not
    in the schema in force must be free (:func:`cluster.catalog.lookup.next_column_id` or above).
    A column whose type changes gets a free id: what was stored reads null. If names, types, ids
    and order stay, only docstrings change and there is no new schema version.
    """

    table: str
    columns: tuple[Column, ...]
    column_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DescribeColumns:
    """Docstrings of some columns, by name; the others keep theirs. No new schema version."""

    table: str
    docstrings: tuple[tuple[str, str], ...]


def column_policy_kind(column_id: int, kind: str) -> str:
    """The key in ``Table.policies`` of a policy that a column has. It survives renaming."""
    return f"{_COLUMN_POLICY}{column_id} {kind}"


def append_columns(database: Database, change: AppendColumns, limits: Limits) -> Database:
    """Applies :class:`AppendColumns`."""
    table = find_table(database, change.table)
    if not change.columns:
        raise InvalidRequestError(f"No column to append to table '{table.name}'.")
    columns = table.columns + change.columns
    check_columns(table.name, columns, limits)
    first = next_column_id(table)
    ids = (*table.column_ids[-1], *range(first, first + len(change.columns)))
    return with_table(database, _with_schema(table, columns, ids))


def set_schema(database: Database, change: SetSchema, limits: Limits) -> Database:
    """Applies :class:`SetSchema`."""
    table = find_table(database, change.table)
    columns, ids = change.columns, change.column_ids
    check_columns(table.name, columns, limits)
    _check_ids(table, columns, ids)
    if ids == table.column_ids[-1] and _bare(columns) == _bare(table.columns):
        return with_table(database, replace(table, schemas=(*table.schemas[:-1], columns)))
    changed = _with_schema(table, columns, ids)
    return with_table(database, replace(changed, policies=_policies_left(table, ids)))


def describe_columns(database: Database, change: DescribeColumns, limits: Limits) -> Database:
    """Applies :class:`DescribeColumns`."""
    del limits
    table = find_table(database, change.table)
    docstrings = dict(change.docstrings)
    if len(docstrings) != len(change.docstrings):
        raise InvalidRequestError(f"A column of table '{table.name}' is described twice.")
    names = {column.name for column in table.columns}
    for name, docstring in change.docstrings:
        if name not in names:
            raise entity_not_found("Column", name)
        check_text("Docstring", docstring)
    columns = tuple(
        replace(column, docstring=docstrings.get(column.name, column.docstring))
        for column in table.columns
    )
    return with_table(database, replace(table, schemas=(*table.schemas[:-1], columns)))


def check_columns(table: str, columns: Sequence[Column], limits: Limits) -> None:
    """Refuses columns that are none, too many, badly named or named twice."""
    if not columns:
        raise InvalidRequestError(f"Table '{table}' needs at least one column.")
    if len(columns) > limits.columns_per_table:
        raise LimitExceededError(
            f"Table '{table}' would have {len(columns)} columns, "
            f"the limit is {limits.columns_per_table}.",
            metadata={"limit": "columns_per_table", "maximum": str(limits.columns_per_table)},
        )
    seen: set[str] = set()
    for column in columns:
        check_entity_name("Column", column.name, limits)
        check_text("Docstring", column.docstring)
        if column.name in seen:
            raise InvalidRequestError(
                f"Column '{column.name}' is named twice in table '{table}'.",
                metadata={"table": table, "column": column.name},
            )
        seen.add(column.name)


def _check_ids(table: Table, columns: Sequence[Column], ids: Sequence[int]) -> None:
    if len(ids) != len(columns):
        raise InvalidRequestError(
            f"Table '{table.name}' would have {len(columns)} columns and {len(ids)} column ids."
        )
    if len(set(ids)) != len(ids):
        raise InvalidRequestError(f"Two columns of table '{table.name}' would have the same id.")
    present = dict(zip(table.column_ids[-1], table.columns, strict=True))
    free = next_column_id(table)
    for column, identity in zip(columns, ids, strict=True):
        before = present.get(identity)
        if before is None and identity < free:
            raise InvalidRequestError(
                f"Column '{column.name}' of table '{table.name}' cannot have id {identity}: "
                f"the first free one is {free}."
            )
        if before is not None and before.type is not column.type:
            raise InvalidRequestError(
                f"Column '{column.name}' of table '{table.name}' cannot become "
                f"{column.type.value} under id {identity}, which is of type {before.type.value}."
            )


def _with_schema(table: Table, columns: tuple[Column, ...], ids: tuple[int, ...]) -> Table:
    superseded = tuple(
        replace(column, docstring="") if column.docstring else column for column in table.columns
    )
    return replace(
        table,
        schemas=(*table.schemas[:-1], superseded, columns),
        column_ids=(*table.column_ids, ids),
    )


def _bare(columns: Sequence[Column]) -> list[tuple[str, object]]:
    return [(column.name, column.type) for column in columns]


def _policies_left(table: Table, ids: Sequence[int]) -> Mapping[str, str]:
    kept = {str(identity) for identity in ids}
    return {
        kind: policy
        for kind, policy in table.policies.items()
        if not kind.startswith(_COLUMN_POLICY) or kind.split(" ", 2)[1] in kept
    }
