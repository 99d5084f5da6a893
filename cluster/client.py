"""A small client of one node: what the command line, the demo and the benchmarks use.

Works over any transport. Every failure is a typed :class:`cluster.errors.RemoraError`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import trio

from cluster.errors import ProtocolError, ThrottledError, UnavailableError
from cluster.rpc.convert import position_from_message, position_to_message
from cluster.rpc.v1 import (
    ingestion_pb2,
    ingestion_pb2_grpc,
    management_pb2,
    management_pb2_grpc,
    query_pb2,
    query_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from cluster.replication.position import Position
    from cluster.rpc.v1 import types_pb2
    from cluster.transport.api import Channel

FORMATS = {
    "csv": ingestion_pb2.DATA_FORMAT_CSV,
    "tsv": ingestion_pb2.DATA_FORMAT_TSV,
    "json": ingestion_pb2.DATA_FORMAT_JSON,
    "multijson": ingestion_pb2.DATA_FORMAT_MULTIJSON,
    "scsv": ingestion_pb2.DATA_FORMAT_SCSV,
    "sohsv": ingestion_pb2.DATA_FORMAT_SOHSV,
    "psv": ingestion_pb2.DATA_FORMAT_PSV,
    "tsve": ingestion_pb2.DATA_FORMAT_TSVE,
    "txt": ingestion_pb2.DATA_FORMAT_TXT,
    "raw": ingestion_pb2.DATA_FORMAT_RAW,
    "singlejson": ingestion_pb2.DATA_FORMAT_SINGLEJSON,
    "avro": ingestion_pb2.DATA_FORMAT_AVRO,
    "apacheavro": ingestion_pb2.DATA_FORMAT_APACHEAVRO,
}
"""Format names, as in Kusto's ``streamFormat``."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result table. ``columns`` are (name, Kusto type) in order.

    ``position`` is None for commands. ``hidden_reason`` says why a follower hides streaming rows;
    it is empty when it does not. ``staleness_seconds`` is how far behind the leader the answer was
    at most when it was sent; None: the follower does not know, or it is a command's result.
    """

    columns: tuple[tuple[str, str], ...]
    table: pa.Table
    position: Position | None = None
    hidden_reason: str = ""
    staleness_seconds: float | None = None

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows as Python values."""
        return list(zip(*(column.to_pylist() for column in self.table.columns), strict=True))

    def scalar(self) -> Any:
        """The first value of the first row."""
        return self.table.column(0)[0].as_py()


def _columns(messages: Sequence[types_pb2.Column]) -> tuple[tuple[str, str], ...]:
    return tuple((message.name, message.type) for message in messages)


class Client:
    """Queries, commands and single ingestions. The channel stays the caller's to close."""

    def __init__(self, channel: Channel) -> None:
        self._queries = query_pb2_grpc.QueryServiceStub(channel)
        self._commands = management_pb2_grpc.ManagementServiceStub(channel)
        self._ingestion = ingestion_pb2_grpc.IngestionServiceStub(channel)

    async def command(self, database: str, text: str, *, timeout_seconds: float = 60) -> Result:
        """Runs a management command."""
        response: management_pb2.ExecuteCommandResponse = await self._commands.ExecuteCommand(
            management_pb2.ExecuteCommandRequest(database=database, command=text),
            timeout=timeout_seconds,
        )
        table = pa.ipc.open_stream(response.arrow).read_all()
        return Result(_columns(response.columns), table)

    async def query(
        self,
        database: str,
        kql: str,
        *,
        at_least: Position | None = None,
        max_staleness_seconds: float | None = None,
        timeout_seconds: float = 240,
    ) -> Result:
        """Runs a query and collects its whole result.

        ``at_least``: waits until that is included. ``max_staleness_seconds``: raises TooStaleError
        rather than take an answer that may be further behind the leader.
        """
        request = query_pb2.QueryRequest(database=database, kql=kql)
        if at_least is not None:
            request.at_least.CopyFrom(position_to_message(at_least))
        if max_staleness_seconds is not None:
            request.max_staleness.FromNanoseconds(round(max_staleness_seconds * 1e9))
        header: query_pb2.QueryHeader | None = None
        parts: list[bytes] = []
        complete = False
        async with self._queries.Query(request, timeout=timeout_seconds) as stream:
            async for message in stream:
                part = message.WhichOneof("part")
                if part == "header":
                    header = message.header
                elif part == "arrow":
                    parts.append(message.arrow)
                else:
                    complete = True
        if header is None or not complete:
            raise ProtocolError("the node ended the answer before it was complete")
        return Result(
            _columns(header.columns),
            pa.ipc.open_stream(b"".join(parts)).read_all(),
            position_from_message(header.position),
            header.hidden_reason,
            header.staleness.ToNanoseconds() / 1e9 if header.HasField("staleness") else None,
        )

    async def wait_for(self, database: str, at_least: Position, *, timeout_seconds: float) -> None:
        """Returns when the node shows ``at_least``; raises TimedOutError if it does not."""
        await self._queries.WaitFor(
            query_pb2.WaitForRequest(database=database, at_least=position_to_message(at_least)),
            timeout=timeout_seconds,
        )

    async def ingest(
        self,
        database: str,
        table: str,
        payload: bytes,
        *,
        data_format: str = "csv",
        mapping: str = "",
        source_id: str = "",
        timeout_seconds: float = 60,
    ) -> ingestion_pb2.IngestResponse:
        """Ingests one payload; returns when its rows are durable and visible."""
        response: ingestion_pb2.IngestResponse = await self._ingestion.Ingest(
            ingestion_pb2.IngestRequest(
                database=database,
                table=table,
                format=FORMATS.get(data_format.lower(), ingestion_pb2.DATA_FORMAT_UNSPECIFIED),
                mapping=mapping,
                source_id=source_id,
                payload=payload,
            ),
            timeout=timeout_seconds,
        )
        return response


