"""The blob service: what SDKs upload, read and delete, and how they are refused."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from queued_world import Node, message, process

from cluster.limits import LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from queued_world import World
    from trio.testing import MockClock

    from cluster.gateway.http.messages import HttpResponse


def block_id(number: int) -> str:
    return base64.b64encode(b"%08d" % number).decode()


def listed(*numbers: int) -> bytes:
    items = "".join(f"<Latest>{block_id(number)}</Latest>" for number in numbers)
    return f'<?xml version="1.0" encoding="utf-8"?><BlockList>{items}</BlockList>'.encode()


async def put_block(world: World, number: int, data: bytes, name: str = "b") -> HttpResponse:
    path = f"ingestdata/{name}"
    return await world.send("PUT", path, data, comp="block", blockid=block_id(number))


async def test_put_and_read(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        headers = {
            "x-ms-blob-type": "BlockBlob",
            "content-type": "text/csv",
            "x-ms-version": "2026-04-06",
        }
        put = await world.send("PUT", "ingestdata/a b/c.csv", b"0123456789", headers=headers)
        assert (put.status, put.body) == (201, b"")
        assert put.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
        assert put.headers["x-ms-version"] == "2026-04-06"
        assert put.headers["x-ms-request-id"] == "activity"
        got = await world.send("GET", "ingestdata/a b/c.csv")
        assert (got.status, got.body, got.content_type) == (200, b"0123456789", "text/csv")
        assert got.headers["ETag"] == put.headers["ETag"]
        head = await world.send("HEAD", "ingestdata/a b/c.csv")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "10")


@pytest.mark.parametrize(
    ("text", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=9-9", 206, b"9", "bytes 9-9/10"),
        ("bytes=10-", 416, None, None),
        ("bytes=5-4", 416, None, None),
        ("lines=1-2", 200, b"0123456789", None),
        (f"bytes={'9' * 5000}-", 200, b"0123456789", None),
    ],
)
@pytest.mark.parametrize("name", ["range", "x-ms-range"])
async def test_ranges(
    autojump_clock: MockClock,
    tmp_path: Path,
    name: str,
    text: str,
    status: int,
    body: bytes | None,
    content_range: str | None,
) -> None:
    async with process(tmp_path, Node()) as world:
        await world.upload("a", b"0123456789")
        got = await world.send("GET", "ingestdata/a", headers={name: text})
        assert got.status == status
        assert got.headers.get("Content-Range") == content_range
        if body is not None:
            assert got.body == body


async def test_conditions(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        first = await world.send("PUT", "ingestdata/a", b"1", headers={"if-none-match": "*"})
        again = await world.send("PUT", "ingestdata/a", b"2", headers={"if-none-match": "*"})
        assert (first.status, again.status) == (201, 409)
        assert b"<Code>BlobAlreadyExists</Code>" in again.body
        assert again.content_type == "application/xml"
        assert again.headers["x-ms-error-code"] == "BlobAlreadyExists"
        tag = first.headers["ETag"]
        for header, value, status in (
            ("if-match", tag, 200),
            ("if-match", '"0x1"', 412),
            ("if-none-match", tag, 304),
            ("if-none-match", '"0x1"', 200),
        ):
            got = await world.send("GET", "ingestdata/a", headers={header: value})
            assert (got.status, header) == (status, header)
        assert (await world.send("GET", "ingestdata/a")).body == b"1"
        replaced = await world.send("PUT", "ingestdata/a", b"2")
        assert replaced.headers["ETag"] != tag


async def test_blocks_make_a_blob(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        for number, data in ((2, b"c"), (0, b"x"), (0, b"a"), (1, b"b"), (3, b"unused")):
            assert (await put_block(world, number, data)).status == 201
        assert (await world.send("GET", "ingestdata/b")).status == 404
        blocks = await world.send("GET", "ingestdata/b", comp="blocklist")
        assert blocks.body.count(b"<Block>") == 4
        made = await world.send("PUT", "ingestdata/b", listed(0, 1, 2), comp="blocklist")
        assert made.status == 201
        assert (await world.send("GET", "ingestdata/b")).body == b"abc"
        unknown = await world.send("PUT", "ingestdata/b", listed(3), comp="blocklist")
        assert (unknown.status, b"InvalidBlockList" in unknown.body) == (400, True)
        assert len(list((tmp_path / "blobs").iterdir())) == 1


@pytest.mark.parametrize(("count", "last"), [(2, 201), (3, 201), (4, 400)])
async def test_blocks_have_a_limit(
    autojump_clock: MockClock, tmp_path: Path, count: int, last: int
) -> None:
    limits = replace(LIMITS, storage_blocks=3)
    async with process(tmp_path, Node(), limits=limits) as world:
        statuses = [(await put_block(world, number, b"1")).status for number in range(count)]
        assert statuses[-1] == last
        too_many = await world.send("PUT", "ingestdata/b", listed(*[0] * count), comp="blocklist")
        assert too_many.status == (400 if count > 3 else 201)


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "headers", "code"),
    [
        ("PUT", "ingestdata/a", b"", {"comp": "block", "blockid": "ä"}, {}, "InvalidBlockId"),
        ("PUT", "ingestdata/a", b"", {"comp": "block"}, {}, "InvalidBlockId"),
        ("PUT", "ingestdata/a", b"no", {"comp": "blocklist"}, {}, "InvalidXmlDocument"),
        ("PUT", "ingestdata/a", b"\xff", {"comp": "blocklist"}, {}, "InvalidXmlDocument"),
        ("PUT", "ingestdata/a", b"", {"comp": "tags"}, {}, "NotImplemented"),
        ("PUT", "ingestdata/a", b"", {}, {"x-ms-copy-source": "x"}, "NotImplemented"),
        ("PUT", "ingestdata/a", b"", {}, {"x-ms-blob-type": "PageBlob"}, "InvalidHeaderValue"),
        ("PUT", "ingestdata/a", b"1", {}, {"content-md5": "x"}, "Md5Mismatch"),
        ("PUT", "ingestdata/" + "a" * 1025, b"1", {}, {}, "InvalidResourceName"),
        ("PUT", "ingestdata", b"", {"restype": "container"}, {}, "ContainerAlreadyExists"),
        ("DELETE", "ingestdata", b"", {"restype": "container"}, {}, "UnsupportedHttpVerb"),
        ("DELETE", "ingestdata/a", b"", {}, {}, "BlobNotFound"),
        ("GET", "ingestdata/a", b"", {}, {}, "BlobNotFound"),
        ("POST", "ingestdata/a", b"", {}, {}, "UnsupportedHttpVerb"),
        ("GET", "other/a", b"", {}, {}, "ResourceNotFound"),
    ],
)
async def test_refusals(
    autojump_clock: MockClock,
    tmp_path: Path,
    method: str,
    path: str,
    body: bytes,
    query: dict[str, str],
    headers: dict[str, str],
    code: str,
) -> None:
    async with process(tmp_path, Node()) as world:
        response = await world.send(method, path, body, headers=headers, **query)
        assert response.headers["x-ms-error-code"] == code
        assert f"<Code>{code}</Code>".encode() in response.body


@pytest.mark.parametrize("sas", ["", "sig=x", "se=2030-01-01T00%3A00%3A00Z&sp=r&sig=x"])
async def test_a_wrong_signature(autojump_clock: MockClock, tmp_path: Path, sas: str) -> None:
    async with process(tmp_path, Node()) as world:
        await world.upload("a")
        for method in ("GET", "PUT", "DELETE"):
            response = await world.send(method, "ingestdata/a", sas=sas)
            assert response.status == 403
            assert b"<Code>AuthenticationFailed</Code>" in response.body
        assert (await world.send("GET", "ingestdata/a")).body == b"1\n"


@pytest.mark.parametrize(
    ("letters", "allowed"),
    [("r", {"GET", "HEAD"}), ("w", {"PUT"}), ("c", {"PUT"}), ("d", {"DELETE"}), ("l", set())],
)
async def test_permissions(
    autojump_clock: MockClock, tmp_path: Path, letters: str, allowed: set[str]
) -> None:
    async with process(tmp_path, Node()) as world:
        await world.upload("a")
        sas = world.sas("ingestdata", letters)
        found = set()
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            response = await world.send(method, "ingestdata/a", sas=sas)
            if response.status < 300:
                found.add(method)
            else:
                assert response.headers["x-ms-error-code"] == "AuthorizationPermissionMismatch"
        assert found == allowed
        listing = await world.send(
            "GET", "ingestdata", sas=world.sas("ingestdata", "r"), comp="list"
        )
        assert listing.status == 403


async def test_the_md5_that_is_right(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        digest = base64.b64encode(hashlib.md5(b"1").digest()).decode()
        response = await world.send("PUT", "ingestdata/a", b"1", headers={"content-md5": digest})
        assert response.status == 201


async def test_containers(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        for name in ("b<1>", "a", "c/d"):
            await world.upload(name)
        found = await world.send("GET", "ingestdata", restype="container", comp="list")
        assert b"<Name>b&lt;1&gt;</Name>" in found.body
        assert found.body.count(b"<Blob>") == 3
        some = await world.send("GET", "ingestdata", comp="list", prefix="c/")
        assert some.body.count(b"<Blob>") == 1
        head = await world.send("HEAD", "ingestdata", restype="container")
        assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(("size", "status"), [(39, 201), (40, 201), (41, 503)])
async def test_all_blobs_together_have_a_limit(
    autojump_clock: MockClock, tmp_path: Path, size: int, status: int
) -> None:
    limits = replace(LIMITS, storage_bytes=100)
    async with process(tmp_path, Node(), limits=limits) as world:
        await put_block(world, 0, b"x" * 10, name="other")
        await world.upload("a", b"x" * 50)
        response = await world.send("PUT", "ingestdata/b", b"x" * size)
        assert response.status == status
        if status == 503:
            assert b"<Code>ServerBusy</Code>" in response.body


async def test_used_blobs_make_room(autojump_clock: MockClock, tmp_path: Path) -> None:
    limits = replace(LIMITS, storage_bytes=100)
    async with process(tmp_path, Node(), limits=limits) as world:
        await world.upload("used", b"x" * 60)
        await world.upload("new", b"x" * 30)
        world.service.files.use("ingestdata", "used")
        assert (await world.send("PUT", "ingestdata/b", b"x" * 70)).status == 201
        assert (await world.send("HEAD", "ingestdata/used")).status == 404
        assert (await world.send("HEAD", "ingestdata/new")).status == 200


async def test_blobs_that_other_messages_wait_for_make_no_room(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """One blob may be ingested into several tables, and again later."""
    limits = replace(LIMITS, storage_bytes=100)
    node = Node()
    async with process(tmp_path, node, limits=limits) as world:
        address = await world.upload("a", b"x" * 60)
        await world.put_message(message(address, "1"))
        await world.put_message(message(address, "2", flush=False, TableName="U"))
        await trio.sleep(2)
        assert (await world.send("PUT", "ingestdata/b", b"x" * 70)).status == 503
    async with process(tmp_path, node, limits=limits) as world:
        assert (await world.send("PUT", "ingestdata/b", b"x" * 70)).status == 503
        await trio.sleep(301)
        await world.put_message(message(address, "3", flush=False))
        assert (await world.send("PUT", "ingestdata/b", b"x" * 70)).status == 503
        await trio.sleep(301)
        assert node.arrived == ["a", "a", "a"]
        assert (await world.send("PUT", "ingestdata/b", b"x" * 70)).status == 201


async def test_files_that_nothing_names_go_at_the_start(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with process(tmp_path, Node()) as world:
        await world.upload("a", b"kept")
    (tmp_path / "blobs" / "half-written").write_bytes(b"x")
    async with process(tmp_path, Node()) as world:
        assert len(list((tmp_path / "blobs").iterdir())) == 1
        assert (await world.send("GET", "ingestdata/a")).body == b"kept"


@pytest.mark.parametrize(("size", "status"), [(9, 200), (10, 200), (11, 416)])
async def test_one_answer_is_bounded(
    autojump_clock: MockClock, tmp_path: Path, size: int, status: int
) -> None:
    limits = replace(LIMITS, storage_body_bytes=10)
    async with process(tmp_path, Node(), limits=limits) as world:
        await world.upload("a", b"x" * size)
        assert (await world.send("GET", "ingestdata/a")).status == status
        assert (
            await world.send("GET", "ingestdata/a", headers={"range": "bytes=0-9"})
        ).status == 206 - (size < 0)
        assert (await world.send("HEAD", "ingestdata/a")).status == 200
