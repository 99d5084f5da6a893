"""The handler in front of all routes: ids, errors, headers; and streaming ingestion behind it."""

from __future__ import annotations

import json
import logging
import re

import pytest
from rest_door_world import LIMITS, World, error_of

from cluster.errors import (
    EmptyPayloadError,
    FormatNotSupportedError,
    InternalError,
    MappingNotFoundError,
    PayloadTooLargeError,
    RequestError,
    SemanticError,
    StreamingDisabledError,
    StreamingPolicyError,
    SyntaxRefusedError,
    ThrottledError,
    error_classes,
)
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.rest.auth_metadata import PUBLIC_LOGIN
from cluster.gateway.rest.errors import ErrorContext, error_values
from cluster.gateway.rest.headers import client_request
from cluster.gateway.rest.ingest import source_id
from cluster.ingest.request import DataFormat
from cluster.request import Caller

GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}")
EMPTY = (
    "Bad streaming ingestion request to db.T : The input stream is empty after processing, "
    "tip:check stream validity"
)
INGEST = "/v1/rest/ingest/db/T"


@pytest.fixture
def world():
    return World()


@pytest.mark.fidelity(
    "rest/response-http.md", "Each answer names the client's request and our activity"
)
async def test_every_response_has_an_activity_id_and_the_name_of_the_request(world):
    first = await world.ask("/v1/rest/ping", method="GET", x_ms_client_request_id="KPC.x;1")
    second = await world.ask("/nowhere/at/all", method="GET")
    assert first.headers["x-ms-client-request-id"] == "KPC.x;1"
    ids = [response.headers["x-ms-activity-id"] for response in (first, second)]
    assert all(map(GUID.fullmatch, ids))
    assert len(set(ids)) == 2
    assert second.headers["x-ms-client-request-id"] == f"unspecified;{ids[1]}"


async def test_headers_of_a_handler_stay(world):
    assert (await world.ask("/test/x", method="GET")).headers["X-Own"] == "1"


@pytest.mark.fidelity(
    "rest/response-http.md", "An error is an object with code, message, @permanent and @context"
)
async def test_an_error_has_exactly_the_documented_keys(world):
    world.error = StreamingPolicyError("not enabled", remedy="Enable it.")
    response = await world.ask("/test/error", method="GET", x_ms_client_request_id="mine")
    assert response.status == 400
    activity = response.headers["x-ms-activity-id"]
    assert json.loads(response.body) == {
        "error": {
            "code": "BadRequest_StreamingIngestionPolicyNotEnabled",
            "message": "Request is invalid and cannot be executed.",
            "@type": "Kusto.DataNode.Exceptions.StreamingIngestionPolicyNotEnabledException",
            "@message": "not enabled. Enable it.",
            "@context": {
                "timestamp": "2026-11-21T08:33:20.1234567Z",
                "serviceAlias": "leader",
                "machineName": "leader/0",
                "processName": "remora",
                "processId": 7,
                "threadId": 1,
                "clientRequestId": "mine",
                "activityId": activity,
                "subActivityId": activity,
                "activityType": "GW.Http.CallContext",
                "parentActivityId": activity,
                "activityStack": "",
            },
            "@permanent": True,
        }
    }


async def test_a_defect_is_a_typed_error_that_tells_nothing(world, caplog):
    with caplog.at_level(logging.ERROR):
        response = await world.ask("/test/defect", method="GET")
    error = error_of(response)
    assert (response.status, error["code"]) == (520, InternalError.code)
    assert error["@permanent"] is False
    assert b"secret" not in response.body
    assert "a secret" in caplog.text


async def test_405_names_what_is_allowed_and_429_when_to_come_back(world):
    response = await world.ask("/v1/rest/ping", method="DELETE")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    world.error = ThrottledError("too much", retry_after_seconds=0.1)
    response = await world.ask("/test/error", method="GET")
    assert (response.status, response.headers["Retry-After"]) == (429, "1")
    assert error_of(response)["@permanent"] is False


async def test_a_page_of_this_machine_gets_its_leave_and_others_do_not(world):
    leave = await world.ask(
        INGEST, method="OPTIONS", origin="http://localhost:3", access_control_request_method="POST"
    )
    assert leave.status == 200
    assert leave.headers["Access-Control-Allow-Origin"] == "http://localhost:3"
    refused = await world.ask(INGEST, origin="https://evil.example")
    assert refused.status == 403
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert not world.payloads


async def test_an_error_can_be_read_by_the_page_that_asked(world):
    response = await world.ask("/no/such", method="GET", origin="http://localhost:3")
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3"


def context():
    return ErrorContext("c", "n", 1, 0, "r", "a")


