"""Queued ingestion over REST on a real node, as Java's preview client does it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests
import trio

if TYPE_CHECKING:
    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

PATIENCE_SECONDS = 30.0


async def test_blobs_of_an_operation_arrive_and_their_status_tells_it(
    local_setup: LocalSetup, processes: tuple[Launcher, Setup]
) -> None:
    leader, database = local_setup.client("leader"), local_setup.database
    await leader.command("", f".create database {database}")
    await leader.command(database, ".create table T (n: long)")
    url = f"{processes[1].node_of('leader').http}/v1/rest/ingestion"
    found = await trio.to_thread.run_sync(status_of_two_blobs, url, database)
    assert found["status"] == {"succeeded": 2, "failed": 0, "inProgress": 0, "canceled": 0}
    assert [detail["sourceId"] for detail in found["details"]] == ["one id", "one id"]
    assert (await leader.query(database, "T | summarize sum(n)")).scalar() == 3


def status_of_two_blobs(url: str, database: str) -> dict[str, object]:
    """Uploads, queues and waits; both blobs have one source id, as nobody has to make guids."""
    settings = requests.get(f"{url}/configuration", timeout=10).json()
    container, _, sas = settings["containerSettings"]["containers"][0]["path"].partition("?")
    blobs = []
    for number in (1, 2):
        address = f"{container}/rest-{number}.csv?{sas}"
        assert requests.put(address, data=f"{number}\n", timeout=10).status_code == 201
        blobs.append({"url": address, "sourceId": "one id"})
    body = {
        "blobs": blobs,
        "properties": {"format": "csv", "enableTracking": True, "skipBatching": True},
    }
    table = f"{url}/queued/{database}/T"
    response = requests.post(table, json=body, timeout=10)
    assert response.status_code == 200, response.text
    operation = response.json()["ingestionOperationId"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = requests.get(f"{table}/{operation}?details=true", timeout=10).json()
        if not found["status"]["inProgress"]:
            return dict(found)
        time.sleep(0.05)
    raise AssertionError("the operation did not end")
