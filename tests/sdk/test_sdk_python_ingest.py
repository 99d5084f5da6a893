"""The unmodified ``azure-kusto-ingest``: every way in ends with rows on the follower."""

from __future__ import annotations

import gzip
import io
import os
import time
from typing import TYPE_CHECKING, Any

import fastavro
import pandas
import pytest
from azure.kusto.data.data_format import DataFormat, IngestionMappingKind
from azure.kusto.data.exceptions import KustoApiError
from azure.kusto.ingest import (
    BlobDescriptor,
    ColumnMapping,
    FileDescriptor,
    IngestionProperties,
    IngestionStatus,
    KustoStreamingIngestClient,
    ManagedStreamingIngestClient,
    QueuedIngestClient,
    ReportLevel,
    StreamDescriptor,
)
from azure.kusto.ingest.status import KustoIngestStatusQueues
from azure.storage.blob import ContainerClient
from sdk_setup import PATIENCE, sdk_call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from azure.kusto.ingest.status import StatusMessage
    from conftest import Ends
    from sdk_setup import SdkClusters

MAPPING = """.create table T ingestion json mapping "M" '[{"column": "a", "Properties": {"Path": "$.x"}}, {"column": "b", "Properties": {"Path": "$.y"}}]'"""  # noqa: E501
SEALED_SOON = (
    """.alter table T policy ingestionbatching '{"MaximumBatchingTimeSpan": "00:00:10"}'"""
)
ORDERED = "T | order by a asc"


@pytest.fixture
def table(ends: Ends) -> Ends:
    ends.command(".create table T (a: int, b: string)")
    ends.command(".alter table T policy streamingingestion enable")
    ends.command(MAPPING)
    ends.command(SEALED_SOON)
    return ends


@pytest.fixture
def streaming(table: Ends) -> Iterator[KustoStreamingIngestClient]:
    with KustoStreamingIngestClient(table.leader_url) as client:
        yield client


@pytest.fixture
def managed(table: Ends) -> Iterator[ManagedStreamingIngestClient]:
    with ManagedStreamingIngestClient(table.leader_url) as client:
        yield client


@pytest.fixture
def queued(table: Ends) -> Iterator[QueuedIngestClient]:
    with QueuedIngestClient(table.leader_url) as client:
        yield client


def csv(table: Ends, **more: Any) -> IngestionProperties:
    return IngestionProperties(table.database, "T", **{"data_format": DataFormat.CSV, **more})


def upload(table: Ends, name: str, data: bytes) -> str:
    """Puts a blob into the cluster's own storage; its address, with a signature."""
    answer = table.leader.execute("NetDefaultDB", ".get ingestion resources")
    roots = {row["ResourceTypeName"]: row["StorageRoot"] for row in answer.primary_results[0]}
    with ContainerClient.from_container_url(roots["TempStorage"]) as container:
        container.upload_blob(name, data)
        return str(container.get_blob_client(name).url)


@sdk_call("python", "KustoStreamingIngestClient.ingest_from_stream", "works", "bytes, text, gzip")
def test_streams(table: Ends, streaming: KustoStreamingIngestClient) -> None:
    for stream in (
        io.BytesIO(b"1,bytes\n"),
        io.StringIO("2,text\n"),
        StreamDescriptor(io.BytesIO(gzip.compress(b"3,gzip\n")), is_compressed=True),
    ):
        result = streaming.ingest_from_stream(stream, csv(table))
        assert result.status is IngestionStatus.SUCCESS
    assert table.rows(ORDERED) == [[1, "bytes"], [2, "text"], [3, "gzip"]]


