"""The REST door against a real HTTP server: what is sent, and what each answer means."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from contextlib import asynccontextmanager, nullcontext

import pytest
import trio
import trustme
from endpoint_server import INGESTED, Reply, error, serving, v1, v2

from cluster.conformance.doors_rest import RestDoor
from cluster.conformance.recording import outcome_of
from cluster.conformance.system import is_definite
from cluster.conformance.values import At
from cluster.errors import (
    AccessDeniedError,
    EntityNotFoundError,
    FieldCountError,
    InvalidRequestError,
    NotSupportedError,
    PayloadTooLargeError,
    ProtocolError,
    ReadOnlyError,
    RemoraError,
    SemanticError,
    StreamingDisabledError,
    StreamingPolicyError,
    ThrottledError,
    TimedOutError,
    UnavailableError,
)
from cluster.http_client import HttpClient

BASE = ("Id", "Source", "At", "Payload")


class Canned:
    """Answers in order, the last one for ever; remembers what was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@asynccontextmanager
async def door_to(answer, **settings):
    with serving(answer) as url:
        door = RestDoor(HttpClient(url), **{"timeout_seconds": 5.0, **settings})
        try:
            yield door
        finally:
            await door.aclose()


async def ingest_error(reply: Reply, **settings):
    async with door_to(Canned(reply), **settings) as door:
        with pytest.raises(RemoraError) as caught:
            await door.ingest("db", "T", (1,), BASE, "s")
    return caught.value


async def test_what_streaming_ingestion_sends():
    canned = Canned(Reply(INGESTED))
    async with door_to(canned, token="secret") as door:
        first = await door.ingest("my db", "T", (1, 2), (*BASE, "C1"), "tag-writer1-0")
        await door.ingest("my db", "T", (1, 2), BASE, "tag-writer1-0")
    assert first.position == At(version=(0, 0))
    request, again = canned.requests
    assert request.path == "/v1/rest/ingest/my db/T"
    assert request.query == {"streamFormat": "Csv"}
    assert request.headers["content-encoding"] == "gzip"
    assert request.headers["authorization"] == "Bearer secret"
    ids = [r.headers["x-ms-client-request-id"] for r in (request, again)]
    assert ids == [f"KPC.executeManagedStreamingIngest;tag-writer1-0;{n}" for n in (1, 2)]
    lines = request.body.decode().splitlines()
    assert [line.split(",")[:2] for line in lines] == [
        ["1", "tag-writer1-0"],
        ["2", lines[1].split(",")[1]],
    ]
    assert [line.count(",") for line in lines] == [4, 4]


async def test_no_token_is_no_header():
    canned = Canned(Reply(INGESTED))
    async with door_to(canned) as door:
        await door.ingest("db", "T", (1,), BASE, "s")
    assert "authorization" not in canned.requests[0].headers


@pytest.mark.parametrize("compressed", [False, True])
async def test_queries_in_both_encodings(compressed):
    columns = (*BASE, "C1")
    rows = [[1, "s", "x", "p", None], [2**60, "s", "x", "p", 7], [3, "s", "x", "p", 0]]

    def reply(*, fragmented):
        body = json.dumps(v2(columns, rows, fragmented=fragmented)).encode()
        if compressed:
            return Reply(gzip.compress(body), headers={"Content-Encoding": "gzip"})
        return Reply(body)

    canned = Canned(reply(fragmented=False), reply(fragmented=True))
    async with door_to(canned) as door:
        answers = [await door.read("db", "T") for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0].ids == (1, 2**60, 3)
    assert answers[0].columns == columns
    assert answers[0].filled == {"C1": (2**60, 3)}
    assert answers[0].position is None
    whole, fragmented = (request.json for request in canned.requests)
    assert (whole["db"], whole["csl"]) == ("db", "T")
    assert "results_v2_fragment_primary_tables" not in whole["properties"]
    assert json.loads(whole["properties"])["Options"]["notruncation"] is True
    assert fragmented["properties"]["Options"]["results_v2_fragment_primary_tables"] is True


async def test_commands_are_rows_of_text():
    reply = Reply(v1(("A", "B", "C"), [["x", None, {"k": [1, True]}]]))
    async with door_to(Canned(reply)) as door:
        ran = await door.command("db", ".show tables")
    assert ran.columns == ("A", "B", "C")
    assert ran.rows == (("x", "", '{"k":[1,true]}'),)


async def test_tokens_and_bounds_are_refused():
    async with door_to(Canned(Reply(b""))) as door:
        with pytest.raises(NotSupportedError):
            await door.read("db", "T", at_least=At(version=(1, 0)))
        with pytest.raises(NotSupportedError):
            await door.read("db", "T", max_staleness_seconds=1.0)


