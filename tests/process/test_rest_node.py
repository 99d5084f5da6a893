"""The HTTP door of a real node, over raw sockets: ingestion, refusals, shutdown."""

from __future__ import annotations

import gzip
import json
import signal
from typing import TYPE_CHECKING, Any, Self

import pytest
import trio

from cluster.launcher.identity import send_signal, wait_exit
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

PATIENCE_SECONDS = 60
INSIDE_BYTES = LIMITS.ingest_request_bytes


class Http:
    """One connection to a node."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self.host, self.port = host, int(port)

    async def __aenter__(self) -> Self:
        self.stream = await trio.open_tcp_stream(self.host, self.port)
        self.rest = b""
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stream.aclose()

    async def ask(
        self, path: str, body: bytes = b"", *lines: str, method: str = "POST", pieces: int = 0
    ) -> tuple[int, dict[str, str], Any]:
        """Sends a request, in chunks if ``pieces``, and reads its response."""
        await self.send(path, body, *lines, method=method, pieces=pieces)
        return await self.response()

    async def send(
        self, path: str, body: bytes, *lines: str, method: str = "POST", pieces: int = 0
    ) -> None:
        head = [f"{method} {path} HTTP/1.1", *lines]
        if not any(line.lower().startswith("host:") for line in lines):
            head.append(f"Host: {self.host}:{self.port}")
        if pieces:
            head.append("Transfer-Encoding: chunked")
            size = max(1, len(body) // pieces)
            parts = [body[at : at + size] for at in range(0, len(body), size)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        else:
            head.append(f"Content-Length: {len(body)}")
        await self.stream.send_all("\r\n".join((*head, "", "")).encode() + body)

    async def response(self) -> tuple[int, dict[str, str], Any]:
        while b"\r\n\r\n" not in self.rest:
            await self.read()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        length = int(headers["content-length"])
        while len(self.rest) < length:
            await self.read()
        body, self.rest = self.rest[:length], self.rest[length:]
        is_json = headers.get("content-type", "").startswith("application/json")
        return int(lines[0].split()[1]), headers, json.loads(body) if is_json else body

    async def read(self) -> None:
        data = await self.stream.receive_some(65536)
        if not data:
            raise ConnectionError("closed")
        self.rest += data


@pytest.fixture
async def node(
    processes: tuple[Launcher, Setup], local_setup: LocalSetup
) -> AsyncIterator[tuple[Http, str]]:
    """A connection to the leader, and the address of a table of one's own (a: long, s: string)."""
    leader, database = local_setup.client("leader"), local_setup.database
    await leader.command("NetDefaultDB", f".create database {database}")
    await leader.command(database, ".create table T (a: long, s: string)")
    await leader.command(database, ".alter table T policy streamingingestion enable")
    with trio.fail_after(PATIENCE_SECONDS):
        async with Http(processes[1].processes["leader/0"].http) as http:
            yield http, f"/v1/rest/ingest/{database}/T?streamFormat=Csv"


async def rows(local_setup: LocalSetup) -> Sequence[Any]:
    result = await local_setup.client("leader").query(local_setup.database, "T | sort by a asc")
    return [tuple(row) for row in result.rows()]


@pytest.mark.parametrize("pieces", [0, 3])
@pytest.mark.parametrize("is_zipped", [False, True])
async def test_rows_are_there_when_the_answer_is(
    node: tuple[Http, str], local_setup: LocalSetup, pieces: int, is_zipped: bool
) -> None:
    http, path = node
    body = b"1,one\n2,two\n"
    # What is compressed shows in the bytes; the header says it also of what is not.
    body = gzip.compress(body) if is_zipped else body
    status, headers, values = await http.ask(path, body, "Content-Encoding: gzip", pieces=pieces)
    assert status == 200
    assert values["Tables"][0]["Rows"] == [[0, "Inactive", "Unknown", None]]
    assert headers["x-ms-client-request-id"] == f"unspecified;{headers['x-ms-activity-id']}"
    assert await rows(local_setup) == [(1, "one"), (2, "two")]


async def test_names_in_the_path_are_decoded(
    node: tuple[Http, str], local_setup: LocalSetup
) -> None:
    http, _ = node
    leader, database = local_setup.client("leader"), local_setup.database
    await leader.command(database, ".create table ['My table'] (a: long)")
    await leader.command(database, ".alter table ['My table'] policy streamingingestion enable")
    path = f"/v1/rest%2Fingest/{database}/My%20table?streamFormat=csv"
    assert (await http.ask(path, b"7\n"))[0] == 200
    result = await leader.query(database, "['My table']")
    assert [tuple(row) for row in result.rows()] == [(7,)]


