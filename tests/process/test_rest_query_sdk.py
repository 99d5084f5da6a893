"""The unmodified Python SDK against real nodes: queries, commands, streams of rows, refusals."""

from __future__ import annotations

import datetime as dt
import json
import math
import threading
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import requests
import trio
from azure.kusto.data import ClientRequestProperties, KustoClient
from azure.kusto.data.exceptions import KustoApiError, KustoMultiApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

TYPES = (
    "b:bool, dt:datetime, dec:decimal, dy:dynamic, g:guid, i:int, l:long, r:real, s:string, "
    "ts:timespan"
)
ROWS = """
true,2026-01-02T03:04:05.123456Z,1.25,"{""a"":[1,{""b"":null}]}",8A7E2F10-0000-4000-8000-00000000000D,1,2,1.5,"q""\\",1.02:03:04.5
,,,,,,,,,
false,0001-01-01,-0.000000000000000001,text,00000000-0000-0000-0000-000000000000,-2147483648,-9223372036854775807,NaN,,-00:00:00.000001
""".strip()
VALUES = [
    [
        True,
        dt.datetime(2026, 1, 2, 3, 4, 5, 123456, dt.UTC),
        Decimal("1.25"),
        {"a": [1, {"b": None}]},
        "8a7e2f10-0000-4000-8000-00000000000d",
        1,
        2,
        1.5,
        'q"\\',
        dt.timedelta(days=1, hours=2, minutes=3, seconds=4.5),
    ],
    [None, None, None, None, None, None, None, None, "", None],
    [
        False,
        dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        Decimal("-0.000000000000000001"),
        "text",
        "00000000-0000-0000-0000-000000000000",
        -(2**31),
        -(2**63) + 1,
        "NaN",  # the SDK leaves it to its helpers for data frames
        "",
        dt.timedelta(microseconds=-1),
    ],
]


@pytest.fixture
def url(processes: tuple[Launcher, Setup]) -> str:
    return processes[1].processes["leader/0"].http


@pytest.fixture
def client(url: str) -> Iterator[KustoClient]:
    with KustoClient(url) as client:
        yield client


@pytest.fixture
def database(client: KustoClient) -> str:
    name = f"Rest_{uuid.uuid4().hex}"
    make(client, name)
    return name


def make(client: KustoClient, name: str) -> None:
    client.execute_mgmt("NetDefaultDB", f".create database {name}")
    client.execute_mgmt(name, f".create table T ({TYPES})")
    client.execute_mgmt(name, f".ingest inline into table T <|\n{ROWS}")


def rows_of(table) -> list[list[object]]:
    return [list(row) for row in table]


def primary(response) -> list[list[list[object]]]:
    return [rows_of(table) for table in response.primary_results]


def test_every_type_plain_and_streamed(client: KustoClient, database: str) -> None:
    plain = primary(client.execute_query(database, "T"))
    by_id = {row[4]: row for row in plain[0]}
    assert by_id == {row[4]: row for row in VALUES}
    stream = client.execute_streaming_query(database, "T")
    assert [rows_of(table) for table in stream.iter_primary_results()] == plain
    assert stream.errors_count == 0


def test_queries_commands_and_both(client: KustoClient, database: str) -> None:
    assert primary(client.execute(database, "T | count; T | count | extend x = 1")) == [
        [[3]],
        [[3, 1]],
    ]
    assert primary(client.execute(database, ".show tables | project TableName")) == [[["T"]]]
    batch = '.show tables | project A="1" | take 1; datatable(b:int)[3] | project A="2" | take 1'
    assert primary(client.execute_mgmt(database, batch)) == [[["1"]], [["2"]]]
    assert primary(client.execute_query(database, ".show tables | count")) == [[[1]]]


def test_parameters_and_options(client: KustoClient, database: str) -> None:
    properties = ClientRequestProperties()
    properties.set_parameter("wanted", "1")
    properties.set_option("query_take_max_records", 2)
    properties.set_option("additional", "additional")
    query = "declare query_parameters(wanted:long); range n from wanted to 9 step 1"
    assert primary(client.execute(database, query, properties)) == [[[1], [2]]]


def test_a_result_too_large_is_a_partial_failure(client: KustoClient, database: str) -> None:
    properties = ClientRequestProperties()
    properties.set_option("truncationmaxrecords", 2)
    with pytest.raises(KustoMultiApiError, match="E_QUERY_RESULT_SET_TOO_LARGE") as raised:
        client.execute(database, "T", properties)
    (error,) = raised.value.get_api_errors()
    assert error.code == "LimitsExceeded"
    properties.set_option("truncationmaxrecords", 3)
    assert len(primary(client.execute(database, "T", properties))[0]) == 3


def test_render_is_told(client: KustoClient, database: str) -> None:
    response = client.execute(database, "T | summarize count() by s | render piechart")
    (row,) = rows_of(response["@ExtendedProperties"])
    chart = json.loads(row[2]) if isinstance(row[2], str) else row[2]
    assert chart["Visualization"] == "piechart"