@pytest.mark.parametrize("kind", list(error_classes(RequestError)))
def test_every_error_of_a_request_is_one_that_clients_do_not_repeat(kind):
    values = error_values(kind("what"), context())
    assert (values["@permanent"], values["code"]) == (True, kind.code)
    assert values["@message"].startswith(("what", "Semantic error: what", "Syntax error: what"))


def test_semantic_errors_say_so_and_their_number_is_the_inner_code():
    values = error_values(SemanticError("SEM0100: no column 'x'"), context())
    assert "Semantic error: SEM0100: no column 'x'" in values["@message"]
    assert values["innererror"]["code"] == "SEM0100"
    values = error_values(SyntaxRefusedError("unexpected"), context())
    assert values["@message"].startswith("Syntax error: unexpected")
    assert "innererror" not in values


def test_a_client_request_says_all_that_the_headers_do():
    request = HttpRequest(
        "POST",
        "/",
        headers={
            "host": "localhost:1",
            "x-ms-app": "app",
            "x-ms-user": "me",
            "x-ms-readonly": "true",
        },
        activity_id="a",
    )
    made = client_request(request, Caller("aadapp=x"), options={"notruncation": True})
    assert (made.caller.principal, made.application, made.user) == ("aadapp=x", "app", "me")
    assert (made.request_id, made.activity_id) == ("unspecified;a", "a")
    assert (made.read_only, made.origin) == (True, "http://localhost:1")
    assert (made.options, made.parameters) == ({"notruncation": True}, {})


@pytest.mark.parametrize(
    ("value", "read_only"), [(None, False), ("", True), ("1", True), ("False", False), ("0", False)]
)
def test_read_only_is_what_its_header_does_not_deny(value, read_only):
    headers = {} if value is None else {"x-ms-readonly": value}
    request = HttpRequest("POST", "/", headers=headers)
    assert client_request(request, Caller()).read_only is read_only


@pytest.mark.fidelity(
    "rest/authentication.md", "/v1/rest/auth/metadata tells clients how to sign in"
)
async def test_metadata_has_all_the_keys_that_clients_want(world):
    response = await world.ask("/v1/rest/auth/metadata", method="GET")
    values = json.loads(response.body)
    assert values["AzureAD"] == {
        "LoginEndpoint": PUBLIC_LOGIN,
        "LoginMfaRequired": False,
        "KustoClientAppId": "db662dc1-0cfe-4e1c-a843-19a68e65be58",
        "KustoClientRedirectUri": "https://microsoft/kustoclient",
        "KustoServiceResourceId": "https://kusto.kusto.windows.net",
        "FirstPartyAuthorityUrl": (
            "https://login.microsoftonline.com/f8cdef31-a31e-4b4a-93e4-5f571e91255a"
        ),
    }
    assert set(values) == {"AzureAD", "dSTS"}


@pytest.mark.parametrize("path", ["/", "/MyDb", "/v1/rest/ping"])
async def test_addresses_for_people_answer_in_text_and_never_redirect(world, path):
    response = await world.ask(path, method="GET")
    assert response.status == 200
    assert response.content_type.startswith("text/plain")


# Streaming ingestion


@pytest.mark.fidelity(
    "rest/streaming-ingest.md", "Rows are posted to /v1/rest/ingest/{database}/{table}"
)
async def test_rows_go_to_the_pipeline_and_success_is_one_table(world):
    response = await world.ask(INGEST, b"1,2\n", query={"streamFormat": "Csv", "mappingName": "M"})
    payload = world.payloads[0]
    assert (payload.database, payload.table, payload.mapping) == ("db", "T", "M")
    assert (payload.format, payload.payload, payload.source_id) == (DataFormat.CSV, b"1,2\n", "")
    assert response.status == 200
    string = {"DataType": "String", "ColumnType": "string"}
    assert json.loads(response.body) == {
        "Tables": [
            {
                "TableName": "Table_0",
                "Columns": [
                    {
                        "ColumnName": "ConsumedRecordsCount",
                        "DataType": "Int64",
                        "ColumnType": "long",
                    },
                    {"ColumnName": "UpdatePolicyStatus", **string},
                    {"ColumnName": "UpdatePolicyFailureCode", **string},
                    {"ColumnName": "UpdatePolicyFailureReason", **string},
                ],
                "Rows": [[0, "Inactive", "Unknown", None]],
            }
        ]
    }


@pytest.mark.fidelity("rest/streaming-ingest.md", "streamFormat names the format in any case")
@pytest.mark.parametrize("name", ["MultiJson", "multijson", "MULTIJSON"])
async def test_formats_are_named_in_any_case(world, name):
    await world.ask(INGEST, b"{}", query={"streamFormat": name})
    assert world.payloads[0].format is DataFormat.MULTIJSON


