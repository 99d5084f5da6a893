"""The servicer: header, Arrow, completion; never an answer older than asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import pyarrow as pa
import pytest
import trio
import trio.testing

from cluster.catalog.model import RowStoreKey, ScalarType, Version
from cluster.errors import (
    AccessDeniedError,
    DatabaseNotFoundError,
    InvalidRequestError,
    SemanticError,
    TimedOutError,
    TooStaleError,
    UnavailableError,
)
from cluster.gateway.answering import Answering, PinnedSnapshot
from cluster.gateway.query import QueryService
from cluster.query.binding import Answer, QueryResult, QuerySnapshot, ResultColumn
from cluster.replication.position import KeyPosition, Position
from cluster.request import Caller, ClientRequest
from cluster.rpc.convert import position_from_message, position_to_message
from cluster.rpc.v1 import query_pb2

KEY = RowStoreKey(7)


def at(ordinal: int) -> Position:
    return Position(Version(1, 2), {KEY: KeyPosition(ordinal, ordinal * 11)})


class Stream:
    """A server stream that keeps what is sent."""

    metadata: tuple[tuple[str, str], ...] = ()

    def __init__(self, seconds_left: float = math.inf) -> None:
        self.sent: list[query_pb2.QueryResponse] = []
        self.seconds_left = seconds_left

    async def send(self, message: query_pb2.QueryResponse) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)


class Database:
    """A database whose position the test moves."""

    def __init__(self) -> None:
        self.position = at(3)
        self.moved = trio.Event()
        self.early_wakes = 0
        self.hidden = ""
        self.staleness: float | None = 0.0

    def move(self, ordinal: int) -> None:
        self.position = at(ordinal)
        self.moved.set()
        self.moved = trio.Event()

    def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
        if database.lower() != "home":
            raise DatabaseNotFoundError(f"Database '{database}' is not known.")
        return PinnedSnapshot(
            QuerySnapshot("Home", {}),
            self.position,
            {KEY},
            bool(self.hidden),
            self.hidden,
            staleness_seconds=lambda: self.staleness,
        )

    async def wait_for(self, database: str, position: Position) -> None:
        self.pin(database)
        if self.early_wakes:
            self.early_wakes -= 1
            return
        while not self.position.includes(position, {KEY}):
            await self.moved.wait()


class Engine:
    """Answers with a table given, or an error."""

    def __init__(self, rows: int = 3, error: Exception | None = None, results: int = 1) -> None:
        self.rows = rows
        self.results = results
        self.error = error
        self.asked: list[str] = []

    async def answer(self, kql: str, snapshot: QuerySnapshot, request: object) -> Answer:
        self.asked.append(kql)
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        table = pa.table({"x": pa.array(range(self.rows), pa.int64())})
        result = QueryResult((ResultColumn("x", ScalarType.LONG),), table)
        return Answer((result,) * self.results)


def request(database: str = "Home", at_least: Position | None = None) -> query_pb2.QueryRequest:
    message = query_pb2.QueryRequest(database=database, kql="T")
    if at_least is not None:
        message.at_least.CopyFrom(position_to_message(at_least))
    return message


def rows_of(sent: list[query_pb2.QueryResponse]) -> list[int]:
    data = b"".join(part.arrow for part in sent)
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()["x"].to_pylist()


async def test_header_then_arrow_then_completion():
    database, stream = Database(), Stream()
    database.hidden = "streaming ingestion is off"
    await QueryService(Answering(Engine(), database)).Query(request(), stream)
    kinds = [part.WhichOneof("part") for part in stream.sent]
    assert kinds == ["header", "arrow", "completion"]
    header = stream.sent[0].header
    assert [(c.name, c.type) for c in header.columns] == [("x", "long")]
    assert position_from_message(header.position) == at(3)
    assert header.streaming_rows_hidden
    assert header.hidden_reason == "streaming ingestion is off"
    assert rows_of(stream.sent) == [0, 1, 2]
    assert stream.sent[-1].completion.row_count == 3


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ("", "cluster('far'): the gate is closed"),
        ("here too", "here too; cluster('far'): the gate is closed"),
    ],
)
async def test_the_header_tells_what_other_clusters_hide(here, told):
    class Merging(Engine):
        async def answer(self, kql, snapshot, request):
            answer = await super().answer(kql, snapshot, request)
            return replace(answer, hidden_reason="cluster('far'): the gate is closed")

    database, stream = Database(), Stream()
    database.hidden = here
    await QueryService(Answering(Merging(), database)).Query(request(), stream)
    header = stream.sent[0].header
    assert header.streaming_rows_hidden
    assert header.hidden_reason == told


async def test_large_answers_travel_in_chunks_of_half_a_mebibyte():
    stream = Stream()
    await QueryService(Answering(Engine(rows=200_000), Database())).Query(request(), stream)
    sizes = [len(part.arrow) for part in stream.sent[1:-1]]
    assert set(sizes[:-1]) == {512 * 1024}
    assert 0 < sizes[-1] <= 512 * 1024
    assert rows_of(stream.sent) == list(range(200_000))


async def test_an_empty_answer_still_has_its_schema():
    stream = Stream()
    await QueryService(Answering(Engine(rows=0), Database())).Query(request(), stream)
    assert rows_of(stream.sent) == []
    assert stream.sent[-1].completion.row_count == 0


@pytest.mark.parametrize("early_wakes", [0, 2])
async def test_at_least_waits_and_is_never_stale(early_wakes):
    database, stream, engine = Database(), Stream(), Engine()
    database.early_wakes = early_wakes
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            QueryService(Answering(engine, database)).Query, request(at_least=at(5)), stream
        )
        await trio.testing.wait_all_tasks_blocked()
        assert engine.asked == []
        database.move(4)
        await trio.testing.wait_all_tasks_blocked()
        assert engine.asked == []
        database.move(6)
    assert position_from_message(stream.sent[0].header.position) == at(6)


async def test_at_least_that_is_reached_already_does_not_wait():
    stream = Stream()
    await QueryService(Answering(Engine(), Database())).Query(request(at_least=at(3)), stream)
    assert stream.sent[-1].completion.row_count == 3


async def test_at_least_not_reached_by_the_deadline_fails(autojump_clock):
    stream, engine = Stream(seconds_left=2.0), Engine()
    with pytest.raises(TimedOutError, match="deadline"):
        await QueryService(Answering(engine, Database())).Query(request(at_least=at(4)), stream)
    assert (stream.sent, engine.asked) == ([], [])


async def test_wait_for_returns_the_position_reached(autojump_clock):
    database = Database()
    service = QueryService(Answering(Engine(), database))
    message = query_pb2.WaitForRequest(database="home", at_least=position_to_message(at(4)))
    with pytest.raises(TimedOutError):
        await service.WaitFor(message, Stream(seconds_left=1.0))
    database.move(9)
    response = await service.WaitFor(message, Stream(seconds_left=1.0))
    assert position_from_message(response.position) == at(9)


@pytest.mark.parametrize("results", [0, 2])
async def test_a_text_with_another_number_of_results_is_refused(results):
    stream = Stream()
    service = QueryService(Answering(Engine(results=results), Database()))
    with pytest.raises(InvalidRequestError, match=f"{results} results"):
        await service.Query(request(), stream)
    assert stream.sent == []


async def test_errors_leave_before_anything_is_sent():
    for engine, database, kind in (
        (Engine(error=SemanticError("Semantic error: SEM0100: x")), "Home", SemanticError),
        (Engine(), "Nowhere", DatabaseNotFoundError),
    ):
        stream = Stream()
        with pytest.raises(kind):
            await QueryService(Answering(engine, Database())).Query(request(database), stream)
        assert stream.sent == []


async def test_rows_hidden_while_the_query_ran_are_not_in_its_answer():
    class Closing(Database):
        """Its gate closes while the first query runs."""

        def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
            pinned = super().pin(database, text)
            return replace(pinned, may_be_shown=None if self.hidden else self.close)

        def close(self) -> bool:
            self.hidden = "streaming ingestion is off"
            return False

    engine, stream = Engine(), Stream()
    await QueryService(Answering(engine, Closing())).Query(request(), stream)
    assert len(engine.asked) == 2
    assert stream.sent[0].header.hidden_reason == "streaming ingestion is off"


@pytest.mark.parametrize("pieces", [0, 1, 2])
async def test_no_further_piece_leaves_once_the_gate_has_closed(pieces):
    """A reader may take its time over a large answer; the gate does not wait for it."""

    class Closing(Database):
        def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
            return replace(super().pin(database, text), may_be_shown=lambda: not self.hidden)

    class Slow(Stream):
        async def send(self, message: query_pb2.QueryResponse) -> None:
            await super().send(message)
            if len(self.sent) == 1 + pieces:
                database.hidden = "streaming ingestion is off"

    database, stream = Closing(), Slow()
    with pytest.raises(UnavailableError, match="gate closed"):
        await QueryService(Answering(Engine(rows=200_000), database)).Query(request(), stream)
    assert len(stream.sent) == 1 + pieces


async def test_the_gate_is_looked_at_when_the_answer_is_encoded(monkeypatch):
    """Encoding a large answer takes a thread and time; the look comes after it."""

    class Closing(Database):
        def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
            shown = None if self.hidden else lambda: not self.hidden
            return replace(super().pin(database, text), may_be_shown=shown)

    async def run_sync(function, *args):
        database.hidden = "streaming ingestion is off"
        return function(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    database, engine, stream = Closing(), Engine(rows=200_000), Stream()
    await QueryService(Answering(engine, database)).Query(request(), stream)
    assert len(engine.asked) == 2
    assert stream.sent[0].header.hidden_reason == "streaming ingestion is off"


@pytest.mark.parametrize("staleness", [0.0, 1.499, 1.5])
async def test_an_answer_within_the_staleness_allowed_tells_its_own(staleness: float) -> None:
    database, stream = Database(), Stream()
    database.staleness = staleness
    asked = request()
    asked.max_staleness.FromMilliseconds(1500)
    await QueryService(Answering(Engine(), database)).Query(asked, stream)
    assert stream.sent[0].header.staleness.ToNanoseconds() == round(staleness * 1e9)


@pytest.mark.parametrize("staleness", [1.501, None])
async def test_an_answer_that_may_be_staler_than_allowed_is_refused(
    staleness: float | None,
) -> None:
    database, stream = Database(), Stream()
    database.staleness = staleness
    asked = request()
    asked.max_staleness.FromMilliseconds(1500)
    with pytest.raises(TooStaleError) as raised:
        await QueryService(Answering(Engine(), database)).Query(asked, stream)
    assert not stream.sent
    assert not raised.value.permanent
    assert "Home" in str(raised.value)


async def test_a_staleness_that_is_not_known_is_not_told() -> None:
    database, stream = Database(), Stream()
    database.staleness = None
    await QueryService(Answering(Engine(), database)).Query(request(), stream)
    assert not stream.sent[0].header.HasField("staleness")


class Roles:
    """Everybody may read ``Home``; ``reader`` may read ``Other`` besides."""

    def is_enforced(self, caller) -> bool:
        return caller.principal != "admin"

    def allowed(self, caller, permission, database="") -> bool:
        assert permission.startswith("Database ")
        return database.lower() == "home" or caller.principal in ("reader", "admin")

    def require(self, caller, permission, database="") -> None:
        if not self.allowed(caller, permission, database):
            raise AccessDeniedError(f"no {database}")


class Seen(Engine):
    """Keeps which other databases a query could name."""

    async def answer(self, kql: str, snapshot: QuerySnapshot, request: object) -> Answer:
        self.asked.append(",".join(snapshot.others))
        return Answer(())


@pytest.mark.parametrize(
    ("principal", "others"), [("admin", "Other"), ("reader", "Other"), ("somebody", "")]
)
async def test_only_databases_that_the_caller_may_read_can_be_named(principal, others):
    class Two(Database):
        def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
            pinned = super().pin(database, text)
            return replace(pinned, snapshot=QuerySnapshot("Home", {}, {"Other": {}}))

    async def encode(results: tuple[QueryResult, ...]) -> None:
        await trio.lowlevel.checkpoint()

    engine = Seen()
    caller = ClientRequest(Caller(principal))
    await Answering(engine, Two(), Roles()).answer("Home", "T", caller, encode)
    assert engine.asked == [others]


@pytest.mark.parametrize("database", ["Other", "Nowhere"])
async def test_nobody_is_told_whether_a_database_exists_that_it_may_not_read(database):
    stream = Stream()
    service = QueryService(Answering(Engine(), Database(), Roles()))
    with pytest.raises(AccessDeniedError):
        await service.Query(request(database), stream)
    assert stream.sent == []
