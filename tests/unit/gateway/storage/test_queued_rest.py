"""Queued ingestion over REST: configuration, operations, what has become of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from queued_world import ORIGIN, Node, process

from cluster.access.permissions import INGEST
from cluster.errors import (
    AccessDeniedError,
    CorruptedMessageError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    MalformedPayloadError,
    RemoraError,
)
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.http.routes import Routes
from cluster.gateway.rest.headers import anybody
from cluster.gateway.rest.queued import QueuedRest
from cluster.limits import LIMITS
from cluster.queued.resources import BuiltInAddresses, StorageResources

if TYPE_CHECKING:
    from pathlib import Path

    from queued_world import World
    from trio.testing import MockClock

TABLE = "/v1/rest/ingestion/queued/D/T"


def authorize(request: HttpRequest, permission: str, database: str, table: str) -> None:
    if (permission, database, table) != (INGEST, "D", "T"):
        raise AccessDeniedError("no")


async def ask(world: World, method: str, path: str, body: object = None, **query: str) -> Any:
    limits = replace(LIMITS, queued_request_blobs=3)
    signer = world.service.signer
    rest = QueuedRest(
        world.service,
        StorageResources(
            signer, BuiltInAddresses(signer, lambda: ""), clock=world.clock, limits=limits
        ),
        authenticate=anybody,
        authorize=authorize,
        limits=limits,
    )
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = HttpRequest(method, path, query, {"host": ORIGIN.removeprefix("http://")}, data)
    return json.loads((await Routes(rest.routes()).answer(request)).body)


async def blobs(world: World, *names: str) -> list[dict[str, object]]:
    return [{"url": await world.upload(name), "sourceId": name, "rawSize": 2} for name in names]


async def test_configuration(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        found = await ask(world, "GET", "/v1/rest/ingestion/configuration")
        (container,) = found["containerSettings"]["containers"]
        assert container["path"].startswith(f"{ORIGIN}/devstoreaccount1/ingestdata?")
        assert found["containerSettings"]["preferredUploadMethod"] == "Storage"
        assert found["ingestionSettings"]["maxBlobsPerBatch"] == 3


async def test_an_operation_that_is_tracked(autojump_clock: MockClock, tmp_path: Path) -> None:
    node = Node(bad={"bad"}, bad_error=MalformedPayloadError("It is bad."))
    async with process(tmp_path, node) as world:
        properties = {"format": "csv", "enableTracking": True, "skipBatching": True, "tags": ["x"]}
        body = {"blobs": await blobs(world, "a", "bad"), "properties": properties}
        operation = (await ask(world, "POST", TABLE, body))["ingestionOperationId"]
        path = f"{TABLE}/{operation}"
        assert (await ask(world, "GET", path))["status"] == {
            "succeeded": 0, "failed": 0, "inProgress": 2, "canceled": 0,
        }  # fmt: skip
        await trio.sleep(2)
        found = await ask(world, "GET", path.upper().replace(TABLE.upper(), TABLE), details="true")
        assert found["status"] == {"succeeded": 1, "failed": 1, "inProgress": 0, "canceled": 0}
        assert found["startTime"] < found["lastUpdated"]
        good, bad = found["details"]
        assert (good["sourceId"], good["status"]) == ("a", "Succeeded")
        assert (bad["status"], bad["details"]) == ("Failed", "It is bad.")
        assert bad["errorCode"] == "BadRequest_NoRecordsOrWrongFormat"
        assert node.requests[0].properties.tags == ("x",)


async def test_an_operation_that_is_not_tracked(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        body = {"blobs": await blobs(world, "a"), "properties": {"skipBatching": True}}
        assert await ask(world, "POST", TABLE, body) == {"ingestionOperationId": ""}
        await trio.sleep(2)
        assert world.node.arrived == ["a"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"no", InvalidRequestError),
        ([], InvalidRequestError),
        ({"blobs": []}, InvalidRequestError),
        ({"blobs": ["x"]}, InvalidRequestError),
        ({"blobs": [{"sourceId": "x"}]}, InvalidRequestError),
        ({"blobs": [{"url": "x", "sourceId": 5}]}, InvalidRequestError),
        ({"blobs": [{"url": "x"}, {"url": "http://[zz]/a"}]}, CorruptedMessageError),
        ({"blobs": [{"url": "x", "sourceId": "\ud800"}]}, CorruptedMessageError),
        ({"blobs": [{"url": "x", "rawSize": "5"}]}, InvalidRequestError),
        ({"blobs": [{"url": "x"}], "properties": []}, None),
        ({"blobs": [{"url": "x"}], "properties": "x"}, InvalidRequestError),
        ({"blobs": [{"url": "x"}] * 3}, None),
        ({"blobs": [{"url": "x"}] * 4}, LimitExceededError),
    ],
)
async def test_requests(
    autojump_clock: MockClock, tmp_path: Path, body: object, kind: type[RemoraError] | None
) -> None:
    async with process(tmp_path, Node()) as world:
        if kind is None:
            assert await ask(world, "POST", TABLE, body) == {"ingestionOperationId": ""}
        else:
            with pytest.raises(kind):
                await ask(world, "POST", TABLE, body)


async def test_who_may_not(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        for method, path in (("POST", ""), ("GET", "/8a7e2f10-0000-4000-8000-00000000000d")):
            with pytest.raises(AccessDeniedError):
                await ask(world, method, TABLE.replace("/T", "/U") + path, {})


@pytest.mark.parametrize("operation", ["x", "8a7e2f10-0000-4000-8000-00000000000d"])
async def test_no_operation(autojump_clock: MockClock, tmp_path: Path, operation: str) -> None:
    async with process(tmp_path, Node()) as world:
        with pytest.raises(EntityNotFoundError):
            await ask(world, "GET", f"{TABLE}/{operation}")