async def test_an_unknown_format_is_the_pipelines_to_refuse_and_none_is_refused_here(world):
    await world.ask(INGEST, b"{}", query={"streamFormat": "sstream"})
    assert world.payloads[0].format is None
    response = await world.ask(INGEST, b"{}")
    assert (response.status, len(world.payloads)) == (400, 1)
    assert "streamFormat" in error_of(response)["@message"]


async def test_the_source_id_reaches_the_pipeline(world):
    query = {"streamFormat": "csv"}
    first, again = (f"KPC.executeManagedStreamingIngest;5a3b;{attempt}" for attempt in (0, 3))
    await world.ask(INGEST, b"1\n", query=query, x_ms_client_request_id=again)
    assert world.payloads[0].source_id == source_id(first, DataFormat.CSV, "", b"1\n")


@pytest.mark.parametrize(
    ("error", "status", "code", "kind", "text", "permanent"),
    [
        (
            StreamingDisabledError("off"),
            404,
            "NotFound_StreamingIngestionDisabledForCluster",
            "Kusto.DataNode.Exceptions.StreamingIngestionRequestException",
            "off",
            True,
        ),
        (
            EmptyPayloadError("nothing"),
            400,
            "Stream_NoDataToIngest",
            "Kusto.DataNode.Exceptions.StreamingIngestionRequestException",
            EMPTY,
            True,
        ),
        (
            MappingNotFoundError("no"),
            400,
            "BadRequest_MappingReferenceWasNotFound",
            "Kusto.Data.Exceptions.MappingNotFoundException",
            "Entity ID 'M' of kind 'MappingPersistent' was not found.",
            True,
        ),
        (
            PayloadTooLargeError("big"),
            413,
            "Stream_InputStreamTooLarge",
            "Kusto.Data.Exceptions.KustoRequestPayloadTooLargeException",
            "big",
            False,  # managed clients are to queue it
        ),
        (
            FormatNotSupportedError("what"),
            400,
            "BadRequest_FormatNotSupported",
            "Kusto.Data.Exceptions.FormatNotSupportedException",
            "what",
            True,
        ),
        (
            ThrottledError("busy"),
            429,
            "General_ThrottledIngestion",
            "Kusto.Data.Exceptions.KustoRequestThrottledException",
            "busy",
            False,
        ),
    ],
)
async def test_errors_are_those_that_clients_know(
    world, error, status, code, kind, text, permanent
):
    world.error = error
    query = {"streamFormat": "csv", "mappingName": "M"}
    response = await world.ask(INGEST, b"1\n", query=query)
    told = error_of(response)
    assert (response.status, told["code"], told["@type"]) == (status, code, kind)
    assert told["@message"].startswith(text)
    assert (told["@permanent"], told["@failureCode"]) == (permanent, status)


@pytest.mark.fidelity("rest/streaming-ingest.md", "sourceKind=uri names a blob")
@pytest.mark.parametrize("key", ["sourceUri", "SourceUri"])
async def test_a_source_is_fetched_from_where_it_is(world, key):
    body = json.dumps({key: "http://127.0.0.1:1/a/b?sas"}).encode()
    query = {"streamFormat": "csv", "sourceKind": "uri"}
    assert (await world.ask(INGEST, body, query=query)).status == 200
    assert world.uris == ["http://127.0.0.1:1/a/b?sas"]
    assert world.payloads[0].payload == b"from afar"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"sourceUri": 1}', b'{"sourceUri": ""}', b"[" * 100_000],
    ids=lambda body: body[:20].decode(),
)
async def test_a_source_that_is_not_named_is_refused(world, body):
    query = {"streamFormat": "csv", "sourceKind": "uri"}
    response = await world.ask(INGEST, body, query=query)
    assert response.status == 400
    assert "sourceUri" in error_of(response)["@message"]
    response = await world.ask(INGEST, body, query={"streamFormat": "csv", "sourceKind": "file"})
    assert (response.status, world.payloads) == (400, [])


async def test_a_body_over_its_limit_is_told_in_the_words_of_its_endpoint(world):
    assert world.door.routes.body_bytes("POST", INGEST, 1) == LIMITS.ingest_wire_bytes + 1
    response = await world.ask(INGEST, over=101)
    assert (response.status, error_of(response)["code"]) == (413, "Stream_InputStreamTooLarge")
    response = await world.ask("/v1/rest/ping", method="GET", over=5)
    assert (response.status, error_of(response)["code"]) == (413, "General_BadRequest")
    assert "more than 5 bytes" in error_of(response)["@message"]
