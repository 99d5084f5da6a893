"""The unmodified Python SDK: queued and managed ingestion, from the client's call to rows."""

from __future__ import annotations

import io
import json
import random
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import requests
import trio
from azure.kusto.data import DataFormat, KustoClient
from azure.kusto.data.exceptions import KustoApiError
from azure.kusto.ingest import (
    BlobDescriptor,
    ColumnMapping,
    FileDescriptor,
    IngestionMappingKind,
    IngestionProperties,
    IngestionStatus,
    ManagedStreamingIngestClient,
    QueuedIngestClient,
    ReportLevel,
    StreamDescriptor,
)
from azure.kusto.ingest.status import KustoIngestStatusQueues

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

PATIENCE_SECONDS = 30.0


class Sdk:
    """One user of the SDK, in a thread of its own."""

    def __init__(self, url: str, database: str) -> None:
        self.url, self.database = url, database
        self.kusto = KustoClient(url)
        self.queued = QueuedIngestClient(url)
        self.managed = ManagedStreamingIngestClient(url)

    def command(self, text: str) -> list[Any]:
        return [list(row) for row in self.kusto.execute(self.database, text).primary_results[0]]

    def count(self) -> int:
        return int(self.command("T | count")[0][0])

    def until(self, wanted: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.count() != wanted:
            assert time.monotonic() < deadline, f"{self.count()} rows, not {wanted}"
            time.sleep(0.02)

    def properties(self, **more: Any) -> IngestionProperties:
        values = {"data_format": DataFormat.CSV, "flush_immediately": True, **more}
        return IngestionProperties(self.database, "T", **values)


@pytest.fixture
async def run(
    local_setup: LocalSetup, processes: tuple[Launcher, Setup]
) -> Callable[[Callable[[Sdk], None]], Any]:
    """Runs a function with an SDK, in a thread, on a database with a table."""
    database = local_setup.database
    await local_setup.client("leader").command("", f".create database {database}")
    command = local_setup.client("leader").command
    await command(database, ".create table T (n: long, name: string)")
    url = processes[1].node_of("leader").http

    async def call(function: Callable[[Sdk], None]) -> None:
        await trio.to_thread.run_sync(lambda: function(Sdk(url, database)))

    return call


async def test_queued_with_all_properties(run: Any) -> None:
    def work(sdk: Sdk) -> None:
        properties = sdk.properties(
            ignore_first_record=True,
            additional_tags=["x"],
            drop_by_tags=["d"],
            ingest_by_tags=["i"],
            ingest_if_not_exists=["i"],
            report_level=ReportLevel.FailuresAndSuccesses,
            additional_properties={"creationTime": "2026-01-02T00:00:00Z"},
        )
        source = uuid.uuid4()
        data = b"n,name\n1,a\n2,b\n3,c\n"
        result = sdk.queued.ingest_from_stream(
            StreamDescriptor(io.BytesIO(data), source_id=source), properties
        )
        assert result.status is IngestionStatus.QUEUED
        sdk.until(3)
        (row,) = sdk.command(".show table T extents | project Tags, MinCreatedOn")
        assert sorted(row[0].split("\r\n")) == ["drop-by:d", "ingest-by:i", "x"]
        assert row[1].isoformat() == "2026-01-02T00:00:00+00:00"
        queues = KustoIngestStatusQueues(sdk.queued)
        (success,) = mine(sdk, queues.success.peek(20))
        assert success.IngestionSourceId == str(source)
        # Ingested before: skipped.
        sdk.queued.ingest_from_stream(io.BytesIO(data), properties)
        while len(mine(sdk, queues.success.peek(20))) < 2:
            time.sleep(0.02)
        assert sdk.count() == 3
        assert [item.Table for item in mine(sdk, queues.success.pop(20))] == ["T", "T"]
        assert mine(sdk, queues.success.peek(20)) == []

    await run(work)


def mine(sdk: Sdk, messages: Any) -> list[Any]:
    """Messages about the test's own database: a setup has one queue for all.

    The SDK looks twice at a queue that has fewer messages than asked for.
    """
    found = {item.IngestionSourceId: item for item in messages if item.Database == sdk.database}
    return list(found.values())


async def test_queued_files_and_inline_mappings(run: Any, tmp_path: Path) -> None:
    def work(sdk: Sdk) -> None:
        path = tmp_path / "rows.csv"
        path.write_text("a,1\nb,2\n")
        mapping = [
            ColumnMapping("n", "long", ordinal=1),
            ColumnMapping("name", "string", ordinal=0),
        ]
        properties = sdk.properties(
            column_mappings=mapping, ingestion_mapping_kind=IngestionMappingKind.CSV
        )
        sdk.queued.ingest_from_file(FileDescriptor(str(path), 8), properties)
        sdk.until(2)
        assert sorted(sdk.command("T")) == [[1, "a"], [2, "b"]]
        # Blobs that somebody else has put there, and one larger than what goes in one piece.
        lines = b"".join(b"%d,%x\n" % (n, n * 7919) for n in range(100_000))
        sdk.queued.ingest_from_stream(io.BytesIO(lines), sdk.properties())
        sdk.until(100_002)

    await run(work)


async def test_failures_are_told(run: Any) -> None:
    def work(sdk: Sdk) -> None:
        reported = {"report_level": ReportLevel.FailuresOnly}
        by_name = sdk.properties(
            data_format=DataFormat.JSON, ingestion_mapping_reference="nope", **reported
        )
        sdk.queued.ingest_from_stream(io.BytesIO(b'{"n":1}'), by_name)
        sdk.queued.ingest_from_stream(io.BytesIO(b'1,"a\n'), sdk.properties(**reported))
        missing = BlobDescriptor(f"{sdk.url}/devstoreaccount1/ingestdata/gone?sig=x", 5)
        sdk.queued.ingest_from_blob(missing, sdk.properties(**reported))
        failures = KustoIngestStatusQueues(sdk.queued).failure
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(found := mine(sdk, failures.peek(20))) < 3:
            assert time.monotonic() < deadline, [str(item) for item in found]
            time.sleep(0.02)
        codes = {item.ErrorCode: item.FailureStatus for item in found}
        assert codes == {
            "BadRequest_MappingReferenceWasNotFound": "Permanent",
            "Stream_ClosingQuoteMissing": "Permanent",
            "Download_Forbidden": "Permanent",
        }
        shown = sdk.command(f".show ingestion failures | where Database == '{sdk.database}'")
        assert len(shown) == 3
        assert sdk.count() == 0

    await run(work)


async def test_managed_streams_what_is_small(run: Any) -> None:
    def work(sdk: Sdk) -> None:
        sdk.command(".alter table T policy streamingingestion enable")
        result = sdk.managed.ingest_from_stream(io.BytesIO(b"1,a\n"), sdk.properties())
        assert result.status is IngestionStatus.SUCCESS
        assert sdk.count() == 1

    await run(work)


async def test_managed_queues_what_is_large(run: Any) -> None:
    def work(sdk: Sdk) -> None:
        sdk.command(".alter table T policy streamingingestion enable")
        rng = random.Random(1)
        # More than 4 MiB compressed: the client queues without asking.
        lines = b"".join(b"%d,%s\n" % (n, rng.randbytes(24).hex().encode()) for n in range(200_000))
        result = sdk.managed.ingest_from_stream(io.BytesIO(lines), sdk.properties())
        assert result.status is IngestionStatus.QUEUED
        sdk.until(200_000)

    await run(work)


async def test_managed_queues_what_the_node_finds_too_large(run: Any) -> None:
    def work(sdk: Sdk) -> None:
        sdk.command(".alter table T policy streamingingestion enable")
        lines = b"1,%s\n" % (b"x" * 100) * 60_000  # little when compressed, 6 MiB when not
        result = sdk.managed.ingest_from_stream(io.BytesIO(lines), sdk.properties())
        assert result.status is IngestionStatus.QUEUED
        sdk.until(60_000)

    await run(work)


async def test_managed_raises_what_is_permanent(run: Any) -> None:
    def work(sdk: Sdk) -> None:
        sdk.command(".alter table T policy streamingingestion disable")
        with pytest.raises(KustoApiError) as caught:
            sdk.managed.ingest_from_stream(io.BytesIO(b"1,a\n"), sdk.properties())
        error = json.loads(str(caught.value.http_response.text))["error"]
        assert error["code"] == "BadRequest_StreamingIngestionPolicyNotEnabled"
        sdk.queued.ingest_from_stream(io.BytesIO(b"1,a\n"), sdk.properties())
        sdk.until(1)

    await run(work)


async def test_blobs_of_the_node_are_read_from_everywhere(run: Any) -> None:
    def work(sdk: Sdk) -> None:
        sdk.command(".alter table T policy streamingingestion enable")
        resources = dict(sdk.command(".get ingestion resources"))
        root, _, sas = resources["TempStorage"].partition("?")
        address = f"{root}/some%20folder/rows.csv?{sas}"
        assert requests.put(address, data=b"1,a\n2,b\n", timeout=10).status_code == 201
        blob = BlobDescriptor(address)
        result = sdk.managed.ingest_from_blob(blob, sdk.properties())
        assert (blob.size, result.status) == (8, IngestionStatus.SUCCESS)
        assert sdk.count() == 2
        sdk.command(f".ingest into table T (h'{address}') with (format = csv)")
        assert sdk.count() == 4
        sdk.queued.ingest_from_blob(BlobDescriptor(address, 8), sdk.properties())
        sdk.until(6)

    await run(work)
