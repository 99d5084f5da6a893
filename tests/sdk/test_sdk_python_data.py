"""The unmodified ``azure-kusto-data``: queries and commands; the rows are those of the follower."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import pandas
import pytest
from azure.kusto.data import ClientRequestProperties, KustoClient, KustoConnectionStringBuilder
from azure.kusto.data.aio import KustoClient as AsyncKustoClient
from azure.kusto.data.helpers import dataframe_from_result_table
from sdk_setup import sdk_call

if TYPE_CHECKING:
    from conftest import Ends

ROWS = [[1, "x"], [2, "y"], [3, "z"]]


@pytest.fixture
def table(ends: Ends) -> Ends:
    ends.command(".create table T (a: int, b: string)")
    ends.command(".ingest inline into table T <|\n1,x\n2,y\n3,z")
    ends.pair.wait_until_followed()
    return ends


def rows_of(response: Any) -> list[list[Any]]:
    return [list(row) for row in response.primary_results[0]]


@sdk_call("python", "KustoClient.execute", "works", "queries and commands, told apart by the dot")
def test_execute(table: Ends) -> None:
    assert rows_of(table.follower.execute(table.database, "T | order by a asc")) == ROWS
    shown = table.follower.execute(table.database, ".show tables | project TableName")
    assert rows_of(shown) == [["T"]]


@sdk_call("python", "KustoClient.execute_query", "works", "several statements, several results")
def test_execute_query(table: Ends) -> None:
    response = table.follower.execute_query(table.database, "T | count; T | summarize max(a)")
    assert [[list(row) for row in result] for result in response.primary_results] == [[[3]], [[3]]]
    assert response.errors_count == 0
    assert response.get_exceptions() == []


@sdk_call("python", "KustoClient.execute_mgmt", "works", "commands, also followed by a query")
def test_execute_mgmt(table: Ends) -> None:
    table.command(".create-merge table T (c: real)")
    table.pair.wait_until_followed()
    schema = table.follower.execute_mgmt(table.database, ".show table T cslschema | project Schema")
    assert rows_of(schema) == [["a:int,b:string,c:real"]]


@sdk_call("python", "KustoClient.execute_streaming_query", "works", "tables and rows as they come")
def test_execute_streaming_query(table: Ends) -> None:
    response = table.follower.execute_streaming_query(
        table.database, "T | order by a asc; T | count"
    )
    results = [[list(row) for row in result] for result in response.iter_primary_results()]
    assert results == [ROWS, [[3]]]
    assert response.errors_count == 0


@sdk_call("python", "ClientRequestProperties", "works", "parameters and options")
def test_parameters_and_options(table: Ends) -> None:
    properties = ClientRequestProperties()
    properties.set_parameter("least", 2)
    properties.set_parameter("name", "it's")
    properties.set_option(
        ClientRequestProperties.request_timeout_option_name, dt.timedelta(hours=1)
    )
    properties.set_option("query_take_max_records", 1)
    properties.set_option("unknown_to_everybody", True)
    properties.client_request_id = "mine;1"
    properties.application, properties.user = "my-app", "me@example.org"
    query = (
        "declare query_parameters(least: long, name: string);"
        "T | where a >= least | order by a asc | project a, name"
    )
    answer = table.follower.execute(table.database, query, properties)
    assert rows_of(answer) == [[2, "it's"]]
    shown = (
        '.show queries | where ClientActivityId == "mine;1" | project Application, User, Database'
    )
    assert rows_of(table.follower.execute(table.database, shown)) == [
        ["my-app", "me@example.org", table.database]
    ]


@sdk_call(
    "python",
    "KustoConnectionStringBuilder",
    "works",
    "an address, a connection string, a database in the path",
)
def test_forms_of_a_connection_string(table: Ends) -> None:
    url = table.leader_url
    for text in (
        url,
        f"{url}/",
        f"{url}/{table.database}",
        f"Data Source={url};Initial Catalog={table.database}",
        f"Data Source={url};Initial Catalog={table.database};Fed=false",
        f"Data Source={url};Fed=True;AppToken=opaque",
    ):
        with KustoClient(text) as client:
            assert rows_of(client.execute(table.database, "T | count")) == [[3]]
    for builder in (
        KustoConnectionStringBuilder.with_aad_user_token_authentication(url, "opaque"),
        KustoConnectionStringBuilder.with_aad_application_token_authentication(url, "opaque"),
        KustoConnectionStringBuilder.with_no_authentication(url),
    ):
        with KustoClient(builder) as client:
            assert rows_of(client.execute(table.database, "T | count")) == [[3]]


@sdk_call("python", "dataframe_from_result_table", "works", "pandas")
def test_a_data_frame(table: Ends) -> None:
    query = (
        "T | order by a asc | take 1 | project a, b, at = datetime(2026-01-02 03:04:05.123456),"
        " took = 1.5h, nan = real(nan), most = real(+inf), none = long(null), yes = true,"
        ' bag = dynamic({"k": [1]}), exact = decimal(1.25)'
    )
    answer = table.follower.execute(table.database, query)
    frame = dataframe_from_result_table(answer.primary_results[0])
    (row,) = frame.to_dict(orient="records")
    assert (row["a"], row["b"], bool(row["yes"])) == (1, "x", True)
    assert row["at"].isoformat() == "2026-01-02T03:04:05.123456+00:00"
    assert row["took"].total_seconds() == 5400
    assert pandas.isna(row["nan"])  # the SDK takes what is no number for what is not there
    assert row["most"] == math.inf
    assert pandas.isna(row["none"])
    assert row["bag"] == {"k": [1]}
    assert str(row["exact"]) == "1.25"


@sdk_call("python", "aio.KustoClient.execute", "works", "queries and commands under asyncio")
@sdk_call("python", "aio.KustoClient.execute_query", "works")
@sdk_call("python", "aio.KustoClient.execute_mgmt", "works")
@sdk_call("python", "aio.KustoClient.execute_streaming_query", "works")
def test_the_client_of_asyncio(table: Ends) -> None:
    async def ask(url: str) -> list[Any]:
        async with AsyncKustoClient(KustoConnectionStringBuilder(url)) as client:
            query, text = "T | order by a asc", ".show tables | project TableName"
            stream = await client.execute_streaming_query(table.database, query)
            streamed = [
                [row async for row in result] async for result in stream.iter_primary_results()
            ]
            both = await asyncio.gather(
                client.execute(table.database, query),
                client.execute(table.database, text),
                client.execute_query(table.database, query),
                client.execute_mgmt(table.database, text),
            )
        return [*map(rows_of, both), [list(row) for row in streamed[0]]]

    url = table.follower._kusto_cluster
    assert asyncio.run(ask(url)) == [ROWS, [["T"]], ROWS, [["T"]], ROWS]
