"""REST requests: as values to the door, in front of stand-ins; as bytes to a real node."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import trio
from fuzz_mutations import ODD_TEXTS, mutated_bytes
from fuzzing import Target
from hypothesis import strategies as st
from ingest_tables import PEOPLE, decoder
from rest_values import result_of

from cluster.catalog.model import Column, RowStoreKey, ScalarType, Version
from cluster.commands.results import CommandResult
from cluster.errors import FormatNotSupportedError, SourceNotFoundError, SyntaxRefusedError
from cluster.gateway.answering import Answering, PinnedSnapshot
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.rest.app import RestDoor, ServiceFacts, rest_routes
from cluster.gateway.rest.batches import is_command
from cluster.gateway.rest.headers import ActivityIds, anybody
from cluster.gateway.rest.hosts import Hosts
from cluster.gateway.rest.query import RestQueries
from cluster.ingest.request import STREAMING_FORMATS, IngestOutcome
from cluster.limits import LIMITS
from cluster.query.binding import Answer, QuerySnapshot
from cluster.replication.position import START, Position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypothesis.strategies import DrawFn

    from cluster.ingest.request import IngestPayload

DEFECT: Final = "by a defect of this node"
RESULT = result_of(
    a=("long", [1, None]), b=("string", ['"\0é', ""]), c=("real", [float("nan"), -0.0])
)


class Node:
    """Stands in for everything behind the door; ingestion decodes what it is sent."""

    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def monotonic(self) -> float:
        return 0.0

    def pin(self, database: str, text: str | None = None) -> PinnedSnapshot:
        del text
        position = Position(Version(1, 0), {RowStoreKey(1): START})
        return PinnedSnapshot(QuerySnapshot(database, {}), position, set())

    async def answer(self, text: str, snapshot: object, request: object) -> Answer:
        del snapshot, request
        return Answer((RESULT,) * (1 + text.count(";") % 4))

    async def execute(self, database: str, text: str, request: object) -> CommandResult:
        del database, request
        if not is_command(text):
            raise SyntaxRefusedError("expected a command")
        return CommandResult((Column("Name", ScalarType.STRING),), ((text[:20],), (None,)))

    async def ingest(self, request: IngestPayload) -> IngestOutcome:
        if request.format not in STREAMING_FORMATS:
            raise FormatNotSupportedError("there is no such format")
        result = decoder(PEOPLE).decode_group(request.format, [request.payload])
        if result.errors[0] is not None:
            raise result.errors[0]
        return IngestOutcome(RowStoreKey(1), result.row_counts[0], START)

    async def read(self, uri: str) -> bytes:
        raise SourceNotFoundError(f"there is nothing at {uri[:99]}")


def door() -> RestDoor:
    """The door as a node wires it."""
    node: Any = Node()
    queries = RestQueries(Answering(node, node), node, authenticate=anybody, clock=node)
    routes = rest_routes(
        cluster="leader", pipeline=node, sources=node, limits=LIMITS, more=queries.routes()
    )
    return RestDoor(
        routes,
        hosts=Hosts(),
        ids=ActivityIds(lambda bits: 0),
        clock=node,
        facts=ServiceFacts("leader", "leader/0", 7),
    )


QUERY_PATHS = ("/v1/rest/query", "/v2/rest/query", "/v1/rest/mgmt")
PATHS = (
    *QUERY_PATHS, *QUERY_PATHS, "/v1/rest/ingest/db/T", "/v1/rest/ingest/d%00b/T/", "/", "//",
    "/v1/rest/ingest/a/b/c", "/v1/rest/auth/metadata", "/v1/rest/ping", "/v1/rest",
)  # fmt: skip
HEADERS: Mapping[str, tuple[str, ...]] = {
    "host": ("localhost:80", "127.0.0.1", "", "evil.example", "[::1]:80", "localhost:port"),
    "content-type": (
        "application/json", "application/json; charset=utf-8", "text; charset=utf-16",
        "a; charset=rot13", "x; charset=idna", "x; charset=unicode_escape", "x; charset=\x00",
    ),
    "content-encoding": ("gzip", "deflate", "", "br"),
    "origin": ("http://localhost", "null", "http://evil.example", "::"),
    "access-control-request-method": ("POST",),
    "x-ms-client-request-id": ("KPC.execute;1", "KPC.execute_streaming_ingest;" * 20, "é", ";"),
    "x-ms-client-version": ("Kusto.Python.Client:1", "Kusto.Go", ""),
    "x-ms-app": ("app", "\u202e"),
    "x-ms-user": ("user",),
    "x-ms-readonly": ("true", "", "x"),
    "authorization": ("Bearer x", "Basic", ""),
}  # fmt: skip
QUERIES: Mapping[str, tuple[str, ...]] = {
    "db": ("db", ""),
    "csl": ("T", ".show tables", "", " "),
    "streamFormat": ("csv", "Json", "parquet", "", "avro", "CSV "),
    "mappingName": ("M", ""),
    "sourceKind": ("uri", "blob", ""),
    "properties": ("{}", "[", '{"Options":{}}'),
    "x": ODD_TEXTS,
}
OPTIONS = (
    "results_v2_fragment_primary_tables", "results_progressive_enabled", "request_readonly",
    "results_v2_newlines_between_frames", "results_error_reporting_placement", "servertimeout",
    "notruncation", "truncationmaxrecords", "query_take_max_records", "queryconsistency",
    "request_app_name", "request_user", "query_language", "query_now",
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from((0.5, 1e308, float("inf"), "true", "00:01:00", "in_data", "", *ODD_TEXTS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=3,
)
TEXTS = ("T", "T | count", ".show tables", ".drop table T", ";", "T;T", "set x=1; T", *ODD_TEXTS)


@st.composite
def bodies(draw: DrawFn) -> bytes:
    """JSON that a query endpoint takes, more or less; or rows."""
    if not draw(st.integers(0, 4)):
        return draw(st.sampled_from((b"name,1\n", b'{"name":"x"}', b"", b"[" * 5000, b"\0")))
    body: dict[str, Any] = {"db": "db", "csl": draw(st.sampled_from(TEXTS))}
    if draw(st.booleans()):
        options = draw(st.dictionaries(st.sampled_from(OPTIONS), VALUES, max_size=3))
        properties: Any = {"Options": options, "Parameters": draw(VALUES)}
        body["properties"] = draw(
            st.sampled_from((properties, json.dumps(properties), properties["Parameters"]))
        )
    if not draw(st.integers(0, 5)):
        body[draw(st.sampled_from(("db", "csl", "properties", "other")))] = draw(VALUES)
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig", "utf-7")))
    return json.dumps(body).encode(encoding)


@st.composite
def some_of(draw: DrawFn, known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """A few of these names, each with one of its values."""
    names = draw(st.lists(st.sampled_from(sorted(known)), max_size=4, unique=True))
    return {name: draw(st.sampled_from(known[name])) for name in names}


@st.composite
def requests(draw: DrawFn) -> HttpRequest:
    """Requests as the server gives them to the door."""
    query = draw(some_of(QUERIES))
    return HttpRequest(
        draw(st.sampled_from(("POST", "POST", "POST", "GET", "OPTIONS", "HEAD", "PUT", "X"))),
        draw(st.sampled_from(PATHS)),
        query=query,
        raw_query="&".join(f"{name}={value}" for name, value in query.items()),
        headers={"host": "localhost:80"} | draw(some_of(HEADERS)),
        body=draw(mutated_bytes(bodies())),
        peer="127.0.0.1:5",
        body_over_bytes=draw(st.sampled_from((0, 0, 0, 0, 10))),
    )


def answered(request: HttpRequest) -> str:
    """What the door makes of a request."""
    response = trio.run(door().answer, request)
    return judge(response.status, response.body, response.content_type)


def judge(status: int, body: bytes, content_type: str = "application/json") -> str:
    """A response is a dataset or an error object that says what was wrong; in a word."""
    text = body.decode()
    assert DEFECT not in text, text
    assert status < 500 or status in (501, 503, 504), text
    if status >= 400 and text:
        if content_type.startswith("text/plain"):
            return f"{status}, no HTTP"  # the server's own words
        error = json.loads(text)["error"]
        assert error["code"], text
        assert error["@type"].startswith("Kusto."), text
        assert isinstance(error["@permanent"], bool), text
        return f"{status} {error['code']}"
    if text and content_type.startswith("application/json"):
        json.loads(text)
    return str(status)


REST = Target("rest", requests(), answered)


# Over a socket


@st.composite
def messages(draw: DrawFn) -> bytes:
    """A request as it is on the wire, mistakes in it: heads, lengths, chunks, several at once."""
    made = b""
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        body = draw(bodies())
        headers = {"Host": "localhost"} | draw(some_of(HEADERS))
        lines = [f"{name}: {value}".encode("utf-8", "replace") for name, value in headers.items()]
        if draw(st.integers(0, 3)):
            lines.append(
                b"Content-Length: %d" % (len(body) + draw(st.sampled_from((0, 0, 0, -1, 5))))
            )
        else:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        method = draw(st.sampled_from((b"POST", b"POST", b"GET", b"PRI", b"OPTIONS", b"post")))
        path = draw(st.sampled_from(PATHS)).encode() + draw(
            st.sampled_from((b"", b"?streamFormat=csv", b"?%", b"?csl=T&db=NetDefaultDB", b"#x"))
        )
        made += b"\r\n".join((method + b" " + path + b" HTTP/1.1", *lines, b"", body))
    return draw(mutated_bytes(st.just(made)))


PING = b"GET /v1/rest/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
REPLY_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 0.1
"""After so long without a byte a node waits for more of a request that is not whole."""


def exchange(url: str, message: bytes, seconds: float) -> bytes:
    """Sends bytes and returns what comes back until the other end closes, or says no more."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = socket.create_connection((parts.hostname, parts.port or 80), REPLY_SECONDS)
    received = b""
    # What a node says before it closes may be lost: it had not read everything.
    with connection, contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
        connection.sendall(message)
        connection.settimeout(seconds)
        while piece := connection.recv(65536):
            received += piece
    return received


def responses_of(data: bytes) -> list[tuple[int, bytes, str]]:
    """The responses in what came back: status, body and content type of each."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        if status.split()[1] == b"100":
            continue
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        length = int(headers.get(b"content-length", b"0"))
        content_type = headers.get(b"content-type", b"").decode()
        found.append((int(status.split()[1]), data[:length], content_type))
        data = data[length:]
    return found


def socket_target(url: str) -> Target:
    """Bytes to the node at ``url``, which answers a good request after each."""

    def sent(message: bytes) -> str:
        words = [judge(*one) for one in responses_of(exchange(url, message, SILENCE_SECONDS))]
        ((status, *_),) = responses_of(exchange(url, PING, REPLY_SECONDS))
        assert status == 200
        return words[0] if words else "no answer"

    return Target("socket", messages(), sent)
