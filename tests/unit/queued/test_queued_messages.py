"""Messages in the dialects of the SDKs, and what they ask for."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import CorruptedMessageError, RemoraError
from cluster.queued.messages import (
    QueuedMessage,
    ReportLevel,
    ReportMethod,
    StatusRow,
    decode_message,
    ingestion_properties,
)

BASE = {"BlobPath": "http://x/a/c/b.csv.gz?sig=1", "DatabaseName": "D", "TableName": "T"}

PYTHON = {
    **BASE,
    "RawDataSize": 63, "RetainBlobOnSuccess": True, "FlushImmediately": True,
    "IgnoreSizeLimit": False, "ReportLevel": 2, "ReportMethod": 0,
    "SourceMessageCreationTime": "2026-11-21T07:33:17.913456", "Id": "id-1",
    "ApplicationForTracing": "t2.py", "ClientVersionForTracing": "x",
    "AdditionalProperties": {
        "authorizationContext": "token", "tags": '["drop-by:d","ingest-by:i"]',
        "ingestIfNotExists": '["i"]',
        "ingestionMapping": '[{"column":"a","datatype":"int","properties":{"Ordinal":"0"}}]',
        "ingestionMappingType": "Csv", "ValidationPolicy": "{}", "ignoreFirstRecord": True,
        "format": "csv",
    },
}  # fmt: skip

NODE = {
    "blobPath": "http://x/a/c/b.json", "databaseName": "D", "tableName": "T",
    "rawDataSize": 5, "retainBlobOnSuccess": True, "flushImmediately": False,
    "reportLevel": 0, "reportMethod": 2, "id": "id-2",
    "ingestionStatusInTable": {
        "tableConnectionString": "http://x", "partitionKey": "p", "rowKey": "r",
    },
    "additionalProperties": {
        "ingestIfNotExists": ["i"], "tags": ["t"], "format": "multijson",
        "ingestionMappingReference": "M",
    },
}  # fmt: skip

JAVA = {
    **BASE,
    "RawDataSize": None, "ReportLevel": "FailuresAndSuccesses", "ReportMethod": "Table",
    "IngestionStatusInTable": {"PartitionKey": "p", "RowKey": "r", "TableConnectionString": "x"},
    "AdditionalProperties": {"ignoreFirstRecord": "true", "creationTime": "2026-01-01T00:00:00Z"},
}  # fmt: skip

FLUENT_BIT = {**BASE, "AdditionalProperties": {"format": "json", "jsonMappingReference": "M"}}


def encoded(body: object) -> str:
    return base64.b64encode(json.dumps(body).encode()).decode()


@pytest.mark.parametrize("text", [encoded(PYTHON), json.dumps(PYTHON), f" {json.dumps(PYTHON)}\n"])
def test_python(text: str) -> None:
    message = decode_message(text)
    assert (message.database, message.table, message.source_id) == ("D", "T", "id-1")
    assert (message.raw_bytes, message.is_flush, message.is_retained) == (63, True, True)
    assert message.level is ReportLevel.FAILURES_AND_SUCCESSES
    assert message.method is ReportMethod.QUEUE
    assert (message.identity, message.status_row) == ("token", None)
    assert message.shown == "http://x/a/c/b.csv.gz"
    assert message.is_compressed
    properties = ingestion_properties(message)
    assert properties.tags == ("drop-by:d", "ingest-by:i")
    assert properties.ingest_if_not_exists == ("i",)
    assert properties.ignore_first_record
    assert json.loads(properties.mapping)[0]["column"] == "a"


def test_node() -> None:
    message = decode_message(encoded(NODE))
    assert message.status_row == StatusRow("p", "r")
    assert (message.level, message.method) == (
        ReportLevel.FAILURES_ONLY,
        ReportMethod.QUEUE_AND_TABLE,
    )
    properties = ingestion_properties(message)
    assert (properties.tags, properties.ingest_if_not_exists) == (("t",), ("i",))
    assert (properties.format, properties.mapping_reference) == ("multijson", "M")


def test_java() -> None:
    message = decode_message(encoded(JAVA))
    assert message.level is ReportLevel.FAILURES_AND_SUCCESSES
    assert message.method is ReportMethod.TABLE
    assert not message.wants_queue
    assert message.raw_bytes == 0
    properties = ingestion_properties(message)
    assert properties.ignore_first_record
    assert properties.created_us == 1_767_225_600_000_000


def test_the_zero_time_of_go_is_none() -> None:
    extra = {"format": "csv", "creationTime": "0001-01-01T00:00:00Z"}
    body = {"DatabaseName": "D", "TableName": "T", "BlobPath": "http://x/y"}
    with_it = decode_message(encoded({**body, "AdditionalProperties": extra}))
    without = decode_message(encoded({**body, "AdditionalProperties": {"format": "csv"}}))
    assert ingestion_properties(with_it) == ingestion_properties(without)


def test_fluent_bit() -> None:
    assert ingestion_properties(decode_message(encoded(FLUENT_BIT))).mapping_reference == "M"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"), ("a.json.gz", "json"), ("a.TSV.zip", "tsv"), ("a", "csv"),
        ("a.gz", "csv"), ("a.parquet", "parquet"), ("a.unknown", "csv"), ("a%2Eavro", "avro"),
    ],
)  # fmt: skip
def test_the_name_tells_a_format_that_is_not_given(name: str, expected: str) -> None:
    message = QueuedMessage("D", "T", f"http://x/a/c/{name}?sig=a.json")
    assert ingestion_properties(message).format == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "no", "e30=", encoded([]), encoded({"BlobPath": "x"}), encoded({**BASE, "Id": 5}),
        encoded({**BASE, "RawDataSize": "many"}), encoded({**BASE, "AdditionalProperties": "x"}),
        encoded({**BASE, "TableName": ""}), "[" * 100_000, "{" * 100_000,
        encoded({**BASE, "IngestionStatusInTable": []}), encoded({**BASE, "RawDataSize": 1e400}),
    ],
)  # fmt: skip
def test_what_is_no_message(text: str) -> None:
    with pytest.raises(CorruptedMessageError):
        decode_message(text)


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"tags": "5"}, ""),
        ({"tags": 5}, "BadRequest_MalformedIngestionProperty"),
        ({"creationTime": "soon"}, "BadRequest_MalformedIngestionProperty"),
        ({"zipPattern": "*.csv"}, "BadRequest_IngestionPropertyNotSupportedInThisContext"),
        (
            {"ingestionMapping": "[]", "ingestionMappingReference": "M"},
            "BadRequest_DuplicateMapping",
        ),
        ({"somethingElse": "x"}, ""),
        ({"ValidationPolicy": "{}"}, ""),
        ({"validationPolicy": {"ValidationOptions": 2, "ValidationImplications": 1}}, ""),
        (
            {"ValidationPolicy": '{"ValidationOptions": 1, "ValidationImplications": 0}'},
            "BadRequest_MalformedIngestionProperty",
        ),
    ],
)
def test_properties_are_refused_or_ignored(extra: dict[str, object], code: str) -> None:
    message = decode_message(encoded({**BASE, "AdditionalProperties": extra}))
    if not code:
        ingestion_properties(message)
        return
    with pytest.raises(RemoraError) as caught:
        ingestion_properties(message)
    assert caught.value.code == code


def test_secrets_are_not_shown() -> None:
    shown = repr(decode_message(encoded(PYTHON)))
    assert "sig=" not in shown
    assert "token" not in shown


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@given(fields=st.dictionaries(st.sampled_from([*PYTHON, *NODE]), _JSON), extra=_JSON)
def test_whatever_comes_is_read_or_refused(fields: dict[str, object], extra: object) -> None:
    body = {**PYTHON, **fields}
    if isinstance(extra, dict):
        body["AdditionalProperties"] = extra
    try:
        ingestion_properties(decode_message(json.dumps(body)))
    except RemoraError:
        assert True


@given(st.text())
def test_whatever_text_comes_is_read_or_refused(text: str) -> None:
    with pytest.raises(CorruptedMessageError):
        decode_message(text)