def test_who_asked_is_in_the_lists(client: KustoClient, database: str) -> None:
    properties = ClientRequestProperties()
    properties.client_request_id = f"mine;{uuid.uuid4()}"
    properties.application, properties.user = "app", "me"
    client.execute(database, "T | count", properties)
    client.execute(database, ".show tables", properties)
    shown = (
        f".show commands-and-queries | where ClientActivityId == '{properties.client_request_id}'"
        " | project CommandType, Application, User, State | order by CommandType asc"
    )
    (rows,) = primary(client.execute(database, shown))
    assert [row[1:] for row in rows] == [["app", "me", "Completed"]] * 2
    assert "Query" in {row[0] for row in rows}


def test_a_query_is_cancelled_by_its_client_request_id(client: KustoClient, database: str) -> None:
    request_id = f"mine;{uuid.uuid4()}"
    failures: list[KustoApiError] = []
    asked = threading.Event()

    def run() -> None:
        properties = ClientRequestProperties()
        properties.client_request_id = request_id
        query = (
            "range a from 1 to 100000 step 1 | extend k = 1"
            " | join kind=inner (range b from 1 to 100000 step 1 | extend k = 1) on k"
            " | summarize sum(a * b % 7)"
        )
        asked.set()
        try:
            client.execute(database, query, properties)
        except KustoApiError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    asked.wait()
    running = f".show running queries | where ClientActivityId == '{request_id}' | count"
    while primary(client.execute(database, running)) == [[[0]]]:
        assert thread.is_alive()
    client.execute_mgmt(database, f".cancel query '{request_id}'")
    thread.join(30)
    (failure,) = failures
    assert failure.get_api_error().permanent is False
    assert "cancel" in str(failure).lower()


@pytest.mark.parametrize(
    ("query", "code", "is_semantic"),
    [
        ("Nonexistent", "General_BadRequest", True),
        ("T | where", "BadRequest_SyntaxError", False),
        (".show nothing at all", "BadRequest_SyntaxError", False),
    ],
)
def test_refusals(client: KustoClient, database: str, query, code, is_semantic) -> None:
    with pytest.raises(KustoApiError) as raised:
        client.execute(database, query)
    error = raised.value.get_api_error()
    assert (error.code, error.permanent) == (code, True)
    assert raised.value.is_semantic_error() is is_semantic


def test_a_read_only_request_changes_nothing(client: KustoClient, database: str) -> None:
    properties = ClientRequestProperties()
    properties.set_option("request_readonly", True)
    with pytest.raises(KustoApiError, match="only read"):
        client.execute_mgmt(database, ".drop table T", properties)
    assert primary(client.execute(database, "T | count", properties)) == [[[3]]]


def test_commands_and_queries_by_get(url: str, database: str) -> None:
    def get(version: int, text: str) -> requests.Response:
        where = f"{url}/v{version}/rest/query"
        return requests.get(where, params={"db": database, "csl": text}, timeout=30)

    assert get(2, "T | count").json()[2]["Rows"] == [[3]]
    assert get(1, "T | count").json()["Tables"][0]["Rows"] == [[3]]
    assert get(1, ".show tables | count").json()["Tables"][0]["Rows"] == [[1]]
    assert get(1, ".drop table T").status_code == 400
    assert get(1, "T | count").json()["Tables"][0]["Rows"] == [[3]]


def test_a_large_answer_is_whole(client: KustoClient, database: str) -> None:
    query = "range n from 1 to 100000 step 1 | extend s = strcat('row ', n), r = n / 2.0"
    (rows,) = primary(client.execute(database, query))
    assert len(rows) == 100_000
    assert rows[99_999] == [100_000, "row 100000", 50_000.0]
    assert math.fsum(row[2] for row in rows) == 100_000 * 100_001 / 4


async def test_a_follower_answers_over_rest(
    processes: tuple[Launcher, Setup], local_setup: LocalSetup
) -> None:
    nodes = processes[1].processes
    with KustoClient(nodes["leader/0"].http) as leader:
        await trio.to_thread.run_sync(make, leader, local_setup.database)
    await local_setup.attach("follower1")
    with KustoClient(nodes["follower1/0"].http) as follower:

        def ask(text: str) -> list[list[list[object]]]:
            return primary(follower.execute(local_setup.database, text))

        async def count() -> list[list[list[object]]]:
            try:
                return await trio.to_thread.run_sync(ask, "T | count")
            except KustoApiError:
                return []  # not there yet

        with trio.fail_after(30):
            while await count() != [[[3]]]:
                await trio.lowlevel.checkpoint()
        with pytest.raises(KustoApiError) as raised:
            await trio.to_thread.run_sync(ask, ".create table Other (a:int)")
    assert raised.value.get_api_error().code == "Forbidden"
