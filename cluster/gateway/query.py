"""``cluster.rpc.v1.QueryService`` over the query engine."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import trio

from cluster.access.permissions import QUERY
from cluster.errors import InvalidRequestError, TimedOutError, UnavailableError
from cluster.gateway.answering import may_be_shown
from cluster.gateway.identity.calls import CallAccess
from cluster.rpc.convert import position_from_message, position_to_message
from cluster.rpc.v1 import query_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.gateway.answering import Answering, PinnedSnapshot, Results
    from cluster.query.binding import QueryResult
    from cluster.transport.api import Call, ServerStream

_CHUNK_BYTES: Final = 512 * 1024
_ENCODED_INLINE_BYTES: Final = 1024 * 1024


class QueryService:
    """Servicer of QueryService. Errors leave as they are; the transport makes statuses of them."""

    def __init__(self, answering: Answering, calls: CallAccess | None = None) -> None:
        """``calls`` None: every caller is anonymous."""
        self._answering = answering
        self._calls = calls or CallAccess()

    async def Query(  # noqa: N802 - the name is the method's in the proto
        self,
        request: query_pb2.QueryRequest,
        stream: ServerStream[Any, query_pb2.QueryResponse],
    ) -> None:
        """Header, Arrow bytes, completion. The header goes out when the whole answer is ready."""
        client = self._calls.request_of(stream)
        with _deadline(stream):
            at_least = request.at_least if request.HasField("at_least") else None
            most = None
            if request.HasField("max_staleness"):
                most = request.max_staleness.ToNanoseconds() / 1e9
            answered = await self._answering.answer(
                request.database,
                request.kql,
                client,
                _encoded,
                at_least=None if at_least is None else position_from_message(at_least),
                max_staleness_seconds=most,
            )
            result, pinned = answered.results[0], answered.pinned
            await stream.send(query_pb2.QueryResponse(header=_header(result, pinned)))
            for chunk in answered.encoded:
                if not may_be_shown(pinned):
                    raise UnavailableError(
                        "A follower's gate closed on rows of this answer while it was being sent.",
                        remedy="Ask again for what may be seen now.",
                    )
                await stream.send(query_pb2.QueryResponse(arrow=chunk))
            completion = query_pb2.QueryCompletion(row_count=result.table.num_rows)
            await stream.send(query_pb2.QueryResponse(completion=completion))

    async def WaitFor(  # noqa: N802 - the name is the method's in the proto
        self, request: query_pb2.WaitForRequest, call: Call
    ) -> query_pb2.WaitForResponse:
        """Waits for a position."""
        self._calls.require(self._calls.caller_of(call), QUERY, request.database)
        with _deadline(call):
            at_least = position_from_message(request.at_least)
            pinned = await self._answering.pin(request.database, at_least, "")
        return query_pb2.WaitForResponse(position=position_to_message(pinned.position))


@contextmanager
def _deadline(call: Call) -> Iterator[None]:
    seconds = call.seconds_left
    if math.isinf(seconds):
        yield
        return
    with trio.move_on_after(max(0.0, seconds)) as scope:
        yield
    if scope.cancelled_caught:
        raise TimedOutError("The call's deadline was reached before there was an answer.")


def _header(result: QueryResult, pinned: PinnedSnapshot) -> query_pb2.QueryHeader:
    header = query_pb2.QueryHeader(
        columns=[types_pb2.Column(name=c.name, type=c.type.value) for c in result.columns],
        position=position_to_message(pinned.position),
        streaming_rows_hidden=pinned.streaming_rows_hidden,
        hidden_reason=pinned.hidden_reason,
    )
    staleness = pinned.staleness_seconds()
    if staleness is not None:
        header.staleness.FromNanoseconds(math.ceil(staleness * 1e9))
    return header


async def _encoded(results: Results) -> list[bytes]:
    if len(results) != 1:
        raise InvalidRequestError(
            f"The text has {len(results)} results, and a call of this service answers with one.",
            remedy="Send one query a call, or use the REST endpoint.",
        )
    table = results[0].table
    if table.get_total_buffer_size() <= _ENCODED_INLINE_BYTES:  # nbytes walks every chunk
        return _chunks(table)
    return await trio.to_thread.run_sync(_chunks, table)


def _chunks(table: pa.Table) -> list[bytes]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    whole = memoryview(sink.getvalue())
    return [
        bytes(whole[start : start + _CHUNK_BYTES]) for start in range(0, len(whole), _CHUNK_BYTES)
    ]
