"""The endpoints, from request value to response value."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
import trio
from rest_values import ACTIVITY, post, result_of

from cluster.catalog.model import Column, RowStoreKey, ScalarType, Version
from cluster.commands.results import CommandResult
from cluster.errors import (
    InvalidRequestError,
    LimitExceededError,
    SemanticError,
    SyntaxRefusedError,
    TimedOutError,
    UnauthenticatedError,
)
from cluster.gateway.answering import Answering, PinnedSnapshot
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.http.routes import Routes
from cluster.gateway.rest.batches import is_command
from cluster.gateway.rest.query import RestQueries
from cluster.query.binding import Answer, QuerySnapshot
from cluster.replication.position import START, Position
from cluster.request import Caller

V1, V2, MGMT = "/v1/rest/query", "/v2/rest/query", "/v1/rest/mgmt"


class Clock:
    """Half a second passes whenever somebody looks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def monotonic(self) -> float:
        self.seconds += 0.5
        return self.seconds


class Databases:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_be_shown = None

    def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
        self.asked.append(database)
        position = Position(Version(1, 0), {RowStoreKey(1): START})
        snapshot = QuerySnapshot(database, {})
        return PinnedSnapshot(snapshot, position, set(), may_be_shown=self.may_be_shown)


class Engine:
    """Gives what a test sets, and keeps what it was asked."""

    def __init__(self) -> None:
        self.results = (result_of(Count=("long", [3])),)
        self.error: Exception | None = None
        self.asked: list[tuple[str, object]] = []

    async def answer(self, text, snapshot, request):
        await trio.lowlevel.checkpoint()
        self.asked.append((text, request))
        if self.error is not None:
            raise self.error
        return Answer(self.results)


class Commands:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, object]] = []

    async def execute(self, database, text, request):
        await trio.lowlevel.checkpoint()
        self.asked.append((database, text, request))
        if not is_command(text):
            raise SyntaxRefusedError("expected a command")
        columns = (Column("Name", ScalarType.STRING), Column("Id", ScalarType.GUID))
        return CommandResult(columns, (("T", None),))


class World:
    def __init__(self) -> None:
        self.engine, self.databases, self.commands = Engine(), Databases(), Commands()
        self.queries = RestQueries(
            Answering(self.engine, self.databases),
            self.commands,
            authenticate=self.authenticate,
            clock=Clock(),
        )
        self.routes = Routes(self.queries.routes())

    def authenticate(self, headers) -> Caller:
        if headers.get("authorization") == "wrong":
            raise UnauthenticatedError("nobody")
        return Caller("somebody")

    async def ask(self, path: str, csl: str, db: str = "Sales", options=(), **headers: str):
        body = {"db": db, "csl": csl, "properties": {"Options": dict(options)}}
        response = await self.routes.answer(post(path, body, **headers))
        assert response.status == 200
        assert response.content_type == "application/json; charset=utf-8"
        return json.loads(response.body)


@pytest.fixture
def world():
    return World()


def primary(frames) -> list[list[list]]:
    return [f["Rows"] for f in frames if f.get("TableKind") == "PrimaryResult"]


def v1_rows(body) -> list[list[list]]:
    return [table["Rows"] for table in body["Tables"]]


@pytest.mark.fidelity(
    "rest/response-v2.md", "A v2 answer is header, properties, results, completion and end"
)
async def test_a_query_of_version_2(world):
    frames = await world.ask(V2, "T | count", x_ms_client_request_id="KPC.execute;1")
    assert primary(frames) == [[[3]]]
    information = frames[-2]["Rows"][0]
    assert information[:3] == ["2023-11-14T22:13:20.0000000Z", "KPC.execute;1", ACTIVITY]
    assert json.loads(frames[-2]["Rows"][1][11])["ExecutionTime"] == 0.5
    ((text, request),) = world.engine.asked
    assert text == "T | count"
    assert (request.request_id, request.caller) == ("KPC.execute;1", Caller("somebody"))
    assert world.databases.asked == ["Sales"]


@pytest.mark.fidelity("rest/response.md", "A v1 answer has tables with a table of contents last")
async def test_a_query_of_version_1(world):
    body = await world.ask(V1, "T | count")
    assert len(body["Tables"]) == 4
    assert v1_rows(body)[0] == [[3]]


async def test_several_results_are_several_tables(world):
    world.engine.results = (result_of(a=("int", [1])), result_of(b=("int", [2])))
    assert primary(await world.ask(V2, "Q; Q")) == [[[1]], [[2]]]
    assert v1_rows(await world.ask(V1, "Q; Q"))[:2] == [[[1]], [[2]]]


