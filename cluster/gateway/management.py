"""``ManagementService``: a command's text in, its table as one Arrow IPC stream out."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import ScalarType
from cluster.gateway.identity.calls import CallAccess
from cluster.rpc.v1 import management_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.commands.results import CommandResult
    from cluster.commands.service import CommandService
    from cluster.transport.api import Call


class ManagementServicer:
    """Serves ``cluster.rpc.v1.ManagementService`` on any transport."""

    def __init__(self, commands: CommandService, calls: CallAccess | None = None) -> None:
        """``calls`` None: every caller is anonymous."""
        self._commands = commands
        self._calls = calls or CallAccess()

    async def ExecuteCommand(  # noqa: N802  (the name is the protocol's)
        self, request: management_pb2.ExecuteCommandRequest, call: Call
    ) -> management_pb2.ExecuteCommandResponse:
        """Runs one command; errors are those of :meth:`CommandService.execute`."""
        client = self._calls.request_of(call)
        result = await self._commands.execute(request.database, request.command, client)
        return management_pb2.ExecuteCommandResponse(
            columns=[
                types_pb2.Column(name=column.name, type=column.type.value)
                for column in result.columns
            ],
            arrow=result_to_arrow(result),
        )


def result_to_arrow(result: CommandResult) -> bytes:
    """The rows as one complete Arrow IPC stream, in the storage types of rows."""
    schema = arrow_schema(result.columns)
    if result.piped is not None:
        return _stream(_stored_table(result.piped, schema))
    arrays = []
    for index, column in enumerate(result.columns):
        convert = _STORED.get(column.type)
        values = [row[index] for row in result.rows]
        if convert is not None:
            values = [None if value is None else convert(value) for value in values]
        arrays.append(pa.array(values, schema.field(index).type))
    return _stream(pa.table(arrays, schema=schema))


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _stored_table(piped: pa.Table, schema: pa.Schema) -> pa.Table:
    """A query's result in the storage types of rows: guids are text there, bytes here."""
    columns = []
    for column, field in zip(piped.columns, schema, strict=True):
        if pa.types.is_fixed_size_binary(field.type) and pa.types.is_string(column.type):
            values = [None if text is None else _stored_guid(text) for text in column.to_pylist()]
            columns.append(pa.array(values, field.type))
        else:
            columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema)


def _stored_datetime(value: datetime) -> datetime:
    return value.astimezone(UTC).replace(tzinfo=None)


def _stored_guid(value: str) -> bytes:
    return uuid.UUID(value).bytes


_STORED: Final[Mapping[ScalarType, Callable[[Any], object]]] = {
    ScalarType.DATETIME: _stored_datetime,
    ScalarType.GUID: _stored_guid,
}
"""Types whose values in a result are not yet what Arrow stores."""