PERMANENT = [
    (404, "NotFound_StreamingIngestionDisabledForCluster", "", StreamingDisabledError),
    (400, "BadRequest_StreamingIngestionPolicyNotEnabled", "", StreamingPolicyError),
    (400, "BadRequest_EntityNotFound", "", EntityNotFoundError),
    (400, "Stream_WrongNumberOfFields", "", FieldCountError),
    (403, "Forbidden", ReadOnlyError.kusto_type, AccessDeniedError),
    (400, "General_BadRequest", SemanticError.kusto_type, SemanticError),
    (413, "Whatever", "", PayloadTooLargeError),
    (400, "Nobody_KnowsThis", "", InvalidRequestError),
]


@pytest.mark.parametrize(("status", "code", "kusto_type", "kind"), PERMANENT)
async def test_refused_for_good(status, code, kusto_type, kind):
    body = error(code, "why not", permanent=True, kusto_type=kusto_type)
    caught = await ingest_error(Reply(body, status=status))
    assert type(caught) is kind
    assert caught.message == f"HTTP {status} {code}: why not"
    assert caught.metadata["code"] == code
    assert is_definite(caught)
    assert outcome_of(caught).permanent


DOUBTFUL = [
    (400, "BadRequest_EntityNotFound", UnavailableError),  # not visible yet, says the service
    (520, "General_InternalServerError", UnavailableError),
    (503, "ServiceUnavailable_StreamingIngestionDatabaseUnderMaintenance", UnavailableError),
    (504, "Timeout", TimedOutError),
    (408, "Timeout", TimedOutError),
]


@pytest.mark.parametrize(("status", "code", "kind"), DOUBTFUL)
async def test_in_doubt(status, code, kind):
    caught = await ingest_error(Reply(error(code, "later", permanent=False), status=status))
    assert type(caught) is kind
    assert not is_definite(caught)


@pytest.mark.parametrize("status", [500, 503])
async def test_a_server_error_is_in_doubt_even_if_it_calls_itself_permanent(status):
    caught = await ingest_error(Reply(error("Conflict", "no", permanent=True), status=status))
    assert not is_definite(caught)


@pytest.mark.parametrize(
    ("status", "definite"),
    [(301, True), (400, False), (401, True), (403, True), (404, True), (502, False)],
)
async def test_answers_of_whoever_stands_between(status, definite):
    headers = {"Location": "http://127.0.0.1:1/"}
    caught = await ingest_error(Reply(b"<html>no</html>", status=status, headers=headers))
    assert is_definite(caught) is definite
    assert f"HTTP {status}" in caught.message


async def test_no_endpoint_for_streaming():
    assert type(await ingest_error(Reply(b"", status=404))) is StreamingDisabledError


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(INGESTED, cut=5), UnavailableError),
        (Reply(b""), UnavailableError),
        (Reply({}), ProtocolError),
        (Reply({"Tables": []}), ProtocolError),
        (Reply({**INGESTED, "Exceptions": ["E_RS"]}), UnavailableError),
        (Reply(INGESTED, headers={"Content-Encoding": "gzip"}), UnavailableError),
        (Reply(INGESTED, headers={"Content-Encoding": "br"}), ProtocolError),
        (
            Reply(gzip.compress(b"{}" * 99)[:-9], headers={"Content-Encoding": "gzip"}),
            UnavailableError,
        ),
    ],
)
async def test_an_answer_that_is_not_whole_leaves_a_write_in_doubt(reply, kind):
    caught = await ingest_error(reply)
    assert type(caught) is kind
    assert not is_definite(caught)


async def test_a_status_table_that_tells_of_a_failure():
    status = v1(("Severity", "StatusDescription"), [[4, "Info"], [2, "it broke"]])["Tables"]
    body = {"Tables": [*v1(("A",), [["x"]])["Tables"], *status, *v1(("Kind",), [])["Tables"]]}
    async with door_to(Canned(Reply(body))) as door:
        with pytest.raises(UnavailableError, match="it broke"):
            await door.command("db", ".show tables | count")


def broken(*, rows=(), fragmented=False, **changes):
    """A dataset whose last frames are changed: frame type to fields; None takes a frame away."""
    frames = v2(BASE, list(rows), fragmented=fragmented)
    for kind, fields in changes.items():
        for number in reversed(range(len(frames))):
            if frames[number]["FrameType"] == kind and frames[number].get("TableId") != 0:
                if fields is None:
                    del frames[number]
                else:
                    frames[number] = {**frames[number], **fields}
    return frames


