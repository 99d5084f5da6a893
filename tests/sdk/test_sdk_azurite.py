"""Queued clients that upload to a real Azurite, unmodified: every row arrives, and arrives once."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from azure.kusto.data import KustoClient
from azure.kusto.data.data_format import DataFormat
from azure.kusto.data.exceptions import KustoServiceError
from azure.kusto.ingest import (
    IngestionProperties,
    IngestionStatus,
    ManagedStreamingIngestClient,
    QueuedIngestClient,
    ReportLevel,
)
from azure.kusto.ingest.status import KustoIngestStatusQueues
from azure.storage.queue import BinaryBase64EncodePolicy, QueueClient
from azurite_account import ACCOUNT, KEY, AzuriteClusters
from sdk_setup import PATIENCE, following, sdk_call

from cluster.launcher.setup import STATE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.testing.kusto import KustoPair

COUNT = "T | summarize count(), dcount(a)"


class World:
    """A database on the leader that the follower follows, and clients of it."""

    def __init__(self, clusters: AzuriteClusters, pair: KustoPair) -> None:
        self.clusters, self.azurite, self.pair = clusters, clusters.azurite, pair
        self.url = clusters.url("leader")
        pair.leader.command(".create table T (a: int, b: string)")
        pair.leader.command(".alter table T policy streamingingestion enable")

    def properties(self, **more: Any) -> IngestionProperties:
        more = {"data_format": DataFormat.CSV, "flush_immediately": True, **more}
        return IngestionProperties(
            self.pair.database, "T", report_level=ReportLevel.FailuresAndSuccesses, **more
        )

    def resources(self) -> dict[str, str]:
        with KustoClient(self.url) as client:
            answer = client.execute("NetDefaultDB", ".get ingestion resources")
            return {row[0]: row[1] for row in answer.primary_results[0]}

    def kill_and_start(self) -> None:
        """SIGKILL for the leader, and its next start."""
        session = self.clusters
        session.portal.run(session.launcher.kill, "leader/0")
        session.portal.run(session.launcher.start, "leader/0")

    def followed(self, query: str) -> list[list[Any]]:
        self.pair.wait_until_followed()
        return [list(row) for row in self.pair.follower.query(query).rows()]

    def queue(self) -> QueueClient:
        """The account's, for whoever has its key."""
        text = self.azurite.connection_string
        name = self.resources()["SecuredReadyForAggregationQueue"].partition("?")[0]
        return QueueClient.from_connection_string(text, name.rpartition("/")[2])

    def queued_messages(self) -> int:
        """Those in the account, hidden ones included."""
        with self.queue() as queue:
            return queue.get_queue_properties().approximate_message_count or 0

    def visible_messages(self) -> int:
        """Those that nobody has taken."""
        with self.queue() as queue:
            return len(queue.peek_messages(32))

    def log(self) -> str:
        """What the leader has logged since the test began."""
        return self.clusters.logs().get("leader/0", "")


