"""Every documented error reaches the exception type that the Python SDK has for it."""

from __future__ import annotations

import datetime as dt
import io
import os
import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from azure.kusto.data import ClientRequestProperties, KustoClient
from azure.kusto.data.data_format import DataFormat
from azure.kusto.data.exceptions import (
    KustoApiError,
    KustoClosedError,
    KustoMultiApiError,
    KustoNetworkError,
    KustoServiceError,
    KustoThrottlingError,
)
from azure.kusto.ingest import IngestionProperties, KustoStreamingIngestClient
from sdk_setup import sdk_call

if TYPE_CHECKING:
    from conftest import Ends
    from sdk_setup import SdkClusters

LONG = (
    "range a from 1 to 100000 step 1 | extend k = 1"
    " | join kind=inner (range b from 1 to 100000 step 1 | extend k = 1) on k"
    " | summarize sum(a * b % 7)"
)


@pytest.fixture
def table(ends: Ends) -> Ends:
    ends.command(".create table T (a: int, b: string)")
    ends.command(".alter table T policy streamingingestion enable")
    ends.command(".create table Closed (a: int)")
    ends.command(".alter table Closed policy streamingingestion disable")
    ends.pair.wait_until_followed()
    return ends


def stream(
    ends: Ends, data: bytes, data_format: DataFormat = DataFormat.CSV, table: str = "T", **more: Any
) -> None:
    properties = IngestionProperties(
        more.pop("database", ends.database), table, data_format=data_format, **more
    )
    with KustoStreamingIngestClient(ends.leader_url) as client:
        client.ingest_from_stream(io.BytesIO(data), properties)


@sdk_call("python", "KustoApiError", "refused as documented", "code, permanent, semantic error")
@pytest.mark.parametrize(
    ("text", "code", "is_semantic"),
    [
        ("Nonexistent", "General_BadRequest", True),
        ("T | where nothing > 1", "General_BadRequest", True),
        ("T | where", "BadRequest_SyntaxError", False),
        (".show nothing at all", "BadRequest_SyntaxError", False),
        (".show table Nonexistent", "BadRequest_TableNotExist", False),
    ],
)
def test_what_is_wrong_with_a_text(table: Ends, text: str, code: str, is_semantic: bool) -> None:
    with pytest.raises(KustoApiError) as raised:
        table.follower.execute(table.database, text)
    error = raised.value.get_api_error()
    assert (error.code, error.permanent) == (code, True)
    assert raised.value.is_semantic_error() is is_semantic
    assert raised.value.http_response.status_code == 400
    assert error.context["clientRequestId"].startswith("KPC.execute;")


def test_a_database_that_is_not_there(table: Ends) -> None:
    for client in (table.leader, table.follower):
        with pytest.raises(KustoApiError, match="'Nowhere'") as raised:
            client.execute("Nowhere", "print 1")
        assert raised.value.get_api_error().code == "BadRequest_DatabaseNotExist"


def test_a_follower_is_read_only(table: Ends) -> None:
    with pytest.raises(KustoApiError) as raised:
        table.follower.execute_mgmt(table.database, ".create table Other (a: int)")
    assert raised.value.get_api_error().code == "Forbidden"
    assert raised.value.http_response.status_code == 403


def test_a_query_that_takes_too_long(table: Ends) -> None:
    properties = ClientRequestProperties()
    second = dt.timedelta(seconds=1)
    properties.set_option(ClientRequestProperties.request_timeout_option_name, second)
    with pytest.raises(KustoApiError) as raised:
        table.follower.execute(table.database, LONG, properties)
    error = raised.value.get_api_error()
    assert (error.code, error.permanent) == ("Timeout", False)
    assert raised.value.http_response.status_code == 504


@sdk_call("python", "KustoMultiApiError", "refused as documented", "a result over its limits")
def test_a_result_too_large_is_told_at_its_end(table: Ends) -> None:
    query = "set truncationmaxrecords = 2; range a from 1 to 5 step 1"
    with pytest.raises(KustoMultiApiError) as raised:
        table.follower.execute(table.database, query)
    (error,) = raised.value.get_api_errors()
    assert error.code == "LimitsExceeded"
    answer = table.follower.execute_streaming_query(table.database, query)
    with pytest.raises(KustoMultiApiError):
        [list(result) for result in answer.iter_primary_results()]


