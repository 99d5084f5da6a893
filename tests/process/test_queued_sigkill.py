"""Queued ingestion on a real node that is killed: every blob that was queued arrives exactly once.

The client is what an SDK is: it repeats a request until it is answered, so it also sends again what
the node had taken before it was killed.
"""

from __future__ import annotations

import base64
import json
import random
import time
import uuid
from typing import TYPE_CHECKING

import pytest
import requests
import trio

if TYPE_CHECKING:
    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

BLOBS, ROWS_A_BLOB = 60, 50
ONE_KILL, KILLS = 1, 3
PATIENCE_SECONDS = 60.0


class QueuedClient:
    """Queues blobs of numbers, one by one, in a thread. ``reached``: so many are queued."""

    def __init__(self, url: str, database: str) -> None:
        self.url, self.database = url, database
        self.reached = {number: trio.Event() for number in range(1, BLOBS)}
        self.again = 0
        text = json.dumps({"csl": ".get ingestion resources"})
        answer = requests.post(f"{url}/v1/rest/mgmt", data=text, timeout=10).json()
        self.resources = dict(answer["Tables"][0]["Rows"])

    def run(self) -> None:
        """Queues all of them."""
        container, _, sas = self.resources["TempStorage"].partition("?")
        queue, _, queue_sas = self.resources["SecuredReadyForAggregationQueue"].partition("?")
        for number in range(BLOBS):
            first = number * ROWS_A_BLOB
            data = "".join(f"{n},x\n" for n in range(first, first + ROWS_A_BLOB))
            address = f"{container}/{number}.csv?{sas}"
            self.until_created("PUT", address, data)
            body = {
                "BlobPath": address,
                "DatabaseName": self.database,
                "TableName": "T",
                "FlushImmediately": True,
                "RetainBlobOnSuccess": number % 2 == 0,
                "ReportLevel": 2,
                "Id": str(uuid.uuid4()),
                "AdditionalProperties": {"format": "csv", "tags": f'["{number % 3}"]'},
            }
            text = base64.b64encode(json.dumps(body).encode()).decode()
            message = f"<QueueMessage><MessageText>{text}</MessageText></QueueMessage>"
            self.until_created("POST", f"{queue}/messages?{queue_sas}", message)
            if number in self.reached:
                trio.from_thread.run_sync(self.reached[number].set)

    def until_created(self, method: str, address: str, data: str) -> None:
        """Repeats a request until it is answered; a node that is down refuses connections."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                response = requests.request(method, address, data=data, timeout=10)
            except requests.ConnectionError:
                self.again += 1
                time.sleep(0.02)
                continue
            assert response.status_code == 201, response.text
            return
        raise AssertionError("the node did not come back")


async def reported(client: QueuedClient) -> list[str]:
    """Source paths of the database in the queue of successes, which every database shares."""
    queue, _, sas = client.resources["SuccessfulIngestionsQueue"].partition("?")
    address = f"{queue}/messages?{sas}&numofmessages=32&visibilitytimeout=600"
    found: list[str] = []
    while True:
        text = (await trio.to_thread.run_sync(lambda: requests.get(address, timeout=10))).text
        pieces = text.split("<MessageText>")[1:]
        if not pieces:
            return found
        reports = [json.loads(base64.b64decode(piece.partition("<")[0])) for piece in pieces]
        found += [
            report["IngestionSourcePath"]
            for report in reports
            if report["Database"] == client.database
        ]


@pytest.mark.parametrize("kills", [ONE_KILL, pytest.param(KILLS, marks=pytest.mark.slow)])
async def test_every_blob_arrives_exactly_once(
    local_setup: LocalSetup, processes: tuple[Launcher, Setup], kills: int
) -> None:
    database, leader = local_setup.database, local_setup.client("leader")
    await leader.command("", f".create database {database}")
    await leader.command(database, ".create table T (n: long, name: string)")
    client = QueuedClient(processes[1].node_of("leader").http, database)
    rng = random.Random(5)
    total = BLOBS * ROWS_A_BLOB
    with trio.fail_after(4 * PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, client.run)
            for number in range(1, kills + 1):
                await client.reached[number * BLOBS // (kills + 1)].wait()
                await trio.sleep(rng.uniform(0, 0.3))
                await local_setup.kill("leader/0")
                await local_setup.start("leader/0")
        rows = 0
        while rows < total:
            await trio.sleep(0.05)
            rows = await numbers(local_setup, "T | count")
        # A report is written with the end of its message: none is left that could add a row.
        paths: list[str] = []
        while len(paths) < BLOBS:
            paths += await reported(client)
    assert client.again > 0
    assert len(set(paths)) == len(paths) == BLOBS
    assert await numbers(local_setup, "T | count") == total
    assert await numbers(local_setup, "T | summarize c = count() by n | count") == total
    text = f".show ingestion failures | where Database == '{database}'"
    failures = await leader.command(database, text)
    assert failures.rows() == []


async def numbers(local_setup: LocalSetup, query: str) -> int:
    """The one number that a query gives."""
    result = await local_setup.client("leader").query(local_setup.database, query)
    value = result.scalar()
    assert isinstance(value, int)
    return value
