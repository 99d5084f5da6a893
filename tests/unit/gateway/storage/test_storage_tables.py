"""The table service: rows of the status table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from queued_world import Node, process

from cluster.limits import LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from queued_world import World
    from trio.testing import MockClock

    from cluster.gateway.http.messages import HttpResponse

TABLE = "ingestionsstatus"


async def insert(
    world: World, partition: str = "p", row: str = "r", **more: object
) -> HttpResponse:
    body = {"PartitionKey": partition, "RowKey": row, **more}
    return await world.send("POST", TABLE, json.dumps(body).encode())


def at(partition: str = "p", row: str = "r") -> str:
    return f"{TABLE}(PartitionKey='{partition}',RowKey='{row}')"


async def test_insert_and_get(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        response = await insert(world, Status="Pending")
        assert (response.status, response.body) == (204, b"")
        again = await insert(world, Status="Pending")
        assert (again.status, again.content_type) == (409, "application/json")
        assert json.loads(again.body)["odata.error"]["code"] == "EntityAlreadyExists"
        found = await world.send("GET", at())
        body = json.loads(found.body)
        assert (body["PartitionKey"], body["RowKey"], body["Status"]) == ("p", "r", "Pending")
        assert body["Timestamp"] == "2023-11-14T22:13:20.0000000Z"
        assert body["odata.etag"] == found.headers["ETag"]


async def test_content_is_returned_to_who_asks_for_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with process(tmp_path, Node()) as world:
        body = json.dumps({"PartitionKey": "p", "RowKey": "r", "A": 1}).encode()
        headers = {"prefer": "return-content"}
        response = await world.send("POST", TABLE, body, headers=headers)
        assert response.status == 201
        assert json.loads(response.body)["A"] == 1


@pytest.mark.parametrize(
    ("method", "expected"),
    [("MERGE", {"A": 1, "B": 3}), ("PATCH", {"A": 1, "B": 3}), ("PUT", {"B": 3})],
)
async def test_merge_and_update(
    autojump_clock: MockClock, tmp_path: Path, method: str, expected: dict[str, int]
) -> None:
    async with process(tmp_path, Node()) as world:
        await insert(world, A=1, B=2)
        assert (await world.send(method, at(), b'{"B": 3}')).status == 204
        found = json.loads((await world.send("GET", at())).body)
        assert {name: found[name] for name in ("A", "B") if name in found} == expected
        missing = await world.send(method, at("x"), b'{"B": 3}', headers={"if-match": "*"})
        assert missing.status == 404
        assert (await world.send(method, at("x"), b'{"B": 3}')).status == 204
        assert json.loads((await world.send("GET", at("x"))).body)["B"] == 3


@pytest.mark.parametrize("key", ["a/b", "/", "a''b", "\u20ac"])
async def test_keys_are_any_text(autojump_clock: MockClock, tmp_path: Path, key: str) -> None:
    async with process(tmp_path, Node()) as world:
        await insert(world, key.replace("''", "'"), key.replace("''", "'"))
        assert (await world.send("GET", at(key, key))).status == 200


async def test_a_list_looks_at_all_rows(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.gateway.storage.tables._LISTED", 2)
    async with process(tmp_path, Node()) as world:
        for row in "abcd":
            await insert(world, "p", row)
        await insert(world, "z", "z")
        found = await world.send("GET", TABLE, **{"$filter": "PartitionKey eq 'z'"})
        assert [item["RowKey"] for item in json.loads(found.body)["value"]] == ["z"]


async def test_delete_and_list(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        for row in ("it''s", "b", "a"):
            await insert(world, row=row.replace("''", "'"))
        everything = json.loads((await world.send("GET", f"{TABLE}")).body)["value"]
        assert [item["RowKey"] for item in everything] == ["a", "b", "it's"]
        for text, rows in (
            ("PartitionKey eq 'p' and RowKey eq 'it''s'", ["it's"]),
            ("(PartitionKey eq 'p') and (RowKey eq 'nothing')", []),
            ("RowKey eq 'b'", ["b"]),
        ):
            found = await world.send("GET", TABLE, **{"$filter": text})
            assert [item["RowKey"] for item in json.loads(found.body)["value"]] == rows
        refused = await world.send("GET", TABLE, **{"$filter": "A gt 5"})
        assert refused.status == 501
        assert (await world.send("DELETE", at(row="it''s"))).status == 204
        assert (await world.send("DELETE", at(row="it''s"))).status == 404
        assert (await world.send("GET", at(row="it''s"))).status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", TABLE, b"no", 400),
        ("POST", TABLE, b"[]", 400),
        ("POST", TABLE, b'{"PartitionKey": 1, "RowKey": "r"}', 400),
        ("POST", TABLE, b'{"PartitionKey": "p"}', 400),
        ("POST", TABLE, b'{"PartitionKey": "\\ud800", "RowKey": "r"}', 400),
        ("GET", f"{TABLE}(PartitionKey='p')", b"", 404),
        ("GET", f"{TABLE}/x", b"", 404),
        ("DELETE", TABLE, b"", 405),
        ("POST", at(), b"{}", 405),
        ("PUT", at(), b"no", 400),
    ],
)
async def test_refusals(
    autojump_clock: MockClock, tmp_path: Path, method: str, path: str, body: bytes, status: int
) -> None:
    async with process(tmp_path, Node()) as world:
        response = await world.send(method, path, body)
        assert response.status == status
        assert "odata.error" in json.loads(response.body)


@pytest.mark.parametrize(("size", "status"), [(99, 204), (100, 204), (101, 413)])
async def test_rows_have_a_size(
    autojump_clock: MockClock, tmp_path: Path, size: int, status: int
) -> None:
    limits = replace(LIMITS, storage_message_bytes=100)
    async with process(tmp_path, Node(), limits=limits) as world:
        body = b'{"PartitionKey": "p", "RowKey": "r"}'.ljust(size)
        assert (await world.send("POST", TABLE, body)).status == status


@pytest.mark.parametrize(("count", "oldest"), [(2, 200), (3, 200), (4, 404)])
async def test_the_oldest_rows_go(
    autojump_clock: MockClock, tmp_path: Path, count: int, oldest: int
) -> None:
    limits = replace(LIMITS, storage_entities=3)
    async with process(tmp_path, Node(), limits=limits) as world:
        for number in range(count):
            await insert(world, row=str(number))
        assert (await world.send("GET", at(row="0"))).status == oldest


async def test_signatures(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        await insert(world)
        for method, letters, status in (
            ("GET", "r", 200), ("GET", "a", 403), ("MERGE", "r", 403), ("DELETE", "u", 403),
        ):  # fmt: skip
            response = await world.send(method, at(), b"{}", sas=world.sas(TABLE, letters))
            assert response.status == status
