"""The client of a storage account, against a server that says what a test wants."""

from __future__ import annotations

import base64
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from queued_world import SECRET, VirtualClock

from cluster.batch.download import Downloads
from cluster.errors import (
    AccountRefusedError,
    NotSupportedError,
    ProtocolError,
    UnavailableError,
)
from cluster.limits import LIMITS
from cluster.queued.account.client import open_account
from cluster.queued.account.names import ResourceNames
from cluster.queued.account.settings import parse_account
from cluster.queued.account.wire import MESSAGE_LETTERS, fitting
from cluster.queued.received import Received
from cluster.queued.values import FAILURES, READY, Arrival, Entity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cluster.queued.account.client import AccountClient

KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
NAMES = ResourceNames.of("leader", SECRET)
MESSAGES = """<?xml version="1.0"?><QueueMessagesList><QueueMessage><MessageId>m/1</MessageId>
<InsertionTime>Sat, 21 Nov 2026 07:27:34 GMT</InsertionTime><PopReceipt>a+b==</PopReceipt>
<DequeueCount>2</DequeueCount><MessageText>1 &lt; 2</MessageText></QueueMessage>
</QueueMessagesList>"""


class Server:
    """``answers`` are given one by one: status, headers, body. ``None``: hangs up.

    Without any it never answers.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes] | None] = []
        self.requests: list[str] = []
        self.connections = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        data = b""
        async for piece in stream:
            data += piece
            head, mark, rest = data.partition(b"\r\n\r\n")
            if not mark:
                continue
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            if len(rest) < int(fields[b"content-length"]):
                continue
            self.requests.append(data.decode())
            data = b""
            if not self.answers:
                await trio.sleep_forever()
            answer = self.answers.pop(0)
            if answer is None:
                break
            status, headers, body = answer
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            await stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)
        await stream.aclose()


@asynccontextmanager
async def client_of(server: Server, folder: Path) -> AsyncIterator[AccountClient]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, server.serve, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mine"
        endpoints = ";".join(f"{kind}Endpoint={url}" for kind in ("Blob", "Queue", "Table"))
        account = parse_account(f"AccountName=mine;AccountKey={KEY};{endpoints}")
        downloads = Downloads(folder=folder, work=folder / "work", limits=LIMITS)
        clock = VirtualClock()
        async with open_account(account, NAMES, downloads=downloads, clock=clock) as client:
            yield client
        nursery.cancel_scope.cancel()


async def test_messages_are_taken_on_one_connection(tmp_path: Path) -> None:
    server = Server()
    server.answers = [(200, {}, MESSAGES.encode()), (204, {"x-ms-popreceipt": "new"}, b"")]
    async with client_of(server, tmp_path) as client:
        (arrival,) = await client.take(READY, 100, 30)
        assert (arrival.message_id, arrival.receipt, arrival.dequeued) == ("m/1", "a+b==", 2)
        assert arrival.text == "1 < 2"
        assert arrival.inserted_ns == 1795246054_999_999_999
        assert await client.hide(READY, arrival, 60) == "new"
    assert server.connections == 1
    assert "messages?numofmessages=32&visibilitytimeout=30&sv=" in server.requests[0]
    assert "/messages/m%2F1?popreceipt=a%2Bb%3D%3D&visibilitytimeout=60" in server.requests[1]


@pytest.mark.parametrize("name", ["/a", "a/", "a//b", "a/../b", "./a", "a\x01b"])
async def test_a_blob_whose_name_cannot_be_read_is_refused_and_not_taken_for_another(
    tmp_path: Path, name: str
) -> None:
    server = Server()
    async with client_of(server, tmp_path) as client:
        with pytest.raises(NotSupportedError, match="the shown has a name that"):
            await client.download(("container", name), "the shown")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("status", "code", "is_gone"),
    [(204, "", True), (404, "MessageNotFound", True), (400, "PopReceiptMismatch", False)],
)
async def test_what_becomes_of_a_deletion(
    tmp_path: Path, status: int, code: str, is_gone: bool
) -> None:
    server = Server()
    server.answers = [(status, {"x-ms-error-code": code} if code else {}, b"")]
    async with client_of(server, tmp_path) as client:
        assert await client.remove(READY, Received("m", "r")) is is_gone


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (403, b"<Error><Code>AuthenticationFailed</Code></Error>", UnavailableError, "key"),
        (404, b"<Error><Code>QueueNotFound</Code></Error>", UnavailableError, "QueueNotFound"),
        (503, b"", UnavailableError, "answers 503 503"),
        (413, b'{"odata.error": {"code": "TooLarge"}}', AccountRefusedError, "413 TooLarge"),
    ],
)
async def test_refusals_name_the_code_and_no_signature(
    tmp_path: Path, status: int, body: bytes, kind: type[Exception], words: str
) -> None:
    server = Server()
    server.answers = [(status, {}, body)]
    async with client_of(server, tmp_path) as client:
        with pytest.raises(kind, match=words) as caught:
            await client.report(READY, "text")
    assert isinstance(caught.value, UnavailableError)
    assert "sig=" not in f"{caught.value}{caught.value.remedy}"


async def test_a_connection_that_breaks_is_an_error_and_the_next_is_new(tmp_path: Path) -> None:
    server = Server()
    server.answers = [(201, {}, b""), None, (201, {}, b"")]
    async with client_of(server, tmp_path) as client:
        await client.report(READY, "a")
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1") as caught:
            await client.report(READY, "b")
        await client.report(READY, "<c>")
    assert server.connections == 2
    assert "sig=" not in str(caught.value)
    assert server.requests[2].endswith("<MessageText>&lt;c&gt;</MessageText></QueueMessage>")


async def test_what_is_no_answer_of_a_storage_account(tmp_path: Path) -> None:
    server = Server()
    broken = MESSAGES.replace("<DequeueCount>2</DequeueCount>", "")
    server.answers = [(200, {}, broken.encode()), (204, {}, b""), (200, {}, b"")]
    arrival = Arrival("m", "r", 0, 1, "text")
    async with client_of(server, tmp_path) as client:
        with pytest.raises(ProtocolError, match="DequeueCount"):
            await client.take(READY, 1, 30)
        with pytest.raises(ProtocolError, match="pop receipt"):
            await client.hide(READY, arrival, 60)
        with pytest.raises(ProtocolError, match="how many messages"):
            await client.count(READY)


async def test_rows_and_what_there_is_already(tmp_path: Path) -> None:
    server = Server()
    there = (409, {"x-ms-error-code": "QueueAlreadyExists"}, b"")
    made = (201, {}, b"")
    server.answers = [made, made, made, there, there, there, made, (204, {}, b"")]
    async with client_of(server, tmp_path) as client:
        await client.prepare()
        await client.merge(Entity("ingestionsstatus", "p'", "r/", {"Details": "x" * 40_000}, 0))
    assert "(PartitionKey='p%27%27',RowKey='r%2F')?sv=" in server.requests[-1]
    assert server.requests[-1].count("x") < 33_000


def outcome(details: str, path: str = "p") -> str:
    values = {"Details": details, "IngestionSourcePath": path, "ShouldRetry": False, "Table": "T"}
    return base64.b64encode(json.dumps(values).encode()).decode()


def outcome_of(letters: int) -> str:
    """One whose text has so many letters, a multiple of 4."""
    text = outcome("x" * (letters * 3 // 4 - len(base64.b64decode(outcome("")))))
    assert len(text) == letters
    return text


def test_an_outcome_is_cut_only_if_it_is_too_long() -> None:
    for letters in (MESSAGE_LETTERS - 4, MESSAGE_LETTERS):
        assert fitting(outcome_of(letters)) == outcome_of(letters)
    assert len(fitting(outcome_of(MESSAGE_LETTERS + 4))) <= MESSAGE_LETTERS


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600", '"'])
def test_a_long_outcome_is_told_with_the_beginning_of_what_is_long(letter: str) -> None:
    given = outcome(f"There is no blob {letter * 70_000}.", f"http://b/{letter * 70_000}")
    text = fitting(given)
    assert len(text) <= MESSAGE_LETTERS
    values = json.loads(base64.b64decode(text))
    assert values["Details"].startswith(f"There is no blob {letter * 1000}")
    assert values["IngestionSourcePath"].startswith(f"http://b/{letter * 1000}")
    assert (values["ShouldRetry"], values["Table"]) == (False, "T")


@pytest.mark.parametrize("text", ["?" * 70_000, base64.b64encode(b"7" * 60_000).decode()])
def test_what_is_no_outcome_is_not_cut(text: str) -> None:
    assert fitting(text) == text


async def test_a_long_outcome_is_told(tmp_path: Path) -> None:
    server = Server()
    server.answers = [(201, {}, b"")]
    async with client_of(server, tmp_path) as client:
        await client.report(FAILURES, outcome("x" * 100_000))
    text = re.search("<MessageText>(.*)</MessageText>", server.requests[-1])[1]
    assert len(text) <= MESSAGE_LETTERS
    assert json.loads(base64.b64decode(text))["Table"] == "T"


async def test_nobody_listens(tmp_path: Path) -> None:
    server = Server()
    async with client_of(server, tmp_path) as client:
        pass
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await client.count(READY)


async def test_no_answer_in_time_is_an_account_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.queued.account.client._CALL_SECONDS", 0.05)
    async with client_of(Server(), tmp_path) as client:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:\d+ has not answered within 0"):
            await client.count(READY)