@dataclass(slots=True)
class WriterStatistics:
    """What a :class:`StreamWriter` has done so far."""

    payloads_sent: int = 0
    payloads_decided: int = 0
    payloads_repeated: int = 0
    rows_acked: int = 0
    reconnects: int = 0
    refused: list[types_pb2.Failure] = field(default_factory=list)
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class _Payload:
    number: int  # 0, 1, 2, ... in the order of send()
    request: ingestion_pb2.IngestRequest


class StreamWriter:
    """Streams payloads into one table, many in flight, and outlives its node.

    Each payload has a source id. When the stream breaks, what was not decided is sent again under
    the same source ids over a new stream; a payload that is refused for the moment only is sent
    again after ``retry_seconds``. So every acknowledged payload is stored once. ``on_decided`` is
    called with the numbers of payloads (0, 1, 2, ... in the order of :meth:`send`) as they are
    stored or refused for good; the latter are in ``statistics().refused``.
    """

    def __init__(
        self,
        channel: Channel,
        database: str,
        table: str,
        *,
        source: str,
        data_format: str = "csv",
        mapping: str = "",
        window: int = 16,
        retry_seconds: float = 0.05,
        on_decided: Callable[[Sequence[int]], None] | None = None,
    ) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, not {window}")
        self._stub = ingestion_pb2_grpc.IngestionServiceStub(channel)
        self._template = ingestion_pb2.IngestRequest(
            database=database, table=table, format=FORMATS[data_format.lower()], mapping=mapping
        )
        self._source = source
        self._window = window
        self._retry_seconds = retry_seconds
        self._on_decided = on_decided
        self._undecided: dict[int, _Payload] = {}
        self._unsent: deque[_Payload] = deque()
        self._changed = trio.Event()
        self._closing = False
        self._statistics = WriterStatistics()

    def statistics(self) -> WriterStatistics:
        """Counters; live, not a copy."""
        return self._statistics

    async def __aenter__(self) -> Self:
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        nursery.start_soon(self._run)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._closing = True
        self._wake()
        return await self._manager.__aexit__(exc_type, exc, traceback)

    async def send(self, payload: bytes) -> None:
        """Queues one payload; parks while ``window`` of them are undecided."""
        while len(self._undecided) >= self._window:
            await self._changed.wait()
        number = self._statistics.payloads_sent
        self._statistics.payloads_sent += 1
        request = ingestion_pb2.IngestRequest(source_id=f"{self._source};{number}", payload=payload)
        request.MergeFrom(self._template)
        item = _Payload(number, request)
        self._undecided[number] = item
        self._unsent.append(item)
        self._wake()
        await trio.lowlevel.checkpoint()

    async def drain(self) -> None:
        """Returns when everything sent is decided."""
        while self._undecided:
            await self._changed.wait()

    async def wait_decided(self) -> None:
        """Returns when at least one more payload has been decided."""
        seen = self._statistics.payloads_decided
        while self._statistics.payloads_decided == seen:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _run(self) -> None:
        while not (self._closing and not self._undecided):
            try:
                await self._session()
            except* (UnavailableError, ThrottledError, trio.BrokenResourceError):
                self._statistics.reconnects += 1
                await trio.sleep(self._retry_seconds)

    async def _session(self) -> None:
        """One stream, from its first payload until it breaks or everything is decided."""
        self._unsent = deque(self._undecided.values())
        sent: deque[_Payload] = deque()  # in the order of their sequence numbers
        sequence = 0
        async with self._stub.IngestStream() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, stream, sent, nursery)
            while True:
                while self._unsent:
                    item = self._unsent.popleft()
                    sequence += 1
                    sent.append(item)
                    message = ingestion_pb2.IngestStreamRequest(
                        sequence=sequence, request=item.request
                    )
                    try:
                        await stream.send(message)
                    except trio.BrokenResourceError:
                        await trio.sleep_forever()  # the receiving task learns why
                if self._closing and not self._undecided:
                    stream.close_send()
                    return
                await self._changed.wait()

    async def _receive(self, stream: Any, sent: deque[_Payload], nursery: trio.Nursery) -> None:
        statistics = self._statistics
        rows_before, acked_through = statistics.rows_acked, 0
        async for response in stream:
            failures = {item.sequence: item.failure for item in response.failures}
            decided, again = [], []
            for sequence in range(acked_through + 1, response.acked_through + 1):
                item, failure = sent.popleft(), failures.get(sequence)
                if failure is not None and not failure.permanent:
                    again.append(item)
                    continue
                if failure is not None:
                    statistics.refused.append(failure)
                del self._undecided[item.number]
                decided.append(item.number)
            acked_through = response.acked_through
            statistics.rows_acked = rows_before + response.rows_acked
            statistics.position = position_from_message(response.position)
            statistics.payloads_decided += len(decided)
            statistics.payloads_repeated += len(again)
            if again:
                nursery.start_soon(self._send_again, again)
            if decided and self._on_decided is not None:
                self._on_decided(decided)
            self._wake()
        if self._undecided or not self._closing:
            raise UnavailableError("the node closed the stream")
        nursery.cancel_scope.cancel()

    async def _send_again(self, items: Sequence[_Payload]) -> None:
        await trio.sleep(self._retry_seconds)
        self._unsent.extend(items)
        self._wake()
