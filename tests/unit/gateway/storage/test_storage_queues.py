"""The queue service: messages of status queues, and messages about blobs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from queued_world import Node, process

from cluster.limits import LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from queued_world import World
    from trio.testing import MockClock

    from cluster.gateway.http.messages import HttpResponse

QUEUE = "failed-ingestions"


def fields(response: HttpResponse, name: str) -> list[str]:
    return re.findall(f"<{name}>(.*?)</{name}>", response.body.decode())


async def put(world: World, text: str = "hi", **query: str) -> HttpResponse:
    body = f"<QueueMessage><MessageText>{text}</MessageText></QueueMessage>".encode()
    return await world.send("POST", f"{QUEUE}/messages", body, **query)


async def test_put_take_delete(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        first = await put(world, "a&amp;b")
        assert (first.status, first.content_type) == (201, "application/xml")
        assert fields(first, "InsertionTime") == ["Tue, 14 Nov 2023 22:13:20 GMT"]
        await put(world, "second")
        peeked = await world.send("GET", f"{QUEUE}/messages", peekonly="true", numofmessages="9")
        assert fields(peeked, "MessageText") == ["a&amp;b", "second"]
        assert fields(peeked, "PopReceipt") == []
        taken = await world.send("GET", f"{QUEUE}/messages")
        assert fields(taken, "MessageId") == fields(first, "MessageId")
        assert fields(taken, "DequeueCount") == ["1"]
        rest = await world.send("GET", f"{QUEUE}/messages", numofmessages="9")
        assert fields(rest, "MessageText") == ["second"]
        path = f"{QUEUE}/messages/{fields(taken, 'MessageId')[0]}"
        wrong = await world.send("DELETE", path, popreceipt="x")
        assert (wrong.status, wrong.headers["x-ms-error-code"]) == (404, "MessageNotFound")
        deleted = await world.send("DELETE", path, popreceipt=fields(taken, "PopReceipt")[0])
        assert deleted.status == 204
        count = await world.send("GET", QUEUE, comp="metadata")
        assert count.headers["x-ms-approximate-messages-count"] == "1"


async def test_what_was_taken_comes_back(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        await put(world)
        taken = await world.send("GET", f"{QUEUE}/messages", visibilitytimeout="10")
        await trio.sleep(9.9)
        assert fields(await world.send("GET", f"{QUEUE}/messages"), "MessageId") == []
        await trio.sleep(0.2)
        again = await world.send("GET", f"{QUEUE}/messages", visibilitytimeout="10")
        assert fields(again, "DequeueCount") == ["2"]
        path = f"{QUEUE}/messages/{fields(again, 'MessageId')[0]}"
        assert (
            await world.send("DELETE", path, popreceipt=fields(taken, "PopReceipt")[0])
        ).status == 404
        body = b"<QueueMessage><MessageText>new</MessageText></QueueMessage>"
        changed = await world.send(
            "PUT", path, body, popreceipt=fields(again, "PopReceipt")[0], visibilitytimeout="0"
        )
        assert changed.status == 204
        assert fields(await world.send("GET", f"{QUEUE}/messages"), "MessageText") == ["new"]
        path = f"{QUEUE}/messages/nothing"
        assert (await world.send("PUT", path, popreceipt="x", visibilitytimeout="0")).status == 404


async def test_hidden_and_expired(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        await put(world, "late", visibilitytimeout="5")
        await put(world, "short", messagettl="3")
        await put(world, "ever", messagettl="-1")

        async def seen() -> list[str]:
            found = await world.send("GET", f"{QUEUE}/messages", peekonly="true", numofmessages="9")
            return fields(found, "MessageText")

        assert await seen() == ["short", "ever"]
        await trio.sleep(4)
        assert await seen() == ["ever"]
        await trio.sleep(2)
        assert await seen() == ["late", "ever"]
        await world.send("DELETE", f"{QUEUE}/messages")
        assert await seen() == []


@pytest.mark.parametrize(("size", "status"), [(9, 201), (10, 201), (11, 413)])
async def test_messages_have_a_size(
    autojump_clock: MockClock, tmp_path: Path, size: int, status: int
) -> None:
    async with process(tmp_path, Node(), limits=replace(LIMITS, storage_message_bytes=10)) as world:
        assert (await put(world, "x" * size)).status == status


async def test_a_queue_that_is_full(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node(), limits=replace(LIMITS, storage_messages=2)) as world:
        assert [(await put(world)).status for _ in range(3)] == [201, 201, 503]


async def test_of_reports_the_oldest_go(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node(), limits=replace(LIMITS, storage_messages=2)) as world:
        for name in "abc":
            await world.queue(name)
            await trio.sleep(2)
        found = await world.reports("successful-ingestions")
        assert [item["IngestionSourceId"] for item in found] == ["b", "c"]


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "code"),
    [
        ("POST", "messages", b"text", {}, "InvalidXmlDocument"),
        ("POST", "messages", b"\xff", {}, "InvalidXmlDocument"),
        ("GET", "messages", b"", {"numofmessages": "0"}, "OutOfRangeQueryParameterValue"),
        ("GET", "messages", b"", {"numofmessages": "33"}, "OutOfRangeQueryParameterValue"),
        ("GET", "messages", b"", {"numofmessages": "x"}, "InvalidQueryParameterValue"),
        ("GET", "messages", b"", {"visibilitytimeout": "0"}, "OutOfRangeQueryParameterValue"),
        ("PUT", "messages", b"", {}, "UnsupportedHttpVerb"),
        ("GET", "messages/x", b"", {}, "UnsupportedHttpVerb"),
        ("GET", "other", b"", {}, "ResourceNotFound"),
        ("DELETE", "", b"", {}, "UnsupportedHttpVerb"),
    ],
)
async def test_refusals(
    autojump_clock: MockClock,
    tmp_path: Path,
    method: str,
    path: str,
    body: bytes,
    query: dict[str, str],
    code: str,
) -> None:
    async with process(tmp_path, Node()) as world:
        response = await world.send(method, f"{QUEUE}/{path}".rstrip("/"), body, **query)
        assert response.headers["x-ms-error-code"] == code


async def test_an_empty_message_and_a_queue_that_is_there(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with process(tmp_path, Node()) as world:
        body = b"<QueueMessage><MessageText /></QueueMessage>"
        assert (await world.send("POST", f"{QUEUE}/messages", body)).status == 201
        assert (await world.send("PUT", QUEUE)).status == 204


async def test_clients_only_add_to_the_queue_of_blobs(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    ready = "readyforaggregation-secured"
    async with process(tmp_path, Node()) as world:
        sas = world.sas(ready, "a")
        for method, path in (("GET", "messages"), ("DELETE", "messages"), ("DELETE", "messages/x")):
            assert (await world.send(method, f"{ready}/{path}", sas=sas)).status == 403
        wrong = await world.send("POST", f"{ready}/messages", sas=world.sas(QUEUE))
        assert wrong.status == 403
