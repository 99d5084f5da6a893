"""Executors of commands that show row stores (``adx-behaviour.md`` 2.3).

A row store has one log in a folder of its node: ``WriteAheadLogStorage`` and ``PersistentStorage``
both name it. Its rows are held in memory, which is what ``LocalStorageSize`` says. Limits that this
service does not have are null.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import find_table
from cluster.catalog.model import DEFAULT_DATABASE
from cluster.catalog.policies import rowstore_of
from cluster.commands.doors import tables_of_keys
from cluster.commands.properties import read_properties
from cluster.commands.when import moment, moment_ns, span, span_ns
from cluster.errors import EntityNotFoundError
from cluster.history.records import DataOperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cluster.catalog.model import Database, Extent, RowStoreReference, Table
    from cluster.commands.context import Context, Executor
    from cluster.commands.names import EntityName
    from cluster.commands.results import Row
    from cluster.rowstore.model import Rows, RowStoreStatistics, Unsealed

NO_EXTENT: Final = "00000000-0000-0000-0000-000000000000"
"""``ExtentId`` of rows that are not in an extent yet."""


def row_store_name(number: int) -> str:
    """``RowStore-0`` and so on: the names of those that the service makes itself."""
    return f"RowStore-{number}"


async def show_row_stores(context: Context) -> list[Row]:
    """``.show rowstores``: one row a row store of this node."""
    facts = context.node.facts()
    policy = rowstore_of(context.catalog.get(DEFAULT_DATABASE))
    return [
        (
            row_store_name(number),
            _store_id(store),
            store.folder,
            store.folder,
            not store.read_only_reason,
            facts.node_id,
            store.keys,
            store.log_bytes,
            store.first_lsn,
            store.live_bytes,
            policy.write_ahead_ratio,
            None,
            None,
            policy.seal_bytes,
            None,
            f"ReadOnly: {store.read_only_reason}" if store.read_only_reason else "Running",
            moment_ns(facts.started_at_ns),
            "",
            not store.visible_rows,
            True,
        )
        for number, store in enumerate(_stores(context))
    ]


async def show_row_store(context: Context) -> list[Row]:
    """``.show rowstore RowStore-0``: one row a key that holds rows, or has held some."""
    number = _number(context, context.values["rowstore"])
    store = _stores(context)[number]
    facts = context.node.facts()
    owners = {
        key: (database, table)
        for database in context.catalog.databases()
        for key, table in tables_of_keys(database.tables.values()).items()
    }
    found: list[Row] = []
    keys = context.node.services.row_stores.key_statistics(number)
    for item in sorted(keys, key=lambda each: each.key):
        if item.key not in owners:
            continue  # dropped a moment ago
        database, table = owners[item.key]
        found.append(
            (
                row_store_name(number),
                _store_id(store),
                f"{item.key:016x}",
                item.first_ordinal,
                item.end_ordinal,
                item.bytes,
                item.first_lsn,
                item.bytes,
                None,
                0,
                moment_ns(facts.started_at_ns),
                database.name,
                table.name,
                facts.node_id,
                moment(item.latest_ingest_us),
            )
        )
    return found


async def show_transactions(context: Context) -> list[Row]:
    """``.show rowstore transactions``: commits of each row store since the node started."""
    return [
        (
            row_store_name(number),
            _store_id(store),
            store.commits,
            store.committed_records,
            store.committed_requests,
            store.group_requests_max,
            span(store.commit_seconds_total / store.commits if store.commits else 0.0),
            span(store.commit_seconds_max),
            store.waiting_bytes,
            store.end_lsn,
        )
        for number, store in enumerate(_stores(context))
    ]


async def show_seals(context: Context) -> list[Row]:
    """``.show rowstore seals 'T'``: seals of a table in the database in context, oldest first."""
    read_properties(context, {})
    database = context.catalog.get(context.database)
    table = find_table(database, context.values["table"])
    return [
        (
            moment_ns(entry.ended_ns),
            entry.database,
            entry.table,
            str(entry.properties.get("Reason", "")),
            entry.row_count,
            entry.original_bytes,
            entry.extent_bytes,
            entry.extent_count,
            span(entry.duration_seconds),
        )
        for entry in context.node.services.history.data_operations()
        if entry.kind is DataOperationKind.ROW_STORE_SEAL
        and (entry.database, entry.table) == (database.name, table.name)
    ]


async def show_table_row_stores(context: Context) -> list[Row]:
    """``.show table T rowstores``: where streamed rows are, and in which extents they have gone.

    A row store has a row if it holds rows of the table that queries see; an extent has one for
    each of the table's row stores that its rows came from.
    """
    database, table = _table(context)
    return [*_unsealed_rows(context, database, table), *_sealed_rows(database, table)]


async def show_references(context: Context) -> list[Row]:
    """``.show table T rowstore_references``."""
    database, table = _table(context)
    return [
        (
            database.name,
            table.name,
            f"{reference.key:016x}",
            row_store_name(reference.row_store),
            reference.is_enabled,
        )
        for reference in table.references
    ]


async def show_seal_info(context: Context) -> list[Row]:
    """``.show table T rowstore_sealinfo``: what is sealed, what is not, and when it will be."""
    database, table = _table(context)
    policy = rowstore_of(context.catalog.get(DEFAULT_DATABASE))
    streamed = context.node.services.databases.streamed(database.name)
    unsealed = context.node.services.row_stores.unsealed(table.keys)
    found: list[Row] = []
    for reference in table.references:
        rows, waiting = streamed.get(reference.key), unsealed.get(reference.key)
        end = reference.sealed_ordinal if rows is None else rows.position.ordinal
        found.append(
            (
                database.name,
                table.name,
                row_store_name(reference.row_store),
                f"{reference.key:016x}",
                reference.sealed_ordinal,
                max(end, reference.sealed_ordinal),
                0 if rows is None else rows.row_count,
                _size(rows, waiting),
                None if waiting is None else moment(waiting.oldest_ingest_us),
                policy.seal_bytes,
                span_ns(policy.seal_interval_us * 1000),
            )
        )
    return found


def _unsealed_rows(context: Context, database: Database, table: Table) -> Iterator[Row]:
    streamed = context.node.services.databases.streamed(database.name)
    unsealed = context.node.services.row_stores.unsealed(table.keys)
    stores = _stores(context)
    first_lsns = {
        item.key: item.first_lsn
        for number in {reference.row_store for reference in table.references}
        if number < len(stores)
        for item in context.node.services.row_stores.key_statistics(number)
    }
    for reference in table.references:
        rows, waiting = streamed.get(reference.key), unsealed.get(reference.key)
        if rows is None or not rows.row_count:
            continue
        size = _size(rows, waiting)
        yield (
            database.name,
            table.name,
            NO_EXTENT,
            False,
            row_store_name(reference.row_store),
            _id_of(context, reference),
            f"{reference.key:016x}",
            rows.first_ordinal,
            rows.position.ordinal,
            None if waiting is None else waiting.log_distance_bytes,
            size,
            size,
            first_lsns.get(reference.key),
        )


def _sealed_rows(database: Database, table: Table) -> Iterator[Row]:
    references = {reference.key: reference for reference in table.references}

    def created(extent: Extent) -> tuple[int, str]:
        return extent.created_max_us, extent.extent_id

    for extent in sorted(table.extents.values(), key=created):
        for source in extent.sources:
            reference = references.get(source.key)
            name = "" if reference is None else row_store_name(reference.row_store)
            yield (
                database.name,
                table.name,
                extent.extent_id,
                True,
                name,
                "",
                f"{source.key:016x}",
                source.first_ordinal,
                source.end_ordinal,
                0,
                0,
                extent.original_bytes,
                None,
            )


def _size(rows: Rows | None, waiting: Unsealed | None) -> int:
    """Of records in the log; of a follower's copy, of the rows in memory."""
    if waiting is not None:
        return waiting.bytes
    return 0 if rows is None else sum(batch.nbytes for batch in rows.batches)


