"""Executors of commands that ingest: data in the command, files and objects, results of queries.

Each is an operation of ``.show operations``, waited for or not (``async``).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cluster.batch.ports import Request
from cluster.batch.properties import parse_properties
from cluster.batch.schema import Mode
from cluster.batch.sources import parse_source
from cluster.catalog.model import Column
from cluster.catalog.naming import quote_name
from cluster.commands.command_types import command_type
from cluster.commands.grammar.asynchronous import ASYNC_SUFFIX
from cluster.commands.grammar.ingestion import COMMANDS
from cluster.commands.operating import check_owned
from cluster.commands.results import CommandResult
from cluster.commands.row_level_checks import check_row_level_new
from cluster.errors import InvalidRequestError
from cluster.query.binding import QueryResult, ResultColumn
from cluster.query.records import given_batch, storage_batches

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import pyarrow as pa

    from cluster.batch.sources import Source
    from cluster.catalog.model import Extent
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

    Work = Callable[[Request], Awaitable[list[Row]]]

NO_EXTENT: Final = "00000000-0000-0000-0000-000000000000"
"""``ExtentId`` where nothing was to ingest, as ``ingest-inline.md`` has it."""

_LINE_START: Final = re.compile(r"[ \t]*\r?\n| *")
_COLUMNS: Final = {spec.name: spec.columns for spec in COMMANDS}


async def ingest_inline(context: Context) -> list[Row]:
    """``.ingest inline``: the text behind ``<|``, or a record in each pair of brackets."""
    data = _inline_data(context)
    text = f"{_head(context)} <| ({len(data)} bytes)"

    async def work(request: Request) -> list[Row]:
        extents = await context.node.services.ingestion.inline(request, data)
        return [(extent.extent_id,) for extent in extents] or [(NO_EXTENT,)]

    return await _execute(context, text, work)


async def ingest_into(context: Context) -> list[Row]:
    """``.ingest [async] into table``: files of the node's ingest folder, objects by their URLs."""
    values = context.values
    addresses: Sequence[str] = values.get("sources") or (values["source"],)
    sources: list[Source] = [parse_source(address) for address in addresses]
    shown = ", ".join(f"'{source.shown}'" for source in sources)
    text = f"{_head(context)} ({shown})"

    async def work(request: Request) -> list[Row]:
        extents, seconds = await context.node.services.ingestion.sources(request, sources)
        items = ", ".join(source.shown for source in sources)
        duration = timedelta(seconds=seconds)
        return [
            (extent_id, items, duration, False, request.operation_id)
            for extent_id in [extent.extent_id for extent in extents] or [NO_EXTENT]
        ]

    return await _execute(context, text, work)


def _from_query(mode: Mode) -> Executor:
    async def ingest(context: Context) -> list[Row]:
        async def work(request: Request) -> list[Row]:
            columns, batches = await _rows_of(context)
            check_row_level_new(context.catalog.get(request.database), request.table)
            ingestion = context.node.services.ingestion
            extents = await ingestion.result(request, mode, columns, batches)
            return [_query_row(extent) for extent in extents] or [(NO_EXTENT, 0, 0, 0, 0, 0)]

        return await _execute(context, context.command.text, work, from_query=True)

    ingest.__doc__ = f"``.{mode.value} [async] T <|`` a query, or a command that shows."
    return ingest


def _query_row(extent: Extent) -> Row:
    """Sizes in bytes. There is no index beside the columns: the file is all of the extent."""
    size = extent.file_bytes
    return (extent.extent_id, extent.original_bytes, size, size, 0, extent.row_count)


async def _rows_of(context: Context) -> tuple[tuple[Column, ...], Sequence[pa.RecordBatch]]:
    """What the query or command gives, in the types in which rows are stored."""
    text: str = context.values["query"].strip()
    if not text:
        raise InvalidRequestError("There is no query behind '<|'.")
    if text.startswith("."):
        shown = await context.show(text)
        if shown.piped is None:
            return shown.columns, [given_batch(shown.columns, shown.rows)]
        found = tuple(ResultColumn(column.name, column.type) for column in shown.columns)
        return shown.columns, storage_batches(QueryResult(found, shown.piped))
    services = context.node.services
    result = await services.queries.run_to_store(
        text, context.snapshot(text), caller=context.request.caller
    )
    columns = tuple(Column(column.name, column.type) for column in result.columns)
    return columns, storage_batches(result)


async def _execute(
    context: Context, text: str, work: Work, *, from_query: bool = False
) -> list[Row]:
    """Runs the operation; gives its rows or, if it is not waited for, its id.

    Properties are read before it starts, so that a mistake in them starts nothing.
    """
    await check_owned(context, context.database)
    given = context.values.get("properties", ())
    properties = parse_properties(given, from_query=from_query)
    kind = command_type(context.command.spec.name)
    database = context.catalog.get(context.database).name
    operation_id = context.catalog.new_id()
    request = Request(database, context.values["table"], properties, kind, text, operation_id)
    columns = _COLUMNS[context.command.spec.name.removesuffix(ASYNC_SUFFIX)]

    async def run() -> CommandResult:
        return CommandResult(columns, tuple(await work(request)))

    operations, principal = context.node.services.operations, context.request.caller.principal
    if "async" in context.words:
        started = operations.start(
            kind, database, text, run, operation_id=operation_id, principal=principal
        )
        return [(started,)]
    ended = await operations.execute(
        kind, database, text, run, operation_id=operation_id, principal=principal
    )
    return list(ended.result.rows)


def _inline_data(context: Context) -> bytes:
    records: Sequence[str] | None = context.values.get("records")
    if records is not None:
        return "\n".join(records).encode()
    text: str = context.values["data"]
    return text[_LINE_START.match(text).end() :].encode()  # type: ignore[union-attr]


def _head(context: Context) -> str:
    """The command up to its data, without what may be secret in it."""
    table = quote_name(context.values["table"])
    way = " async" if "async" in context.words else ""
    inline = " inline" if "inline" in context.words else ""
    return f".ingest{way}{inline} into table {table}"


EXECUTORS: Final[Mapping[str, Executor]] = {
    "ingest inline": ingest_inline,
    "ingest": ingest_into,
    f"ingest{ASYNC_SUFFIX}": ingest_into,
    **{f"{mode.value}{way}": _from_query(mode) for mode in Mode for way in ("", ASYNC_SUFFIX)},
}
