"""The HTTP server on loopback: what a client sends and gets, byte by byte."""

from __future__ import annotations

import errno
import json
import re
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import fields
from functools import partial

import pytest
import trio
import trustme

from cluster.gateway.http.application import encode_response
from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.http.server import HttpServer
from cluster.limits import Limits

BODY_BYTES = 1000
HEAD_BYTES = 2000
CONNECTIONS = 100
LIMITS = Limits(
    http_body_bytes=BODY_BYTES, http_head_bytes=HEAD_BYTES, http_connections=CONNECTIONS
)
PATIENCE_SECONDS = 30


class World:
    """A server whose handler tells what it got; paths make it wait."""

    def __init__(self):
        self.entered = trio.Event()
        self.go = trio.Event()
        self.ended = trio.Event()
        self.requests = []

    async def handler(self, request):
        self.requests.append(request)
        if request.path == "/wait":
            self.entered.set()
            try:
                await self.go.wait()
            finally:
                self.ended.set()
        body = json.dumps([request.method, request.path, request.query, len(request.body)])
        return HttpResponse(body=body.encode(), headers={"x-echo": request.headers.get("x-a", "")})

    @asynccontextmanager
    async def serving(self, tls=None, grace_seconds=5.0):
        self.server = HttpServer(self.handler, limits=LIMITS)
        self.url = self.server.listen("127.0.0.1", 0, tls)
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                serve = partial(self.server.serve, grace_seconds=grace_seconds)
                await nursery.start(serve)
                self.stop = nursery.cancel_scope.cancel
                yield self
                self.stop()

    @property
    def port(self):
        return int(self.url.rpartition(":")[2])

    async def connect(self):
        return Connection(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def ask(self, data):
        async with await self.connect() as connection:
            await connection.send(data)
            return await connection.response()


class Connection:
    """Reads one response after the other."""

    def __init__(self, stream):
        self.stream = stream
        self.rest = b""
        self.reads = 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        await self.stream.aclose()

    async def send(self, data):
        await self.stream.send_all(data)

    async def read(self):
        data = await self.stream.receive_some(65536)
        self.reads += 1
        self.rest += data
        return data

    async def response(self, *, has_body=True):
        while b"\r\n\r\n" not in self.rest:
            if not await self.read():
                raise ConnectionError(f"closed after {self.rest!r}")
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", 0)) if has_body else 0
        while len(self.rest) < length:
            assert await self.read()
        body, self.rest = self.rest[:length], self.rest[length:]
        return int(lines[0].split()[1]), headers, body

    async def is_closed(self):
        return not await self.read()


@pytest.fixture
async def world():
    made = World()
    async with made.serving():
        yield made


def post(path="/", body=b"", *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join((*lines, "", "")).encode() + body


def chunked(path, *pieces):
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head.encode() + chunks + b"0\r\n\r\n"


async def test_a_request_arrives_whole_and_decoded(world):
    status, headers, body = await world.ask(post("/a%2Fb%20%C3%A9?x=1&x=2&empty&y=%3b+z", b"123"))
    assert status == 200
    assert json.loads(body) == ["POST", "/a/b é", {"x": "2", "empty": "", "y": "; z"}, 3]
    request = world.requests[0]
    assert request.raw_query == "x=1&x=2&empty&y=%3b+z"
    assert (request.scheme, request.peer, request.origin) == (
        "http",
        "127.0.0.1",
        "http://localhost",
    )
    assert headers.keys() == {"content-type", "content-length", "x-echo"}


async def test_what_a_header_cannot_carry_becomes_a_question_mark(world):
    data = post("/", b"", "X-A: é;1").decode("latin-1").encode("latin-1")
    assert (await world.ask(data))[1]["x-echo"] == "??;1"


async def test_chunks_are_put_together(world):
    _, _, body = await world.ask(chunked("/", b"12345", b"6" * 300))
    assert json.loads(body)[3] == 305


@pytest.mark.parametrize("make", [post, chunked])
@pytest.mark.parametrize(("size", "over"), [(999, 0), (1000, 0), (1001, BODY_BYTES)])
async def test_a_body_is_bounded_and_the_handler_told(world, make, size, over):
    async with await world.connect() as connection:
        await connection.send(make("/", b"x" * size))
        await connection.response()
        assert world.requests[0].body_over_bytes == over
        assert world.server.statistics().bodies_too_large == bool(over)
        assert len(world.requests[0].body) == (0 if over else size)
        await connection.send(post("/again"))  # what was too much is not taken for a request
        assert json.loads((await connection.response())[2])[1] == "/again"


async def test_what_says_that_it_is_too_large_need_not_be_sent(world):
    head = post("/", b"x" * 5000, "Expect: 100-continue").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    status, _, _ = await world.ask(head)
    assert (status, world.requests[0].body_over_bytes) == (200, BODY_BYTES)


async def test_a_client_that_waits_for_leave_to_send_gets_it(world):
    async with await world.connect() as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n")
        await connection.send(b"Expect: 100-continue\r\n\r\n")
        assert (await connection.response())[0] == 100
        await connection.send(b"ab")
        assert json.loads((await connection.response())[2])[3] == 2


@pytest.mark.parametrize(("size", "status"), [(1999, 200), (2000, 200), (2001, 431)])
async def test_a_head_is_bounded(world, size, status):
    known = len("/") + sum(map(len, ("host", "localhost", "content-length", "0", "x-a")))
    got, _, body = await world.ask(post("/", b"", f"X-A: {'a' * (size - known)}"))
    assert got == status
    assert world.server.statistics().heads_too_large == (status == 431)
    if status == 431:
        assert json.loads(body)["error"]["@permanent"] is True
        assert not world.requests
        assert world.server.statistics().requests_malformed == 1


async def test_statistics_have_the_names_of_metrics_that_limits_promise(world):
    await world.ask(post("/", b"x"))
    statistics = world.server.statistics()
    metrics = statistics.metrics()
    assert metrics["http_requests_total"] == statistics.requests_total == 1
    assert len(metrics) == len(fields(statistics))
    promised = {info.metric for info in Limits.describe() if info.metric.startswith("http_")}
    assert {"http_too_large_total", "http_refused_total"} < promised <= metrics.keys()


async def test_a_head_that_never_ends_is_cut_off(world):
    async with await world.connect() as connection:
        await connection.send(b"GET / HTTP/1.1\r\nX-A: ")
        await connection.send(b"a" * (2 * HEAD_BYTES))
        assert (await connection.response())[0] == 431
        assert await connection.is_closed()


@pytest.mark.parametrize(
    "data", [b"hello\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03"]
)
async def test_what_is_not_http_is_told_so(world, data):
    status, headers, body = await world.ask(data)
    assert (status, headers["connection"]) == (400, "close")
    assert json.loads(body)["error"]["code"] == "General_BadRequest"


async def test_a_tunnel_is_refused(world):
    status, _, _ = await world.ask(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
    assert status == 400


async def test_who_wants_http_2_is_answered_in_http_1(world):
    wish = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    async with await world.connect() as connection:
        await connection.send(post("/one", b"abc", *wish) + post("/two", b"d"))
        assert json.loads((await connection.response())[2]) == ["POST", "/one", {}, 3]
        assert json.loads((await connection.response())[2]) == ["POST", "/two", {}, 1]


async def test_head_has_the_length_and_no_body(world):
    async with await world.connect() as connection:
        await connection.send(b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n" + post("/next"))
        status, headers, _ = await connection.response(has_body=False)
        assert (status, int(headers["content-length"])) == (200, len('["HEAD", "/h", {}, 0]'))
        assert json.loads((await connection.response())[2])[1] == "/next"


def test_a_head_may_tell_the_length_of_what_it_does_not_send():
    response = HttpResponse(200, b"", "text/csv", {"Content-Length": "7"})
    sent = encode_response(response, has_body=False, keep_alive=True).decode()
    assert [line for line in sent.split("\r\n") if line.lower().startswith("content-length")] == [
        "Content-Length: 7"
    ]


async def test_requests_sent_at_once_are_answered_in_order(world):
    async with await world.connect() as connection:
        await connection.send(b"".join(post(f"/{number}") for number in range(20)))
        for number in range(20):
            assert json.loads((await connection.response())[2])[1] == f"/{number}"


@pytest.mark.parametrize("rest", [b"GARBAGE\r\n\r\n", post("/b", b"b") + b"GARBAGE\r\n\r\n"])
async def test_the_refusal_of_what_follows_is_not_taken_for_the_answer(world, rest):
    """The first request may be done: its client must not hear that it was refused."""
    async with await world.connect() as connection:
        await connection.send(post("/a", b"a") + rest)
        with pytest.raises(ConnectionError, match=re.escape("closed after b''")):
            await connection.response()


async def test_chunks_that_are_none_are_refused(world):
    data = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    async with await world.connect() as connection:
        await connection.send(post("/a", b"a"))
        assert (await connection.response())[0] == 200
        await connection.send(data)
        await connection.send(b"zz\r\n")
        assert (await connection.response())[0] == 400


async def test_a_response_is_one_write(world):
    async with await world.connect() as connection:
        for _ in range(200):
            await connection.send(post("/", b"abc"))
            await connection.response()
        assert connection.reads == 200


async def test_http_1_0_is_answered_and_closed(world):
    async with await world.connect() as connection:
        await connection.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await connection.response())[1]["connection"] == "close"
        assert await connection.is_closed()


async def test_a_client_that_leaves_cancels_its_handler(world):
    async with await world.connect() as connection:
        await connection.send(post("/wait"))
        await world.entered.wait()
    await world.ended.wait()
    assert json.loads((await world.ask(post("/next")))[2])[1] == "/next"
    assert world.server.statistics().requests_abandoned == 1


async def test_a_body_that_ends_in_the_middle_reaches_no_handler(world):
    async with await world.connect() as connection:
        await connection.send(b"POST /cut HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345")
    async with await world.connect() as connection:
        await connection.send(chunked("/cut", b"12345").removesuffix(b"0\r\n\r\n"))
    await world.ask(post("/next"))
    assert [request.path for request in world.requests] == ["/next"]


async def test_84_connections_at_once_are_all_served(world):
    done = []

    async def one():
        done.append((await world.ask(post("/", b"x" * 100)))[0])

    async with trio.open_nursery() as nursery:
        for _ in range(84):
            nursery.start_soon(one)
    assert done == [200] * 84


async def test_connections_are_bounded(world):
    connections = [await world.connect() for _ in range(CONNECTIONS)]
    for connection in connections:
        await connection.send(post())
        assert (await connection.response())[0] == 200
    one_more = await world.connect()
    assert await one_more.is_closed()
    await connections[0].stream.aclose()
    statistics = world.server.statistics()
    assert (statistics.connections_total, statistics.connections_refused) == (CONNECTIONS + 1, 1)
    for connection in (*connections, one_more):
        await connection.stream.aclose()


def test_a_port_that_is_taken_is_an_error_of_the_system():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is taken") as caught:
            HttpServer(World.handler).listen("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE


async def test_a_handler_under_way_may_end_when_the_server_stops():
    world = World()
    async with (
        world.serving(),
        await world.connect() as connection,
        await world.connect() as idle,
    ):
        await idle.send(post())
        await idle.response()
        await connection.send(post("/wait"))
        await world.entered.wait()
        world.stop()
        with trio.CancelScope(shield=True):
            assert await idle.is_closed()
            with pytest.raises(OSError, match=re.escape("127.0.0.1")):
                await world.connect()
            world.go.set()
            status, headers, _ = await connection.response()
            assert (status, headers["connection"]) == (200, "close")
            assert await connection.is_closed()


async def test_a_handler_that_takes_too_long_is_cancelled_and_its_client_told():
    world = World()
    async with world.serving(grace_seconds=0.0), await world.connect() as connection:
        await connection.send(post("/wait"))
        await world.entered.wait()
        world.stop()
        with trio.CancelScope(shield=True):
            status, _, body = await connection.response()
    assert (status, json.loads(body)["error"]["@permanent"]) == (503, False)
    assert world.ended.is_set()


async def test_a_listener_may_have_tls_and_a_slow_handshake_holds_nobody_up():
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    world = World()
    async with world.serving(tls):
        assert world.url.startswith("https://")
        client = ssl.create_default_context()
        authority.configure_trust(client)
        async with await world.connect():  # says nothing
            plain = await trio.open_tcp_stream("127.0.0.1", world.port)
            stream = trio.SSLStream(plain, client, server_hostname="localhost")
            async with Connection(stream) as connection:
                await connection.send(post("/tls"))
                assert json.loads((await connection.response())[2])[1] == "/tls"
                assert world.requests[0].scheme == "https"
