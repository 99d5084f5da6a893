"""Bad input over the real door: the exact code, nothing stored, the node still serving."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from rows import TABLE, count, make_table

from cluster.errors import RemoraError
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

GOOD = b"2026-11-21T08:00:00Z,name,1,source\n"
DEEP_JSON = b'{"Number": 1, "Name": ' + b"[" * 1000 + b"]" * 1000 + b"}"

PAYLOADS = {
    "empty": (b"", "csv", "Stream_NoDataToIngest"),
    "only blank lines": (b"\n\n\n", "csv", "Stream_NoDataToIngest"),
    "empty gzip": (gzip.compress(b""), "csv", "Stream_NoDataToIngest"),
    "truncated gzip": (gzip.compress(GOOD * 50)[:-12], "csv", "BadRequest_InvalidArchive"),
    "gzip header only": (b"\x1f\x8b", "csv", "BadRequest_InvalidArchive"),
    "gzip bomb": (gzip.compress(bytes(64 << 20)), "csv", "Stream_InputStreamTooLarge"),
    "datetime of a wrong type": (
        b"yesterday,name,1,source\n", "csv", "BadRequest_NoRecordsOrWrongFormat",
    ),
    "long of a wrong type": (
        b"2026-11-21,name,1.5,source\n", "csv", "BadRequest_NoRecordsOrWrongFormat",
    ),
    "long out of range": (
        b"2026-11-21,name,9223372036854775808,source\n", "csv",
        "BadRequest_NoRecordsOrWrongFormat",
    ),
    "one wrong row in many": (
        GOOD * 200 + b"x,y,z,w\n", "csv", "BadRequest_NoRecordsOrWrongFormat",
    ),
    "too many columns": (b"2026-11-21,name,1,source,more\n", "csv", "Stream_WrongNumberOfFields"),
    "too few columns": (b"2026-11-21,name,1\n", "csv", "Stream_WrongNumberOfFields"),
    "ragged": (GOOD + b"2026-11-21,name\n" + GOOD, "csv", "Stream_WrongNumberOfFields"),
    "open quote": (b'2026-11-21,"name,1,source\n', "csv", "Stream_ClosingQuoteMissing"),
    "bad UTF-8": (
        b"2026-11-21,\xff\xfe,1,source\n", "csv", "BadRequest_UnexpectedCharacterInInputStream",
    ),
    "csv called json": (GOOD, "json", "BadRequest_NoRecordsOrWrongFormat"),
    "csv called tsv": (GOOD, "tsv", "Stream_WrongNumberOfFields"),
    "json called csv": (b'{"Name": "n"}\n', "csv", "Stream_WrongNumberOfFields"),
    "broken json": (b'{"Name": "n"', "json", "BadRequest_NoRecordsOrWrongFormat"),
    "json array called json": (b'[{"Name": "n"}]', "json", "BadRequest_NoRecordsOrWrongFormat"),
    "1,000-deep json": (DEEP_JSON, "json", "BadRequest_NoRecordsOrWrongFormat"),
    "1,000-deep multijson": (DEEP_JSON, "multijson", "BadRequest_NoRecordsOrWrongFormat"),
    "unknown format": (GOOD, "parquet", "BadRequest_FormatNotSupported"),
    "over the request limit": (
        b"2026-11-21,%s,1,source\n" % (b"x" * 1000) * (LIMITS.ingest_request_bytes // 1000),
        "csv", "Stream_InputStreamTooLarge",
    ),
    "over the wire limit": (
        bytes(LIMITS.ingest_wire_bytes + 1), "csv", "Stream_InputStreamTooLarge",
    ),
    "over gRPC's own limit": (bytes(LIMITS.grpc_message_bytes + 1), "csv", None),
}  # fmt: skip


@pytest.fixture
async def with_table(local_setup: LocalSetup) -> LocalSetup:
    """The table, with one good row so that nothing-stored means one row."""
    await make_table(local_setup.client("leader"), local_setup.database)
    await local_setup.client("leader").ingest(local_setup.database, TABLE, GOOD)
    return local_setup


@pytest.mark.parametrize("name", PAYLOADS)
async def test_bad_payload(with_table: LocalSetup, name: str) -> None:
    payload, data_format, code = PAYLOADS[name]
    leader = with_table.client("leader")
    with pytest.raises(RemoraError) as caught:
        await leader.ingest(with_table.database, TABLE, payload, data_format=data_format)
    if code is not None:
        assert caught.value.code == code
        assert caught.value.permanent
        assert caught.value.remedy
    assert await count(leader, with_table.database) == 1
    await leader.ingest(with_table.database, TABLE, GOOD)
    assert await count(leader, with_table.database) == 2


TARGETS = {
    "unknown database": ("Nowhere", TABLE, "", "BadRequest_DatabaseNotExist"),
    "unknown table": ("", "Nothing", "", "BadRequest_TableNotExist"),
    "table in another case": ("", TABLE.lower(), "", "BadRequest_TableNotExist"),
    "unknown mapping": ("", TABLE, "M", "BadRequest_MappingReferenceWasNotFound"),
}


@pytest.mark.parametrize("name", TARGETS)
async def test_bad_target(with_table: LocalSetup, name: str) -> None:
    database, table_name, mapping, code = TARGETS[name]
    leader = with_table.client("leader")
    with pytest.raises(RemoraError) as caught:
        await leader.ingest(database or with_table.database, table_name, GOOD, mapping=mapping)
    assert caught.value.code == code
    assert await count(leader, with_table.database) == 1


async def test_policy_off(with_table: LocalSetup) -> None:
    leader = with_table.client("leader")
    await leader.command(
        with_table.database, f".alter table {TABLE} policy streamingingestion disable"
    )
    with pytest.raises(RemoraError) as caught:
        await leader.ingest(with_table.database, TABLE, GOOD)
    assert caught.value.code == "BadRequest_StreamingIngestionPolicyNotEnabled"
    assert await count(leader, with_table.database) == 1


async def test_capability_off(local_setup: LocalSetup) -> None:
    follower = local_setup.client("follower2")
    await follower.command("NetDefaultDB", ".create table Local (Number: long)")
    with pytest.raises(RemoraError) as caught:
        await follower.ingest("NetDefaultDB", "Local", b"1\n")
    assert caught.value.code == "NotFound_StreamingIngestionDisabledForCluster"
    with pytest.raises(RemoraError) as caught:
        await follower.command(
            "NetDefaultDB", ".alter table Local policy streamingingestion enable"
        )
    assert caught.value.code == "Conflict"
    assert "streaming ingestion is not enabled" in caught.value.message
    await follower.command("NetDefaultDB", ".drop table Local")


MUTATIONS = [
    ".create table Other (Number: long)",
    f".create-merge table {TABLE} (More: string)",
    f".drop table {TABLE}",
    f".drop table {TABLE} ifexists",
    f".alter table {TABLE} policy streamingingestion disable",
    f".alter-merge table {TABLE} policy streamingingestion '{{\"HintAllocatedRate\": 2.0}}'",
    f".delete table {TABLE} policy streamingingestion",
    ".alter database policy streamingingestion enable",
    ".delete database DATABASE policy streamingingestion",
]


async def test_a_follower_refuses_every_mutation_and_ingestion(with_table: LocalSetup) -> None:
    follower = with_table.client("follower1")
    await with_table.attach("follower1")
    await with_table.until_followed("follower1")
    tables = (await follower.command(with_table.database, ".show tables")).rows()
    policy = f".show table {TABLE} policy streamingingestion"
    policies = (await follower.command(with_table.database, policy)).rows()
    for mutation in MUTATIONS:
        text = mutation.replace("DATABASE", with_table.database)
        with pytest.raises(RemoraError) as caught:
            await follower.command(with_table.database, text)
        assert caught.value.code == "Forbidden", text
        assert "leader" in caught.value.message + caught.value.remedy
    with pytest.raises(RemoraError) as caught:
        await follower.ingest(with_table.database, TABLE, GOOD)
    assert caught.value.code == "Forbidden"
    assert (await follower.command(with_table.database, ".show tables")).rows() == tables
    assert (await follower.command(with_table.database, policy)).rows() == policies
    assert await count(follower, with_table.database) == 1
    assert await count(with_table.client("leader"), with_table.database) == 1


QUERIES = {
    "1 MB of text": (f"{TABLE} | where Name == '{'x' * (1 << 20)}'", "LimitsExceeded"),
    "unknown table": ("Nothing | count", "General_BadRequest"),
    "unknown column": (f"{TABLE} | where Nothing == 1", "General_BadRequest"),
    "a file": ("['/etc/passwd'] | take 1", "General_BadRequest"),
    "a Python variable": ("engine | take 1", "General_BadRequest"),
    "not KQL": (f"{TABLE} | | count", "BadRequest_SyntaxError"),
    "empty": ("", "BadRequest_SyntaxError"),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_bad_query(with_table: LocalSetup, name: str) -> None:
    text, code = QUERIES[name]
    leader = with_table.client("leader")
    with pytest.raises(RemoraError) as caught:
        await leader.query(with_table.database, text)
    assert caught.value.code == code
    assert await count(leader, with_table.database) == 1


async def test_query_of_an_unknown_database(local_setup: LocalSetup) -> None:
    with pytest.raises(RemoraError) as caught:
        await local_setup.client("leader").query("Nowhere", "print 1")
    assert caught.value.code == "BadRequest_DatabaseNotExist"