@sdk_call("python", "KustoStreamingIngestClient.ingest_from_file", "works", "plain and gzip files")
def test_files(table: Ends, streaming: KustoStreamingIngestClient, tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.csv", tmp_path / "packed.csv.gz"
    plain.write_text("1,plain\n")
    packed.write_bytes(gzip.compress(b"2,packed\n"))
    streaming.ingest_from_file(str(plain), csv(table))
    streaming.ingest_from_file(FileDescriptor(str(packed)), csv(table))
    assert table.rows(ORDERED) == [[1, "plain"], [2, "packed"]]


@sdk_call("python", "KustoStreamingIngestClient.ingest_from_dataframe", "works", "JSON and CSV")
def test_data_frames(table: Ends, streaming: KustoStreamingIngestClient) -> None:
    for data_format, number in ((DataFormat.JSON, 1), (DataFormat.CSV, 2), (None, 3)):
        frame = pandas.DataFrame({"a": [number], "b": ["frame"]})
        streaming.ingest_from_dataframe(frame, csv(table), data_format)
    assert table.rows(ORDERED) == [[1, "frame"], [2, "frame"], [3, "frame"]]


@sdk_call("python", "KustoStreamingIngestClient.ingest_from_blob", "works", "of the own storage")
def test_blobs(table: Ends, streaming: KustoStreamingIngestClient) -> None:
    plain = upload(table, "plain.csv", b"1,blob\n")
    packed = upload(table, "packed.csv.gz", gzip.compress(b"2,packed\n"))
    for address in (plain, packed):
        streaming.ingest_from_blob(BlobDescriptor(address), csv(table))
    assert table.rows(ORDERED) == [[1, "blob"], [2, "packed"]]


@sdk_call("python", "IngestionProperties", "works", "formats of streaming, a mapping by its name")
@pytest.mark.parametrize(
    ("data_format", "data"),
    [
        (DataFormat.CSV, b"1,x\n"),
        (DataFormat.TSV, b"1\tx\n"),
        (DataFormat.PSV, b"1|x\n"),
        (DataFormat.SCSV, b"1;x\n"),
        (DataFormat.SOHSV, b"1\x01x\n"),
        (DataFormat.JSON, b'{"a": 1, "b": "x"}\n'),
        (DataFormat.MULTIJSON, b'[{"a": 1,\n"b": "x"}]'),
        (DataFormat.TXT, b"1\n"),
        (DataFormat.AVRO, None),
    ],
)
def test_formats(
    table: Ends,
    streaming: KustoStreamingIngestClient,
    data_format: DataFormat,
    data: bytes | None,
) -> None:
    stream = io.BytesIO(data or b"")
    if data is None:
        fields = [{"name": "a", "type": "int"}, {"name": "b", "type": "string"}]
        schema = {"type": "record", "name": "R", "fields": fields}
        fastavro.writer(stream, schema, [{"a": 1, "b": "x"}])
        stream.seek(0)
    streaming.ingest_from_stream(stream, csv(table, data_format=data_format))
    assert table.rows("T") == [[1, "" if data_format is DataFormat.TXT else "x"]]


def test_a_mapping_by_its_name(table: Ends, streaming: KustoStreamingIngestClient) -> None:
    mapped = csv(table, data_format=DataFormat.JSON, ingestion_mapping_reference="M")
    streaming.ingest_from_stream(io.StringIO('{"x": 1, "y": "mapped"}'), mapped)
    assert table.rows("T") == [[1, "mapped"]]


@sdk_call("python", "ManagedStreamingIngestClient.ingest_from_stream", "works", "by streaming")
@sdk_call("python", "ManagedStreamingIngestClient.ingest_from_file", "works")
@sdk_call("python", "ManagedStreamingIngestClient.ingest_from_dataframe", "works")
@sdk_call("python", "ManagedStreamingIngestClient.ingest_from_blob", "works", "by streaming")
def test_managed(table: Ends, managed: ManagedStreamingIngestClient, tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    file.write_text("2,file\n")
    frame = pandas.DataFrame({"a": [3], "b": ["frame"]})
    blob = BlobDescriptor(upload(table, "blob.csv", b"4,blob\n"))
    results = [
        managed.ingest_from_stream(io.BytesIO(b"1,stream\n"), csv(table)),
        managed.ingest_from_file(str(file), csv(table)),
        managed.ingest_from_dataframe(frame, csv(table)),
        managed.ingest_from_blob(blob, csv(table)),
    ]
    assert [result.status for result in results] == [IngestionStatus.SUCCESS] * 4
    assert table.rows(ORDERED) == [[1, "stream"], [2, "file"], [3, "frame"], [4, "blob"]]


@sdk_call("python", "ManagedStreamingIngestClient.ingest_from_stream", "works", "queued over 4 MiB")
def test_managed_queues_what_is_too_large(
    table: Ends, managed: ManagedStreamingIngestClient
) -> None:
    text = os.urandom(5 << 20).hex()  # 10 MiB, and more than 4 when compressed
    rows = "".join(f"1,{text[at : at + 65536]}\n" for at in range(0, len(text), 65536))
    result = managed.ingest_from_stream(io.StringIO(rows), csv(table, flush_immediately=True))
    assert result.status is IngestionStatus.QUEUED
    count = table.pair.leader.wait_for_rows("T", rows.count("\n"))
    assert table.rows("T | summarize count(), sum(strlen(b))") == [[count, len(text)]]


@sdk_call(
    "python", "ManagedStreamingIngestClient.ingest_from_stream", "works", "queued after 3 failures"
)
def test_managed_queues_what_fails_three_times(clusters: SdkClusters) -> None:
    # The row store of this cluster has no room for it, and says that it is for now.
    url, table = clusters.url("tight"), "Fallback"
    from azure.kusto.data import KustoClient

    with KustoClient(url) as client, ManagedStreamingIngestClient(url) as managed:
        client.execute_mgmt("NetDefaultDB", f".create table {table} (a: string)")
        client.execute_mgmt(
            "NetDefaultDB", f".alter table {table} policy streamingingestion enable"
        )
        properties = IngestionProperties(
            "NetDefaultDB", table, data_format=DataFormat.TXT, flush_immediately=True
        )
        data = io.StringIO(os.urandom(50_000).hex())
        result = managed.ingest_from_stream(data, properties)
        assert result.status is IngestionStatus.QUEUED
        end = time.monotonic() + PATIENCE
        count = 0
        while not count and time.monotonic() < end:
            ((count,),) = client.execute("NetDefaultDB", f"{table} | count").primary_results[0]
        assert count == 1


def test_managed_raises_what_is_permanent(
    table: Ends, managed: ManagedStreamingIngestClient
) -> None:
    with pytest.raises(KustoApiError) as raised:
        managed.ingest_from_stream(io.StringIO('1,"never closed\n'), csv(table))
    assert raised.value.get_api_error().code == "Stream_ClosingQuoteMissing"
    assert table.rows("T | count") == [[0]]


def told(queues: KustoIngestStatusQueues, source: object, *, failed: bool = False) -> StatusMessage:
    """The message about a source, from the queue of successes or of failures."""
    queue = queues.failure if failed else queues.success
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for message in queue.pop(8):
            if message.IngestionSourceId == str(source):
                return message
    raise AssertionError(f"nothing was told of {source}")


@sdk_call("python", "QueuedIngestClient.ingest_from_stream", "works", "flushed or batched")
@sdk_call("python", "QueuedIngestClient.ingest_from_file", "works", "plain and gzip files")
@sdk_call("python", "QueuedIngestClient.ingest_from_dataframe", "works")
@sdk_call("python", "QueuedIngestClient.ingest_from_blob", "works", "of the own storage")
@sdk_call("python", "KustoIngestStatusQueues", "works", "successes and failures")
def test_queued(table: Ends, queued: QueuedIngestClient, tmp_path: Path) -> None:
    file = tmp_path / "file.csv.gz"
    file.write_bytes(gzip.compress(b"2,file\n"))
    frame = pandas.DataFrame({"a": [3], "b": ["frame"]})
    blob = BlobDescriptor(upload(table, "queued.csv", b"4,blob\n"))

    def reported() -> IngestionProperties:
        return csv(table, flush_immediately=True, report_level=ReportLevel.FailuresAndSuccesses)

    results = [
        queued.ingest_from_stream(io.BytesIO(b"1,stream\n"), reported()),
        queued.ingest_from_file(str(file), reported()),
        queued.ingest_from_dataframe(frame, reported()),
        queued.ingest_from_blob(blob, reported()),
    ]
    assert [result.status for result in results] == [IngestionStatus.QUEUED] * 4
    queues = KustoIngestStatusQueues(queued)
    waiting = {str(result.source_id) for result in results}
    end = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < end:
        for message in queues.success.pop(8):
            waiting.discard(message.IngestionSourceId)
            assert (message.Database, message.Table) == (table.database, "T")
    assert not waiting
    assert table.rows(ORDERED) == [[1, "stream"], [2, "file"], [3, "frame"], [4, "blob"]]


@sdk_call(
    "python", "IngestionProperties", "works", "queued: inline mappings, tags, ingest-if-not-exists"
)
def test_queued_with_everything_a_message_can_say(table: Ends, queued: QueuedIngestClient) -> None:
    columns = [ColumnMapping("a", "int", ordinal=1), ColumnMapping("b", "string", ordinal=0)]
    properties = csv(
        table,
        flush_immediately=True,
        report_level=ReportLevel.FailuresAndSuccesses,
        column_mappings=columns,
        ingestion_mapping_kind=IngestionMappingKind.CSV,
        ignore_first_record=True,
        additional_tags=["mine"],
        drop_by_tags=["today"],
        ingest_by_tags=["once"],
        ingest_if_not_exists=["once"],
    )
    queues = KustoIngestStatusQueues(queued)
    for _ in range(2):  # the second is there already
        result = queued.ingest_from_stream(io.BytesIO(b"b,a\nmapped,1\n"), properties)
        told(queues, result.source_id)
    assert table.rows("T | extend tags = tostring(extent_tags())") == [
        [1, "mapped", '["mine","drop-by:today","ingest-by:once"]']
    ]


def test_queued_failures_are_told(table: Ends, queued: QueuedIngestClient) -> None:
    properties = csv(
        table,
        data_format=DataFormat.JSON,
        ingestion_mapping_reference="Nowhere",
        flush_immediately=True,
        report_level=ReportLevel.FailuresOnly,
    )
    result = queued.ingest_from_stream(io.BytesIO(b"{}"), properties)
    failure = told(KustoIngestStatusQueues(queued), result.source_id, failed=True)
    assert failure.ErrorCode == "BadRequest_MappingReferenceWasNotFound"
    assert failure.FailureStatus == "Permanent"