async def test_a_query_without_a_database_is_in_the_default_one(world):
    await world.ask(V2, "T", db="")
    assert world.databases.asked == ["NetDefaultDB"]


@pytest.mark.parametrize("path", [V1, V2])
async def test_a_get_is_answered_like_a_post_but_may_only_read(world, path):
    request = HttpRequest("GET", path, query={"db": "Sales", "csl": "T"}, activity_id=ACTIVITY)
    responses = [
        await world.routes.answer(request),
        await world.routes.answer(post(path, {"db": "Sales", "csl": "T"})),
    ]
    found = [json.loads(response.body) for response in responses]
    rows = [primary(body) if path == V2 else v1_rows(body)[:1] for body in found]
    assert rows == [[[[3]]], [[[3]]]]
    assert [request.read_only for _, request in world.engine.asked] == [True, False]


async def test_go_gets_fragments(world):
    body = {
        "db": "Sales",
        "csl": "T",
        "properties": {
            "Options": {
                "results_error_reporting_placement": "end_of_table",
                "results_v2_fragment_primary_tables": True,
                "results_v2_newlines_between_frames": True,
                "servertimeout": "00:04:00",
            },
            "Parameters": None,
        },
    }
    response = await world.routes.answer(post(V2, body))
    lines = response.body.decode().split("\n")
    assert lines[0].startswith('[{"FrameType":"DataSetHeader"')
    assert lines[-1] == "]"


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ("Kusto.Java.Client:{7.0.6}|Runtime.Java:{17}", {"Content-Encoding": "identity"}),
        ("Kusto.Python.Client:{6.0.4}", {}),
        ("", {}),
    ],
)
async def test_java_is_told_that_an_answer_is_not_compressed(world, version, headers):
    request = post(V2, {"db": "Sales", "csl": "T"}, x_ms_client_version=version)
    assert (await world.routes.answer(request)).headers == headers


async def test_a_command_is_one_table(world):
    body = await world.ask(MGMT, ".show tables | project Name")
    assert v1_rows(body) == [[["T", None]]]
    ((database, text, request),) = world.commands.asked
    assert (database, text) == ("Sales", ".show tables | project Name")
    assert request.caller == Caller("somebody")


async def test_a_command_without_a_database_or_properties(world):
    response = await world.routes.answer(post(MGMT, {"csl": ".show cluster"}))
    assert response.status == 200
    assert world.commands.asked[0][:2] == ("", ".show cluster")


@pytest.mark.fidelity("rest/request.md", "Queries are not for the management endpoint")
async def test_a_query_at_the_management_endpoint_is_refused(world):
    with pytest.raises(SyntaxRefusedError):
        await world.ask(MGMT, "T | count")
    assert world.engine.asked == []


async def test_grafana_shows_at_the_query_endpoint(world):
    body = await world.ask(V1, "// test\n.show databases schema")
    assert v1_rows(body) == [[["T", None]]]
    assert primary(await world.ask(V2, ".show databases schema")) == [[["T", None]]]


@pytest.mark.fidelity(
    "rest/request.md", "Only commands that show are answered at the query endpoints"
)
@pytest.mark.parametrize("path", [V1, V2])
async def test_other_commands_are_refused_at_the_query_endpoints(world, path):
    with pytest.raises(InvalidRequestError, match="cannot be served from the query endpoint"):
        await world.ask(path, ".drop table T")
    assert world.commands.asked == []


@pytest.mark.parametrize("path", [V1, MGMT])
async def test_a_command_and_a_query_give_a_result_each(world, path):
    body = await world.ask(path, '.show tables | project A="1"; T | count')
    assert v1_rows(body)[:2] == [[["T", None]], [[3]]]
    assert [row[1] for row in v1_rows(body)[-1]] == [
        "QueryResult", "QueryResult", "QueryProperties", "QueryStatus",
    ]  # fmt: skip
    assert world.engine.asked[0][0] == " T | count"


async def test_two_commands_give_a_result_each(world):
    body = await world.ask(MGMT, ".show tables; .show databases")
    assert v1_rows(body)[:2] == [[["T", None]], [["T", None]]]
    assert len(body["Tables"]) == 5


async def test_the_rest_of_a_batch_may_not_change_anything_at_a_query_endpoint(world):
    with pytest.raises(InvalidRequestError, match="cannot be served from the query endpoint"):
        await world.ask(V1, ".show tables; .drop table T")
    assert world.commands.asked == []


async def test_behind_a_command_nothing_changes_at_mgmt_either(world):
    with pytest.raises(InvalidRequestError, match="only queries and commands that show"):
        await world.ask(MGMT, ".show tables; .drop table T")
    assert world.commands.asked == []