def until(condition: Callable[[], object], what: str) -> Any:
    """What ``condition`` gives when it gives something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


@pytest.fixture(scope="module")
def azurite_clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteClusters]:
    session = AzuriteClusters(tmp_path_factory.mktemp("azurite") / "session")
    yield session
    session.close()


@pytest.fixture
def world(azurite_clusters: AzuriteClusters) -> Iterator[World]:
    with following(azurite_clusters) as pair:
        yield World(azurite_clusters, pair)


def usable(world: World) -> bool:
    try:
        return bool(world.resources())
    except KustoServiceError:
        return False


@sdk_call("python", "QueuedIngestClient.ingest_from_stream", "works", "uploads to Azurite")
@sdk_call("python", "ManagedStreamingIngestClient.ingest_from_stream", "works", "queued in Azurite")
def test_queued_and_managed_clients_upload_to_azurite(world: World) -> None:
    text = os.urandom(5 << 20).hex()  # 10 MiB, and more than 4 when compressed
    large = "".join(f"{9},{text[at : at + 65536]}\n" for at in range(0, len(text), 65536))
    with (
        QueuedIngestClient(world.url) as queued,
        ManagedStreamingIngestClient(world.url) as managed,
    ):
        queued.ingest_from_stream(io.BytesIO(b"1,a\n2,b\n"), world.properties())
        result = managed.ingest_from_stream(io.StringIO(large), world.properties())
        assert result.status is IngestionStatus.QUEUED
        queued.ingest_from_stream(io.BytesIO(b'1,"never closed\n'), world.properties())
        rows = 2 + large.count("\n")
        world.pair.leader.wait_for_rows("T", rows)
        told = KustoIngestStatusQueues(queued)
        successes = []
        until(lambda: successes.extend(told.success.pop(10)) or len(successes) == 2, "2 successes")
        (failure,) = until(lambda: told.failure.pop(10), "a failure")
    assert failure.ErrorCode == "Stream_ClosingQuoteMissing"
    assert failure.Database == world.pair.database
    assert world.followed("T | summarize count(), sum(strlen(b))") == [[rows, len(text) + 2]]
    until(lambda: not world.queued_messages(), "the queue is empty")
    addresses = world.resources().values()
    assert all(address.startswith(tuple(world.azurite.endpoints.values())) for address in addresses)


def test_the_status_table_tells_the_end(world: World) -> None:
    """As the SDKs of Java and Go ask for it: they name a row in the message."""
    found, source = world.resources(), str(uuid.uuid4())
    blob = found["TempStorage"].replace("?", f"/{source}.csv?", 1)
    headers = {"x-ms-blob-type": "BlockBlob"}
    assert requests.put(blob, b"7,x\n", headers=headers, timeout=10).status_code == 201
    body = {
        "BlobPath": blob, "DatabaseName": world.pair.database, "TableName": "T", "Id": source,
        "FlushImmediately": True, "RetainBlobOnSuccess": False, "ReportLevel": 2, "ReportMethod": 1,
        "IngestionStatusInTable": {
            "TableConnectionString": found["IngestionsStatusTable"],
            "PartitionKey": source,
            "RowKey": source,
        },
    }  # fmt: skip
    address = found["SecuredReadyForAggregationQueue"]
    policy = BinaryBase64EncodePolicy()
    with QueueClient.from_queue_url(address, message_encode_policy=policy) as queue:
        queue.send_message(json.dumps(body).encode())
        queue.send_message(base64.b64decode("bm90IGEgbWVzc2FnZQ=="))  # is deleted all the same
    table, _, sas = found["IngestionsStatusTable"].partition("?")
    row = f"{table}(PartitionKey='{source}',RowKey='{source}')?{sas}"

    def status() -> dict[str, Any] | None:
        answer = requests.get(row, headers={"Accept": "application/json"}, timeout=10)
        return answer.json() if answer.status_code == 200 else None

    entity = until(status, "a row of the status table")
    assert (entity["Status"], entity["IngestionSourceId"]) == ("Succeeded", source)
    until(lambda: not world.queued_messages(), "the queue is empty")
    until(lambda: requests.head(blob, timeout=10).status_code == 404, "the blob is deleted")
    assert world.followed("T") == [[7, "x"]]


def test_a_node_that_is_killed_ingests_each_row_once(world: World) -> None:
    blobs, kills = 16, 2
    queued_blobs: list[int] = []

    def send() -> None:
        with QueuedIngestClient(world.url) as client:
            for number in range(blobs):
                lines = "".join(f"{10 * number + row},x\n" for row in range(10))
                client.ingest_from_stream(io.StringIO(lines), world.properties())
                queued_blobs.append(number)
                time.sleep(0.1)

    sender = threading.Thread(target=send, daemon=True)
    world.resources()
    sender.start()
    for kill in range(1, kills + 1):
        until(lambda kill=kill: len(queued_blobs) >= kill * blobs // 3, "blobs are queued")
        world.kill_and_start()
    sender.join()
    world.pair.leader.wait_for_rows("T", 10 * blobs)
    until(lambda: not world.queued_messages(), "the queue is empty")
    assert world.followed(COUNT) == [[10 * blobs, 10 * blobs]]


def test_nothing_is_lost_while_azurite_is_away(world: World) -> None:
    with QueuedIngestClient(world.url) as client:
        for number in range(5):
            data = io.StringIO(f"{number},x\n")
            client.ingest_from_stream(data, world.properties(flush_immediately=False))
        until(lambda: not world.visible_messages(), "the node has taken them")
        world.azurite.stop()
        refusal = until(lambda: refused(world), "the node says that nothing can be uploaded")
        assert f"storage account {ACCOUNT}" in refusal
        # Five are a batch from now on, and its blobs cannot be read.
        world.pair.leader.command(
            """.alter table T policy ingestionbatching '{"MaximumNumberOfItems": 5}'"""
        )
        until(lambda: "is tried again" in world.log(), "an attempt has failed")
        assert world.pair.leader.query("T | count").scalar() == 0
        world.azurite.start()
        world.pair.leader.wait_for_rows("T", 5)
        until(lambda: usable(world), "the account is usable again")
        client.ingest_from_stream(io.StringIO("5,x\n"), world.properties())
        world.pair.leader.wait_for_rows("T", 6)
    until(lambda: not world.queued_messages(), "the queue is empty")
    assert world.followed(COUNT) == [[6, 6]]
    assert "cannot be used" in world.log()
    assert "answers again" in world.log()
    check_secrets(world)


def check_secrets(world: World) -> None:
    """The account's key is nowhere where others may look; no signature is in a log."""
    session = world.clusters
    logs = [record.log.read_text() for record in session.setup.processes.values()]
    assert "sig=" not in "".join(logs)
    processes = [record.pid for record in session.setup.processes.values()]
    texts = [Path(f"/proc/{process}/cmdline").read_text() for process in processes]
    texts.append(session.remora("status", "--json"))
    for command in (".show commands", ".show journal", ".show queries", ".show ingestion failures"):
        texts.append(str(world.pair.leader.command(command).rows()))
    assert not [text for text in (*logs, *texts) if KEY in text]
    state = session.setup.folder / STATE_FILE
    assert KEY in state.read_text()  # its owner's alone
    assert state.stat().st_mode & 0o077 == 0


def refused(world: World) -> str:
    try:
        world.resources()
    except KustoServiceError as error:
        return str(error)
    return ""
