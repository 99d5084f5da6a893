"""``IngestionService``: requests into the pipeline, outcomes and cumulative acks out."""

from __future__ import annotations

from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import trio

from cluster.access.permissions import INGEST
from cluster.errors import AccessDeniedError, InvalidRequestError, RemoraError, ThrottledError
from cluster.gateway.identity.calls import CallAccess
from cluster.ingest.inflight import THROTTLED_RETRY_SECONDS
from cluster.ingest.request import STREAMING_FORMATS, DataFormat, IngestPayload
from cluster.ingest.ticket import Ticket
from cluster.limits import LIMITS, Limits
from cluster.replication.position import Position
from cluster.rpc.convert import failure_to_message, position_to_message
from cluster.rpc.v1 import ingestion_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cluster.catalog.model import RowStoreKey, Version
    from cluster.ingest.driver import IngestPipeline
    from cluster.replication.position import KeyPosition
    from cluster.transport.api import Call, ServerStream

    IngestStream = ServerStream[pb.IngestStreamRequest, pb.IngestStreamResponse]

_FORMATS: Final[dict[int, DataFormat]] = {
    pb.DataFormat.Value(f"DATA_FORMAT_{item.value.upper()}"): item for item in STREAMING_FORMATS
}


_NO_PROPERTIES: Final[Mapping[str, str]] = MappingProxyType({})


def payload_from_message(message: pb.IngestRequest) -> IngestPayload:
    """Decodes a request. A format this version does not know is None."""
    return IngestPayload(
        message.database,
        message.table,
        _FORMATS.get(message.format),
        message.payload,
        message.mapping,
        message.source_id,
        dict(message.properties) if message.properties else _NO_PROPERTIES,
    )


