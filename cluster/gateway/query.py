"""``cluster.rpc.v1.QueryService`` over the query engine."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import pyarrow as pa
import trio

from cluster.errors import TimedOutError, TooStaleError, UnavailableError
from cluster.rpc.convert import position_from_message, position_to_message
from cluster.rpc.v1 import query_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from cluster.catalog.model import RowStoreKey
    from cluster.query.binding import QueryResult, QuerySnapshot
    from cluster.replication.position import Position
    from cluster.transport.api import Call, ServerStream

_CHUNK_BYTES: Final = 512 * 1024
_ENCODED_INLINE_BYTES: Final = 1024 * 1024


def _never_stale() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class PinnedSnapshot:
    """A snapshot and what to tell about it.

    ``tables`` are the row store keys of all tables of the database. ``may_be_shown``, if set, is
    asked when the answer is ready. False: the gate has closed on rows that were read meanwhile,
    and the query is answered anew from what may be seen then. It is asked again before every
    further piece of a large answer. ``staleness_seconds`` tells, when asked, how far the database
    in context as pinned may be behind its leader by then; None: not known.
    """

    snapshot: QuerySnapshot
    position: Position
    tables: Container[RowStoreKey]
    streaming_rows_hidden: bool = False
    hidden_reason: str = ""
    may_be_shown: Callable[[], bool] | None = None
    staleness_seconds: Callable[[], float | None] = _never_stale


class SnapshotSource(Protocol):
    """Where snapshots come from."""

    def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
        """What is visible now of the tables ``text`` may name. Raises DatabaseNotFoundError."""

    async def wait_for(self, database: str, position: Position) -> None:
        """Returns once the database includes ``position``. Raises DatabaseNotFoundError."""


class Engine(Protocol):
    """What answers queries: :class:`cluster.query.driver.QueryEngine`."""

    async def run(self, kql: str, snapshot: QuerySnapshot) -> QueryResult:
        """Answers one query."""


class QueryService:
    """Servicer of QueryService. Errors leave as they are; the transport makes statuses of them."""

    def __init__(self, engine: Engine, snapshots: SnapshotSource) -> None:
        self._engine = engine
        self._snapshots = snapshots

    async def Query(  # noqa: N802 - the name is the method's in the proto
        self,
        request: query_pb2.QueryRequest,
        stream: ServerStream[Any, query_pb2.QueryResponse],
    ) -> None:
        """Header, Arrow bytes, completion. The header goes out when the whole answer is ready."""
        with _deadline(stream):
            at_least = request.at_least if request.HasField("at_least") else None
            most = None
            if request.HasField("max_staleness"):
                most = request.max_staleness.ToNanoseconds() / 1e9
            while True:
                pinned = await self._pin(request.database, at_least, request.kql)
                result = await self._engine.run(request.kql, pinned.snapshot)
                chunks = await _encoded(result.table)
                # Nothing may come between these looks and the first piece.
                if _may_be_shown(pinned):
                    _check_staleness(pinned, most)
                    break
            await stream.send(query_pb2.QueryResponse(header=_header(result, pinned)))
            for chunk in chunks:
                if not _may_be_shown(pinned):
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
        with _deadline(call):
            pinned = await self._pin(request.database, request.at_least, "")
        return query_pb2.WaitForResponse(position=position_to_message(pinned.position))

    async def _pin(
        self, database: str, at_least: types_pb2.Position | None, text: str
    ) -> PinnedSnapshot:
        """Pins at or after ``at_least``: what is pinned is checked, not what was waited for."""
        pinned = self._snapshots.pin(database, text)
        if at_least is None:
            return pinned
        wanted = position_from_message(at_least)
        while not pinned.position.includes(wanted, pinned.tables):
            await self._snapshots.wait_for(database, wanted)
            await trio.lowlevel.checkpoint()  # a source that returns too early must not spin here
            pinned = self._snapshots.pin(database, text)
        return pinned


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


def _check_staleness(pinned: PinnedSnapshot, most: float | None) -> None:
    """Raises TooStaleError if more than ``most`` seconds may be missing, or nobody knows."""
    if most is None:
        return
    staleness = pinned.staleness_seconds()
    if staleness is None or staleness > most:
        known = "an unknown time" if staleness is None else f"{staleness:.3f} s"
        name = pinned.snapshot.database
        raise TooStaleError(
            f"Database '{name}' may be {known} behind its leader; the query allows {most:.3f} s.",
            metadata={"database": name, "max_staleness_seconds": f"{most:.3f}"},
        )


def _may_be_shown(pinned: PinnedSnapshot) -> bool:
    return pinned.may_be_shown is None or pinned.may_be_shown()


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


async def _encoded(table: pa.Table) -> list[bytes]:
    if table.nbytes <= _ENCODED_INLINE_BYTES:
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