def _table(context: Context) -> tuple[Database, Table]:
    entity: EntityName = context.values["table"]
    database = context.catalog.get(entity.database or context.database)
    return database, find_table(database, entity.name)


def _stores(context: Context) -> tuple[RowStoreStatistics, ...]:
    return context.node.services.row_stores.statistics().stores


def _store_id(store: RowStoreStatistics) -> str:
    """Its 64-bit id as a guid."""
    return str(uuid.UUID(int=store.store_id))


def _id_of(context: Context, reference: RowStoreReference) -> str:
    """Of a row store of this node; of a leader's it is not known here."""
    stores = _stores(context)
    is_here = reference.row_store < len(stores)
    return _store_id(stores[reference.row_store]) if is_here else ""


def _number(context: Context, name: str) -> int:
    names = [row_store_name(number) for number in range(len(_stores(context)))]
    if name not in names:
        raise EntityNotFoundError(
            f"Row store '{name}' was not found; this node has {', '.join(names)}.",
            metadata={"rowstore": name},
        )
    return names.index(name)


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show rowstores": show_row_stores,
    "show rowstore": show_row_store,
    "show rowstore transactions": show_transactions,
    "show rowstore seals": show_seals,
    "show table rowstores": show_table_row_stores,
    "show table rowstore_references": show_references,
    "show table rowstore_sealinfo": show_seal_info,
}