ERRORS = [error("LimitsExceeded", "Query execution has exceeded", permanent=False)]
ROW = [1, "s", "x", "p"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (broken(DataSetCompletion=None), "before its dataset is complete"),
        (broken(DataSetCompletion={"HasErrors": True, "OneApiErrors": ERRORS}), "has exceeded"),
        (broken(DataSetCompletion={"HasErrors": True}), "failed on its way"),
        (broken(DataSetCompletion={"Cancelled": True}), "was cancelled"),
        (broken(rows=[ROW, {"OneApiErrors": ERRORS}]), "has exceeded"),
        (broken(fragmented=True, TableCompletion={"OneApiErrors": ERRORS}), "has exceeded"),
        (broken(rows=[ROW], fragmented=True, TableCompletion={"RowCount": 2}), "tells of 2"),
        (broken(rows=[ROW], fragmented=True, TableCompletion=None), "table is complete"),
        ([], "before its dataset is complete"),
        (b"Query execution failed", "is no JSON"),
        (b'[{"FrameType":"DataSetHeader"', "is no JSON"),
    ],
)
async def test_partial_failures_of_queries(body, why):
    async with door_to(Canned(Reply(body))) as door:
        with pytest.raises(UnavailableError, match=why):
            await door.read("db", "T")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"Tables": []}, "no frames"),
        (broken(DataTable=None), "no primary result"),
        (broken(rows=[ROW[:3]]), "not as many values"),
        (v2(("A",), [[1]]), "no column 'Id'"),
        (broken(rows=[[None, "s", "x", "p"]]), "without an Id"),
    ],
)
async def test_what_is_no_answer(body, why):
    async with door_to(Canned(Reply(body))) as door:
        with pytest.raises(ProtocolError, match=why):
            await door.read("db", "T")


async def test_data_replace_forgets_what_came_before():
    frames = broken(rows=[ROW, [2, "s", "x", "p"], [3, "s", "x", "p"]], fragmented=True,
                    TableCompletion={"RowCount": 1})  # fmt: skip
    last = [f for f in frames if f["FrameType"] == "TableFragment"][-1]
    last["TableFragmentType"] = "DataReplace"
    async with door_to(Canned(Reply(frames))) as door:
        assert (await door.read("db", "T")).ids == (3,)


THROTTLED = Reply(
    error("General_ThrottledIngestion", "slow down", permanent=False),
    status=429,
    headers={"Retry-After": "0"},
)


async def test_throttled_requests_are_sent_again():
    canned = Canned(THROTTLED, THROTTLED, Reply(INGESTED))
    async with door_to(canned) as door:
        await door.ingest("db", "T", (1,), BASE, "s")
    assert len({r.headers["x-ms-client-request-id"] for r in canned.requests}) == 1
    assert len(canned.requests) == 3


async def test_throttled_for_longer_than_anybody_waits():
    reply = Reply(THROTTLED.body, status=429, headers={"Retry-After": "60"})
    caught = await ingest_error(reply)
    assert type(caught) is ThrottledError
    assert caught.retry_after_seconds == 60.0
    assert is_definite(caught)
    assert not outcome_of(caught).permanent


async def test_no_answer_in_time():
    hang = threading.Event()
    try:
        caught = await ingest_error(Reply(hang=hang), timeout_seconds=0.1)
    finally:
        hang.set()
    assert type(caught) is TimedOutError
    assert not is_definite(caught)


async def test_nobody_listens():
    door = RestDoor(HttpClient("http://127.0.0.1:1"))
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await door.command("db", ".show tables")
    await door.aclose()


async def test_a_connection_is_kept_and_one_that_was_closed_is_not_used(monkeypatch):
    canned = Canned(Reply(INGESTED))
    opened = 0
    whole = trio.open_tcp_stream

    async def counted(*arguments):
        nonlocal opened
        opened += 1
        return await whole(*arguments)

    monkeypatch.setattr(trio, "open_tcp_stream", counted)
    async with door_to(canned) as door:
        for number in range(3):
            await door.ingest("db", "T", (number,), BASE, "s")
        assert opened == 1
        canned.replies = [Reply(INGESTED, headers={"Connection": "close"})]
        await door.ingest("db", "T", (4,), BASE, "s")
        await door.ingest("db", "T", (5,), BASE, "s")
    assert opened == 2


@pytest.mark.parametrize(("length", "fits"), [(98, True), (99, True), (100, True), (101, False)])
@pytest.mark.parametrize("compressed", [False, True])
async def test_answers_are_bounded(length, fits, compressed):
    body = b" " * (length - 2) + b"{}"
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    reply = Reply(gzip.compress(body) if compressed else body, headers=headers)
    with serving(Canned(reply)) as url:
        client = HttpClient(url, answer_bytes=100)
        if fits:
            answer = await client.send("POST", "/", {}, b"", timeout_seconds=5)
            assert answer.body == body
        else:
            with pytest.raises(ProtocolError, match="more than 100 bytes"):
                await client.send("POST", "/", {}, b"", timeout_seconds=5)
        await client.aclose()


async def test_visible_seconds_come_after_the_acknowledgement():
    async with door_to(Canned(Reply(INGESTED)), visible_seconds=0.2) as door:
        began = trio.current_time()
        await door.ingest("db", "T", (1,), BASE, "s")
        assert trio.current_time() - began >= 0.2


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.mark.parametrize("trusted", [True, False])
async def test_certificates_are_checked(authority, trusted, tmp_path, monkeypatch):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    canned = Canned(Reply(INGESTED))
    with serving(canned, context) as url:
        door = RestDoor(HttpClient(url), token="secret", timeout_seconds=5)
        refused = pytest.raises(UnavailableError, match="no secure connection")
        with nullcontext() if trusted else refused:
            for number in range(2):
                await door.ingest("db", "T", (number,), BASE, "s")
        await door.aclose()
    assert len(canned.requests) == 2 * trusted