@pytest.mark.parametrize("path", [V1, V2, MGMT])
async def test_nobody_unknown_is_answered(world, path):
    with pytest.raises(UnauthenticatedError):
        await world.ask(path, ".show tables", authorization="wrong")
    assert world.commands.asked == []


async def test_an_error_of_the_engine_is_raised_and_counted(world):
    world.engine.error = SemanticError("SEM0100: no T")
    with pytest.raises(SemanticError):
        await world.ask(V2, "T")
    await world.ask(MGMT, ".show tables")
    told = world.queries.statistics()
    assert (told.answered, told.refused, told.encoded_in_threads) == (1, 1, 0)
    assert told.encoded_bytes > 0


async def test_rows_hidden_while_a_large_answer_was_encoded_do_not_leave(world, monkeypatch):
    """Encoding takes a thread and time: the look at the gate comes after it."""
    shown = []

    async def run_sync(function, *args):
        encoded = function(*args)
        shown.append(len(shown) > 0)  # the gate closes while the first answer is encoded
        world.engine.results = (result_of(x=("long", [7])),)
        return encoded

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    world.databases.may_be_shown = lambda: shown[-1] or len(world.engine.asked) > 1
    world.engine.results = (result_of(x=("long", range(100_000))),)
    assert primary(await world.ask(V2, "T")) == [[[7]]]
    assert len(world.engine.asked) == 2
    assert world.queries.statistics().encoded_in_threads == 1


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_answers_above_a_size_are_encoded_in_a_thread(world, extra):
    rows = 256 * 1024 // 8 + extra
    world.engine.results = (result_of(x=("long", range(rows))),)
    (found,) = primary(await world.ask(V2, "T"))
    assert len(found) == rows
    assert world.queries.statistics().encoded_in_threads == (1 if extra > 0 else 0)


async def test_values_of_commands_are_those_of_queries(world):
    """Commands give Python values, piped ones Arrow's: clients see no difference."""
    piped = result_of(Name=("string", ["T"]), Id=("guid", [None])).table
    plain = await world.ask(MGMT, ".show tables")

    async def execute(database, text, request):
        await trio.lowlevel.checkpoint()
        columns = (Column("Name", ScalarType.STRING), Column("Id", ScalarType.GUID))
        return CommandResult(columns, (), pa.Table.from_batches(piped.to_batches()))

    world.commands.execute = execute
    assert await world.ask(MGMT, ".show tables | take 1") == plain


@pytest.mark.parametrize("text", [".show tables", ".show tables; T | count"])
async def test_a_command_ends_when_its_time_is_over(world, autojump_clock, text):
    async def execute(database, text, request):
        await trio.sleep(59.9 if "slow" in database else 60.1)
        return CommandResult((), ())

    world.commands.execute = execute
    options = {"servertimeout": "00:01:00"}
    with pytest.raises(TimedOutError, match="60 seconds"):
        await world.ask(MGMT, text, options=options)
    assert await world.ask(MGMT, text, db="slow", options=options)


@pytest.mark.fidelity(
    "concepts/query-limits.md",
    "A result that is too large is a partial failure: its first rows, and the error behind them",
    differs="Of a result with too many bytes no row is sent.",
)
@pytest.mark.parametrize(("limit", "kept"), [("query_rows", 2), ("query_result_bytes", 0)])
@pytest.mark.parametrize("path", [V1, V2])
async def test_of_a_result_too_large_the_first_rows_come_and_then_the_error(
    world, path, limit, kept
):
    asked = []

    async def answer(text, snapshot, request):
        await trio.lowlevel.checkpoint()
        asked.append(dict(request.options))
        most = request.options.get("query_take_max_records")
        if most is None:
            metadata = {"limit": limit, "limit_value": "2"}
            raise LimitExceededError("Query result set has exceeded", metadata=metadata)
        return Answer((result_of(n=("long", range(most))),))

    world.engine.answer = answer
    body = await world.ask(path, "T", options={"truncationmaxrecords": 2})
    (*rows, failure) = primary(body)[0] if path == V2 else v1_rows(body)[0]
    assert rows == [[n] for n in range(kept)]
    error = failure["OneApiErrors"][0]["error"]
    assert error["code"] == "LimitsExceeded"
    assert error["@context"]["activityId"] == ACTIVITY
    assert asked[1] == {"truncationmaxrecords": 2, "query_take_max_records": kept}


@pytest.mark.parametrize("limit", ["query_text_bytes", ""])
async def test_other_limits_are_errors_without_rows(world, limit):
    world.engine.error = LimitExceededError("too long", metadata={"limit": limit})
    with pytest.raises(LimitExceededError):
        await world.ask(V2, "T")
    assert len(world.engine.asked) == 1