@pytest.mark.parametrize(
    ("inside", "status"),
    [(INSIDE_BYTES - 1, 200), (INSIDE_BYTES, 200), (INSIDE_BYTES + 1, 413)],
)
async def test_what_is_inside_an_archive_is_bounded(
    node: tuple[Http, str], local_setup: LocalSetup, inside: int, status: int
) -> None:
    http, path = node
    line = b"1," + b"x" * 1021 + b"\n"
    body = line * (inside // len(line) - 1)
    body += b"1," + b"x" * (inside - len(body) - 3) + b"\n"
    got, _, values = await http.ask(path, gzip.compress(body, compresslevel=0))
    assert got == status
    if status == 413:
        assert values["error"]["code"] == "Stream_InputStreamTooLarge"
        assert values["error"]["@permanent"] is False  # for managed clients, which queue it then
        assert await rows(local_setup) == []


@pytest.mark.parametrize("extra_bytes", [1, 2])
async def test_what_is_sent_is_bounded_in_the_same_words(
    node: tuple[Http, str], extra_bytes: int
) -> None:
    http, path = node
    body = b"\x1f\x8b" + b"x" * (LIMITS.ingest_wire_bytes - 2 + extra_bytes)
    status, _, values = await http.ask(path, body)
    assert (status, values["error"]["code"]) == (413, "Stream_InputStreamTooLarge")
    assert (await http.ask(path, b"1,a\n"))[0] == 200


async def test_a_damaged_archive_is_refused(node: tuple[Http, str]) -> None:
    http, path = node
    status, _, values = await http.ask(path, b"\x1f\x8bnot gzip at all")
    assert (status, values["error"]["code"]) == (400, "BadRequest_InvalidArchive")


async def test_attempts_of_one_source_are_ingested_once(
    node: tuple[Http, str], local_setup: LocalSetup
) -> None:
    http, path = node
    for attempt in range(3):
        name = f"x-ms-client-request-id: KPC.executeManagedStreamingIngest;5a3b;{attempt}"
        status, headers, _ = await http.ask(path, b"1,once\n", name)
        assert (status, name.endswith(headers["x-ms-client-request-id"])) == (200, True)
    assert await rows(local_setup) == [(1, "once")]
    # The same source with other data is other data.
    assert (await http.ask(path, b"2,other\n", name))[0] == 200
    assert await rows(local_setup) == [(1, "once"), (2, "other")]


@pytest.mark.parametrize(
    ("table", "query", "body", "status", "code"),
    [
        ("Nothing", "streamFormat=csv", b"1\n", 400, "BadRequest_TableNotExist"),
        ("T", "", b"1\n", 400, "General_BadRequest"),
        ("T", "streamFormat=sstream", b"1\n", 400, "BadRequest_FormatNotSupported"),
        ("T", "streamFormat=csv", b"", 400, "Stream_NoDataToIngest"),
        ("T", "streamFormat=csv", b"1\n", 400, "Stream_WrongNumberOfFields"),
        ("T", "streamFormat=csv", b'1,"a\n', 400, "Stream_ClosingQuoteMissing"),
        (
            "T",
            "streamFormat=json&mappingName=M",
            b"{}",
            400,
            "BadRequest_MappingReferenceWasNotFound",
        ),
    ],
)
async def test_refusals_have_the_codes_that_clients_know(
    node: tuple[Http, str],
    local_setup: LocalSetup,
    table: str,
    query: str,
    body: bytes,
    status: int,
    code: str,
) -> None:
    http, _ = node
    path = f"/v1/rest/ingest/{local_setup.database}/{table}?{query}"
    got, _, values = await http.ask(path, body)
    assert (got, values["error"]["code"]) == (status, code)
    assert values["error"]["@permanent"] is True
    assert values["error"]["@failureCode"] == status


async def test_where_the_capability_is_off_there_is_no_such_endpoint(
    processes: tuple[Launcher, Setup], local_setup: LocalSetup
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with Http(processes[1].processes["follower2/0"].http) as http:
            path = "/v1/rest/ingest/NetDefaultDB/T?streamFormat=csv"
            status, _, values = await http.ask(path, b"1\n")
    assert status == 404
    assert values["error"]["code"] == "NotFound_StreamingIngestionDisabledForCluster"
    assert values["error"]["@permanent"] is True


async def test_a_file_of_the_allowed_folder_can_be_streamed_by_its_name(
    processes: tuple[Launcher, Setup], node: tuple[Http, str], local_setup: LocalSetup
) -> None:
    http, path = node
    folder: Path = processes[1].folder / "ingest"
    (folder / f"{local_setup.database}.csv.gz").write_bytes(gzip.compress(b"3,from a file\n"))
    body = json.dumps({"sourceUri": f"{local_setup.database}.csv.gz"}).encode()
    assert (await http.ask(f"{path}&sourceKind=uri", body))[0] == 200
    assert await rows(local_setup) == [(3, "from a file")]
    status, _, values = await http.ask(f"{path}&sourceKind=uri", b'{"SourceUri": "/etc/passwd"}')
    assert (status, values["error"]["code"]) == (403, "Download_Forbidden")


async def test_addresses_methods_hosts_and_pages(node: tuple[Http, str]) -> None:
    http, path = node
    assert (await http.ask("/v1/rest/ping", method="GET"))[2] == b"OK\n"
    status, _, values = await http.ask("/v1/rest/auth/metadata", method="GET")
    assert (status, len(values["AzureAD"])) == (200, 6)
    assert (await http.ask("/v1/nothing", method="GET"))[0] == 404
    assert (await http.ask(path, method="GET"))[0] == 405
    status, _, values = await http.ask(path, b"1,a\n", "Host: evil.example")
    assert (status, values["error"]["code"]) == (403, "Forbidden")
    status, _, values = await http.ask(path, b"1,a\n", "Origin: http://evil.example")
    assert (status, values["error"]["code"]) == (403, "Forbidden")
    page = "Origin: http://localhost:5000"
    wish = "Access-Control-Request-Method: POST"
    status, headers, _ = await http.ask(path, b"", page, wish, method="OPTIONS")
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "http://localhost:5000")


async def test_84_connections_at_once_are_answered(
    processes: tuple[Launcher, Setup], node: tuple[Http, str], local_setup: LocalSetup
) -> None:
    _, path = node
    answers: list[int] = []

    async def one(number: int) -> None:
        async with Http(processes[1].processes["leader/0"].http) as http:
            answers.append((await http.ask(path, b"%d,x\n" % number))[0])

    async with trio.open_nursery() as nursery:
        for number in range(84):
            nursery.start_soon(one, number)
    # Six a core are ingested at once; the others are told to come again, as in Azure.
    assert set(answers) <= {200, 429}
    assert len(answers) == 84
    assert len(await rows(local_setup)) == answers.count(200) > 0


async def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing(
    processes: tuple[Launcher, Setup], node: tuple[Http, str], local_setup: LocalSetup
) -> None:
    http, path = node
    async with Http(processes[1].processes["leader/0"].http) as leaving:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
        await leaving.stream.send_all(head.encode() + b"1,half\n")
    assert (await http.ask(path, b"2,whole\n"))[0] == 200
    assert await rows(local_setup) == [(2, "whole")]


async def test_what_was_acknowledged_before_sigterm_is_there_after_it(
    processes: tuple[Launcher, Setup], node: tuple[Http, str], local_setup: LocalSetup
) -> None:
    record = processes[0].home.load(processes[0].name).process("leader/0")
    _, path = node
    acknowledged: list[int] = []
    enough = trio.Event()

    async def ingest(first: int) -> None:
        number = first
        async with Http(record.http) as http:
            while True:
                try:
                    status, _, _ = await http.ask(path, b"%d,x\n" % number)
                except (OSError, trio.BrokenResourceError):
                    return  # it has stopped
                if status == 200:
                    acknowledged.append(number)
                number += 1
                if len(acknowledged) >= 50:
                    enough.set()

    async with trio.open_nursery() as nursery:
        for client in range(4):
            nursery.start_soon(ingest, client * 1_000_000)
        await enough.wait()
        assert record.identity is not None
        send_signal(record.identity, signal.SIGTERM)
        await wait_exit(record.identity)
    await local_setup.start("leader/0")
    async with Http(record.http) as http:
        assert (await http.ask("/v1/rest/ping", method="GET"))[0] == 200
    there = {row[0] for row in await rows(local_setup)}
    assert set(acknowledged) <= there


async def test_an_archive_that_lies_about_its_size_is_refused(node: tuple[Http, str]) -> None:
    http, path = node
    bomb = gzip.compress(b"x" * 3 * 1024 * 1024)
    assert len(bomb) * LIMITS.ingest_gzip_ratio < 3 * 1024 * 1024
    status, _, values = await http.ask(path, bomb)
    assert (status, values["error"]["code"]) == (413, "Stream_InputStreamTooLarge")