class IngestionServicer:
    """Serves ``cluster.rpc.v1.IngestionService`` on any transport.

    ``version_of`` gives the metadata version of a database now; it raises DatabaseNotFoundError.
    """

    def __init__(
        self,
        pipeline: IngestPipeline,
        version_of: Callable[[str], Version],
        *,
        calls: CallAccess | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        """``calls`` None: everybody may ingest."""
        self._pipeline = pipeline
        self._calls = calls or CallAccess()
        self._version_of = version_of
        self._limits = limits
        self._stream_count = 0

    @property
    def stream_count(self) -> int:
        """Ingestion streams open now."""
        return self._stream_count

    async def Ingest(self, request: pb.IngestRequest, call: Call) -> pb.IngestResponse:  # noqa: N802
        """Ingests one payload; errors are those of :meth:`IngestPipeline.ingest`."""
        caller = self._calls.caller_of(call)
        self._calls.require(caller, INGEST, request.database, request.table)
        outcome = await self._pipeline.ingest(payload_from_message(request))
        position = Position(self._version_of(request.database), {outcome.key: outcome.position})
        return pb.IngestResponse(
            row_count=outcome.row_count,
            position=position_to_message(position),
            duplicate=outcome.duplicate,
        )

    async def IngestStream(self, stream: IngestStream) -> None:  # noqa: N802
        """Serves one stream until the client closes it and everything is acknowledged.

        Raises ThrottledError when too many streams are open, InvalidRequestError for a sequence
        number out of order, UnauthenticatedError. Who may not ingest into a table is refused
        payload by payload.
        """
        caller = self._calls.caller_of(stream)
        if self._stream_count >= self._limits.ingest_streams:
            raise ThrottledError(
                f"{self._stream_count} ingestion streams are open, the limit is "
                f"{self._limits.ingest_streams} (ingest_streams)",
                retry_after_seconds=THROTTLED_RETRY_SECONDS,
            )
        self._stream_count += 1
        try:
            session = _StreamSession(
                stream,
                self._pipeline,
                self._version_of,
                self._limits,
                lambda database, table: self._calls.require(caller, INGEST, database, table),
            )
            await session.serve()
        finally:
            self._stream_count -= 1


class _StreamSession:
    """One stream: a reader that submits, and a writer that acknowledges in order.

    ``_pending`` are the submitted payloads that are not acknowledged, oldest first; the oldest
    has sequence number ``_acked_through + 1``. At most ``limits.ingest_stream_window`` of them:
    beyond that the reader stops reading, and flow control stops the client.
    """

    def __init__(
        self,
        stream: IngestStream,
        pipeline: IngestPipeline,
        version_of: Callable[[str], Version],
        limits: Limits,
        check: Callable[[str, str], None],
    ) -> None:
        self._stream = stream
        self._check = check
        self._pipeline = pipeline
        self._version_of = version_of
        self._window = limits.ingest_stream_window
        self._pending: deque[Ticket] = deque()
        self._acked_through = 0
        self._rows_acked = 0
        self._positions: dict[RowStoreKey, KeyPosition] = {}
        self._database = ""
        self._is_closed = False
        self._due = trio.Event()
        self._acked = trio.Event()

    async def serve(self) -> None:
        """Runs both sides; the first error of either ends the stream."""
        failures: list[RemoraError] = []

        async def run(side: Callable[[], Awaitable[None]]) -> None:
            try:
                await side()
            except RemoraError as error:
                # Raised after the nursery, which would wrap it in a group.
                failures.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, self._acknowledge)
            await run(self._receive)
        if failures:
            raise failures[0]

    async def _receive(self) -> None:
        last = 0
        while messages := await self._stream.recv_many():
            for message in messages:
                last += 1
                if message.sequence != last:
                    raise InvalidRequestError(
                        f"sequence number {message.sequence} where {last} is due",
                        remedy="Number the payloads of a stream 1, 2, 3, ... without gaps.",
                        metadata={"sequence": str(message.sequence), "due": str(last)},
                    )
                while len(self._pending) >= self._window:
                    self._acked = trio.Event()
                    await self._acked.wait()
                await self._take(payload_from_message(message.request))
        self._is_closed = True
        self._due.set()

    async def _take(self, request: IngestPayload) -> None:
        refusal = self._refusal(request)
        if refusal is not None:
            ticket = Ticket(request, None, is_unary=False)
            ticket.refuse(refusal)
        else:
            await self._pipeline.in_flight.wait_for_room(len(request.payload))
            ticket = self._pipeline.submit(request, self._on_decided)
        self._pending.append(ticket)
        if ticket.is_decided:
            self._on_decided()

    def _refusal(self, request: IngestPayload) -> RemoraError | None:
        """Why the pipeline is not to see it."""
        if request.database != self._database and not self._is_of_this_stream(request.database):
            return InvalidRequestError(
                f"this stream ingests into database '{self._database}'",
                remedy="Open one stream for each database.",
            )
        try:
            self._check(request.database, request.table)
        except AccessDeniedError as error:
            return error
        return None

    def _is_of_this_stream(self, database: str) -> bool:
        if not self._database:
            self._database = database
        return database.lower() == self._database.lower()

    def _on_decided(self) -> None:
        # Acks are cumulative: news is only what decides the oldest.
        if self._pending and self._pending[0].is_decided:
            self._due.set()

    async def _acknowledge(self) -> None:
        pending = self._pending
        while not (self._is_closed and not pending):
            if not (pending and pending[0].is_decided):
                self._due = trio.Event()
                await self._due.wait()
                continue
            await self._stream.send(self._next_response())
            self._acked.set()

    def _next_response(self) -> pb.IngestStreamResponse:
        """Acknowledges every payload that is decided, up to the first that is not."""
        pending = self._pending
        failures: list[pb.IngestStreamFailure] = []
        while pending and pending[0].is_decided:
            ticket = pending.popleft()
            self._acked_through += 1
            if ticket.error is not None:
                failure = failure_to_message(ticket.error)
                failures.append(
                    pb.IngestStreamFailure(sequence=self._acked_through, failure=failure)
                )
                continue
            self._rows_acked += ticket.row_count
            assert ticket.key is not None
            assert ticket.position is not None
            known = self._positions.get(ticket.key)
            if known is None or known.ordinal < ticket.position.ordinal:
                self._positions[ticket.key] = ticket.position
        response = pb.IngestStreamResponse(
            acked_through=self._acked_through, rows_acked=self._rows_acked, failures=failures
        )
        if self._positions:
            position = Position(self._version_of(self._database), self._positions)
            response.position.CopyFrom(position_to_message(position))
        return response
