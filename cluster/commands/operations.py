"""Executors of commands about operations, queries and commands (``adx-behaviour.md`` 1.7, 7.7 on).

``ClientActivityId`` is the client's own id of its request, ours where it has none;
``RootActivityId`` is ours. Rows come oldest first.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cluster.commands.properties import read_properties
from cluster.commands.when import moment_ns, span, span_ns
from cluster.errors import EntityNotFoundError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.commands.context import Context, Executor
    from cluster.commands.results import CommandResult, Row
    from cluster.history.records import Executed, Operation, StreamedRequest

QUERY: Final = "Query"
"""``CommandType`` of a query."""

_FORMATS: Final[Mapping[str, str]] = {
    "csv": "Csv", "tsv": "Tsv", "psv": "Psv", "scsv": "Scsv", "sohsv": "Sohsv", "tsve": "Tsve",
    "txt": "Txt", "raw": "Raw", "json": "Json", "singlejson": "SingleJson",
    "multijson": "MultiJson", "avro": "Avro", "apacheavro": "ApacheAvro", "parquet": "Parquet",
    "orc": "Orc", "w3clogfile": "W3CLogFile",
}  # fmt: skip
"""Formats as ``IngestionProperties`` spells them."""


# Operations


async def show_operations(context: Context) -> list[Row]:
    """``.show operations``: every change of two weeks; with ids, the newest of six hours."""
    values, history = context.values, context.node.services.history
    if "operation" in values:
        found = history.operations_by_id((values["operation"],))
    elif "operations" in values:
        found = history.operations_by_id(dict.fromkeys(values["operations"]))
    else:
        found = history.operations()
    facts = context.node.facts()
    return [
        (
            entry.operation_id,
            entry.kind,
            facts.node_id,
            moment_ns(entry.started_ns),
            moment_ns(entry.updated_ns),
            span_ns(entry.updated_ns - entry.started_ns),
            entry.state.value,
            entry.status,
            entry.operation_id,
            entry.should_retry,
            entry.database,
            entry.principal,
            entry.principal,
            moment_ns(facts.started_at_ns),
            "",
        )
        for entry in found
    ]


async def show_operation_details(context: Context) -> list[Row] | CommandResult:
    """``.show operation ID details``: what a completed operation in the background returned."""
    operation_id = context.values["operation"]
    result = context.node.services.operations.result(operation_id)
    if result is not None:
        return result
    _operation(context, operation_id)
    return []  # it is running, failed, or somebody waited for it and has the result


async def cancel_operation(context: Context) -> list[Row]:
    """``.cancel operation ID``; what is committed already stays."""
    reason = read_properties(context, {"reason": str}).get("reason", "")
    operation = _operation(context, context.values["operation"])
    is_canceled = context.node.services.operations.cancel(operation.operation_id)
    return [
        (
            operation.operation_id,
            operation.kind,
            moment_ns(operation.started_ns),
            "Canceled successfully" if is_canceled else "Cancellation failed",
            reason if is_canceled else f"The operation is not running: {operation.state.value}.",
        )
    ]


def _operation(context: Context, operation_id: str) -> Operation:
    found = context.node.services.history.operations_by_id((operation_id,))
    if not found:
        raise EntityNotFoundError(
            f"Operation '{operation_id}' was not found.",
            remedy="Look at .show operations; an operation is found by its id for six hours.",
            metadata={"operation": operation_id},
        )
    return found[0]


# Data


async def show_data_operations(context: Context) -> list[Row]:
    """``.show data operations``: ingestions, seals and what update policies derived."""
    return [
        (
            moment_ns(entry.ended_ns),
            entry.database,
            entry.table,
            entry.client_activity_id,
            entry.kind.value,
            entry.original_bytes,
            entry.extent_bytes,
            entry.row_count,
            span(entry.duration_seconds),
            span(entry.cpu_seconds),
            entry.extent_count,
            entry.principal,
            json.dumps(dict(entry.properties)),
        )
        for entry in context.node.services.history.data_operations()
    ]


async def show_ingestion_failures(context: Context) -> list[Row]:
    """``.show ingestion failures [with (OperationId = id)]``: of batches and update policies."""
    wanted = read_properties(context, {"OperationId": str}).get("OperationId")
    return [
        (
            entry.operation_id or None,
            entry.database,
            entry.table,
            moment_ns(entry.failed_ns),
            entry.source,
            entry.details,
            _failure_kind(entry.is_permanent),
            entry.operation_id or None,
            entry.operation_kind,
            entry.from_update_policy,
            entry.error_code,
            entry.principal,
            not entry.is_permanent,
            entry.principal,
            entry.properties,
        )
        for entry in context.node.services.history.ingestion_failures()
        if wanted is None or entry.operation_id == wanted.lower()
    ]


async def show_streaming_statistics(context: Context) -> list[Row]:
    """``.show streamingingestion statistics``: requests alike, minute by minute."""
    services, node_id = context.node.services, context.node.facts().node_id
    return [
        (
            bucket.sample.database,
            bucket.sample.table,
            moment_ns(bucket.start_ns),
            moment_ns(bucket.end_ns),
            bucket.count,
            span(bucket.seconds_min),
            span(bucket.seconds_max),
            span(bucket.seconds_total / bucket.count),
            bucket.bytes_total,
            bucket.bytes_min,
            bucket.bytes_max,
            bucket.rows_total,
            bucket.rows_min,
            bucket.rows_max,
            _ingestion_status(bucket.sample.error_code),
            bucket.sample.reference_count,
            bucket.sample.principal,
            node_id,
            _ingestion_properties(bucket.sample),
        )
        for bucket in services.history.streaming.buckets(services.clock.now_ns())
    ]


async def show_streaming_failures(context: Context) -> list[Row]:
    """``.show streamingingestion failures``: failures alike; throttled requests are not here."""
    services = context.node.services
    return [
        (
            failures.sample.database,
            failures.sample.table,
            failures.sample.principal,
            None,
            _ingestion_properties(failures.sample),
            failures.count,
            moment_ns(failures.first_ns),
            moment_ns(failures.last_ns),
            _failure_kind(failures.sample.is_permanent),
            failures.sample.error_code,
            failures.sample.details,
        )
        for failures in services.history.streaming.failures(services.clock.now_ns())
    ]


def _failure_kind(is_permanent: bool) -> str:
    return "Permanent" if is_permanent else "Transient"


def _ingestion_status(error_code: str) -> str:
    """``Success``, or ``Failure`` and the error code without its category."""
    return f"Failure{error_code.rpartition('_')[2]}" if error_code else "Success"


def _ingestion_properties(request: StreamedRequest) -> str:
    return json.dumps(
        {
            "Mapping": request.mapping or None,
            "Format": _FORMATS.get(request.format.lower(), request.format),
            "Compressed": request.is_compressed,
            "IngestionSource": "Stream",
        }
    )


# Queries and commands


async def show_queries(context: Context) -> list[Row]:
    """``.show queries``: running ones and those of the last thirty days."""
    history = context.node.services.history
    entries = (*history.executed(), *history.running())
    return [_query_row(entry) for entry in entries if entry.kind == QUERY]


async def show_running_queries(context: Context) -> list[Row]:
    """``.show running queries [by (user 'U' | *)]``: of a user, else of everybody."""
    user: str | None = context.values.get("user")
    running = context.node.services.history.running()
    return [
        _query_row(entry)
        for entry in running
        if entry.kind == QUERY and user in (None, entry.user, entry.principal)
    ]


async def cancel_query(context: Context) -> list[Row]:
    """``.cancel query 'ID'``: by its ClientActivityId or its client request id."""
    reason = read_properties(context, {"reason": str}).get("reason", "")
    activity_id = context.values["query"]
    if not activity_id:
        raise InvalidRequestError("The id of the query is empty; see .show running queries.")
    is_canceled = context.node.services.cancel_query(activity_id)
    return [(activity_id, reason if is_canceled else "No such query is running.", is_canceled)]


async def show_commands(context: Context) -> list[Row]:
    """``.show commands``: those of the last thirty days that have ended."""
    return [
        (
            *_start(entry),
            span_ns(entry.updated_ns - entry.started_ns),
            entry.state.value,
            entry.activity_id,
            entry.user,
            entry.failure,
            entry.application,
            entry.principal,
            span(entry.cpu_seconds),
            json.dumps({"ResultSetRowCount": entry.row_count}),
            _request_properties(entry),
            "default",
            "",
        )
        for entry in context.node.services.history.executed()
        if entry.kind != QUERY
    ]


async def show_commands_and_queries(context: Context) -> list[Row]:
    """``.show commands-and-queries``: both, that have ended."""
    return [
        (
            *_start(entry),
            span_ns(entry.updated_ns - entry.started_ns),
            entry.state.value,
            entry.failure,
            entry.activity_id,
            entry.user,
            entry.application,
            entry.principal,
            _request_properties(entry),
            span(entry.cpu_seconds),
            entry.memory_peak_bytes,
            "{}",
            json.dumps(dict(entry.statistics)),
            _result_statistics(entry),
            "default",
            "",
        )
        for entry in context.node.services.history.executed()
    ]


def _start(entry: Executed) -> Row:
    return (
        entry.client_request_id or entry.activity_id,
        entry.kind,
        entry.text,
        entry.database,
        moment_ns(entry.started_ns),
        moment_ns(entry.updated_ns),
    )


def _query_row(entry: Executed) -> Row:
    activity_id, _, *start = _start(entry)
    return (
        activity_id,
        *start,
        span_ns(entry.updated_ns - entry.started_ns),
        entry.state.value,
        entry.activity_id,
        entry.user,
        entry.failure,
        span(entry.cpu_seconds),
        "{}",
        entry.application,
        entry.memory_peak_bytes,
        json.dumps(dict(entry.statistics)),
        entry.principal,
        _request_properties(entry),
        _result_statistics(entry),
        "default",
        "",
        "",
    )


def _request_properties(entry: Executed) -> str:
    properties = {
        "ClientRequestId": entry.client_request_id or None,
        "Options": dict(entry.options),
    }
    return json.dumps(properties, default=str)


def _result_statistics(entry: Executed) -> str:
    return json.dumps({"TableCount": 1, "Rows": entry.row_count, "Size": entry.result_bytes})


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show operations": show_operations,
    "show operation details": show_operation_details,
    "cancel operation": cancel_operation,
    "show data operations": show_data_operations,
    "show ingestion failures": show_ingestion_failures,
    "show streamingingestion statistics": show_streaming_statistics,
    "show streamingingestion failures": show_streaming_failures,
    "show queries": show_queries,
    "show running queries": show_running_queries,
    "cancel query": cancel_query,
    "show commands": show_commands,
    "show commands-and-queries": show_commands_and_queries,
}