@sdk_call("python", "KustoThrottlingError", "refused as documented", "too many queries at once")
def test_too_many_queries_at_once(clusters: SdkClusters) -> None:
    name = "NetDefaultDB"
    with KustoClient(clusters.url("tight")) as client:
        running: list[tuple[str, threading.Thread]] = []

        def run(request_id: str) -> None:
            properties = ClientRequestProperties()
            properties.client_request_id = request_id
            with pytest.raises(KustoApiError):  # it is cancelled in the end
                client.execute(name, LONG, properties)

        def is_listed(request_id: str) -> bool:
            shown = client.execute(name, ".show running queries").primary_results[0]
            return request_id in [row["ClientActivityId"] for row in shown]

        def start_one_more() -> None:
            request_id = f"long;{uuid.uuid4()}"
            thread = threading.Thread(target=run, args=(request_id,))
            thread.start()
            running.append((request_id, thread))
            while not is_listed(request_id):
                assert thread.is_alive()

        def start_too_many() -> None:
            for _ in range(1 + (os.cpu_count() or 1)):  # one a core is allowed
                client.execute(name, "print 1")
                start_one_more()

        try:
            with pytest.raises(KustoThrottlingError):
                start_too_many()
        finally:
            for request_id, thread in running:
                client.execute_mgmt(name, f".cancel query '{request_id}'")
                thread.join(30)


@sdk_call("python", "KustoServiceError", "refused as documented", "no streaming in the cluster")
def test_a_cluster_without_streaming(clusters: SdkClusters) -> None:
    with (
        KustoStreamingIngestClient(clusters.url("off")) as client,
        pytest.raises(KustoServiceError, match="Please enable streaming ingestion") as raised,
    ):
        client.ingest_from_stream(
            io.BytesIO(b"1\n"), IngestionProperties("NetDefaultDB", "T", data_format=DataFormat.CSV)
        )
    body = raised.value.http_response.json()["error"]
    assert body["code"] == "NotFound_StreamingIngestionDisabledForCluster"


@pytest.mark.parametrize(
    ("data", "more", "code", "status"),
    [
        (b"1\n", {"table": "Closed"}, "BadRequest_StreamingIngestionPolicyNotEnabled", 400),
        (b"1\n", {"table": "Nowhere"}, "BadRequest_TableNotExist", 400),
        (b"1\n", {"database": "Nowhere"}, "BadRequest_DatabaseNotExist", 400),
        (b'1,"x\n', {}, "Stream_ClosingQuoteMissing", 400),
        (b"", {}, "Stream_NoDataToIngest", 400),
        (b"not json", {"data_format": DataFormat.JSON}, "BadRequest_NoRecordsOrWrongFormat", 400),
        (b"PAR1", {"data_format": DataFormat.PARQUET}, "BadRequest_FormatNotSupported", 400),
        (b"ORC", {"data_format": DataFormat.ORC}, "BadRequest_FormatNotSupported", 400),
        (
            b"{}",
            {"data_format": DataFormat.JSON, "ingestion_mapping_reference": "M"},
            "BadRequest_MappingReferenceWasNotFound",
            400,
        ),
        (b"1," + b"x" * (4 << 20), {}, "Stream_InputStreamTooLarge", 413),
    ],
)
def test_streams_that_are_refused(
    table: Ends, data: bytes, more: dict[str, Any], code: str, status: int
) -> None:
    with pytest.raises(KustoApiError) as raised:
        stream(table, data, **more)
    assert raised.value.get_api_error().code == code
    assert raised.value.http_response.status_code == status
    assert table.rows("T | count") == [[0]]


def test_a_follower_takes_no_stream(clusters: SdkClusters, table: Ends) -> None:
    properties = IngestionProperties(table.database, "T", data_format=DataFormat.CSV)
    with (
        KustoStreamingIngestClient(clusters.url("follower")) as client,
        pytest.raises(KustoApiError) as raised,
    ):
        client.ingest_from_stream(io.BytesIO(b"1,x\n"), properties)
    assert raised.value.get_api_error().code == "Forbidden"


@sdk_call("python", "KustoNetworkError", "refused as documented", "nobody listens")
@sdk_call("python", "KustoClosedError", "refused as documented", "a client that was closed")
def test_what_the_client_finds_itself(table: Ends) -> None:
    with KustoClient("http://localhost:1") as client, pytest.raises(KustoNetworkError):
        client.execute(table.database, "T")
    with pytest.raises(KustoClosedError):
        client.execute(table.database, "T")
