"""Queued ingestion from message to outcome: waiting, retries, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from queued_world import Node, message, process

from cluster.errors import (
    AccessDeniedError,
    ConflictError,
    MalformedPayloadError,
    MappingNotFoundError,
    UnavailableError,
)
from cluster.limits import LIMITS
from cluster.queued.values import FAILURES, STATUS_TABLE, SUCCESSES
from cluster.request import Caller

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock


async def test_a_message_to_flush_is_ingested_after_a_second_and_a_half(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with process(tmp_path, Node()) as world:
        assert (await world.queue("a")).status == 201
        await trio.sleep(1.49)
        assert world.node.arrived == []
        await trio.sleep(0.02)
        assert world.node.arrived == ["a"]
        assert world.service.statistics().waiting == 0


@pytest.mark.fidelity("batching-policy.md", "Queued blobs are batched by time, number and size")
async def test_without_flush_the_policy_decides(autojump_clock: MockClock, tmp_path: Path) -> None:
    node = Node()
    async with process(tmp_path, node) as world:
        await world.queue("a", flush=False)
        await trio.sleep(60)
        await world.queue("b", flush=False)
        await trio.sleep(239.9)
        assert node.stored == []
        await trio.sleep(0.2)
        assert node.stored == [("a", "b")]


async def test_a_change_of_the_policy_counts_for_messages_that_wait(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node()
    async with process(tmp_path, node) as world:
        await world.queue("a", flush=False)
        await trio.sleep(20)
        node.set_policy("T", {"MaximumBatchingTimeSpan": "00:00:10"})
        await trio.sleep(1.1)
        assert node.arrived == ["a"]


async def test_messages_that_ask_for_different_things_go_apart(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node()
    async with process(tmp_path, node) as world:
        await world.queue("a", extra={"tags": '["x"]'})
        await world.queue("b", extra={"tags": ["x"]})
        await world.queue("c", extra={"tags": ["y"]})
        await world.queue("d", TableName="U")
        await trio.sleep(2)
        assert sorted(node.stored) == [("a", "b"), ("c",), ("d",)]
        assert {request.properties.tags for request in node.requests} == {("x",), ("y",), ()}


async def test_ingest_if_not_exists_is_decided_for_each(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node(plan=[None, "empty"])
    async with process(tmp_path, node) as world:
        for name in "ab":
            await world.queue(name, extra={"ingestIfNotExists": '["i"]'})
        await trio.sleep(2)
        assert len(node.arrived) == 1
        statistics = world.service.statistics()
        assert (statistics.stored, statistics.skipped) == (1, 1)


@pytest.mark.fidelity("kusto-ingest-client-status.md", "Outcomes are reported as the message asks")
async def test_the_client_hears_of_success_and_failure(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node(bad={"b"}, bad_error=MappingNotFoundError("No mapping 'm'."))
    async with process(tmp_path, node) as world:
        await world.queue("a")
        await trio.sleep(2)
        await world.queue("b", extra={"ingestionMappingReference": "m"})
        await trio.sleep(2)
        (success,) = await world.reports(SUCCESSES)
        (failure,) = await world.reports(FAILURES)
        assert (success["IngestionSourceId"], success["Table"]) == ("a", "T")
        assert "sig=" not in success["IngestionSourcePath"]
        assert failure["ErrorCode"] == "BadRequest_MappingReferenceWasNotFound"
        assert (failure["FailureStatus"], failure["ShouldRetry"]) == ("Permanent", False)
        assert world.failures() == [("T", "BadRequest_MappingReferenceWasNotFound")]


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (1, 0), (2, 1), ("None", 0)])
async def test_report_levels(
    autojump_clock: MockClock, tmp_path: Path, level: object, expected: int
) -> None:
    async with process(tmp_path, Node()) as world:
        await world.queue("a", ReportLevel=level)
        await trio.sleep(2)
        assert len(await world.reports(SUCCESSES)) == expected


async def test_the_status_row_that_the_client_made_gets_the_outcome(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node(bad={"a"}, bad_error=MappingNotFoundError("No mapping 'm'."))
    row = {"PartitionKey": "p", "RowKey": "r", "Status": "Pending", "Custom": "kept"}
    async with process(tmp_path, node) as world:
        await world.send("POST", STATUS_TABLE, json.dumps(row).encode())
        status = {"TableConnectionString": "x", "PartitionKey": "p", "RowKey": "r"}
        await world.queue("a", ReportMethod=1, IngestionStatusInTable=status)
        await trio.sleep(2)
        path = f"{STATUS_TABLE}(PartitionKey='p',RowKey='r')"
        found = json.loads((await world.send("GET", path, sas=world.sas(STATUS_TABLE))).body)
        assert found["Status"] == "Failed"
        assert found["FailureStatus"] == "Permanent"
        assert found["ErrorCode"] == "BadRequest_MappingReferenceWasNotFound"
        assert found["Custom"] == "kept"
        assert await world.reports(FAILURES) == []


async def test_a_bad_blob_does_not_hurt_its_neighbours(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node(bad={"b3"}, bad_error=MalformedPayloadError("bad"))
    async with process(tmp_path, node) as world:
        for number in range(8):
            await world.queue(f"b{number}")
        await trio.sleep(2)
        assert sorted(node.arrived) == [f"b{number}" for number in range(8) if number != 3]
        assert world.failures() == [("T", "BadRequest_NoRecordsOrWrongFormat")]
        assert world.service.statistics().retries == 0


async def test_transient_errors_are_tried_again_later_and_later(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    error = UnavailableError("not now")
    node = Node(plan=[error, ConflictError("changed"), error])
    async with process(tmp_path, node) as world:
        await world.queue("a")
        await trio.sleep(1.5 + 1 + 2 + 3.9)
        assert node.arrived == []
        await trio.sleep(0.2)
        assert node.arrived == ["a"]
        assert world.service.statistics().retries == 3


@pytest.mark.parametrize(("failures", "arrives"), [(2, True), (3, False), (4, False)])
async def test_attempts_have_an_end(
    autojump_clock: MockClock, tmp_path: Path, failures: int, arrives: bool
) -> None:
    node = Node(plan=[UnavailableError("not now")] * failures)
    limits = replace(LIMITS, queued_attempts=3)
    async with process(tmp_path, node, limits=limits) as world:
        await world.queue("a")
        await trio.sleep(600)
        assert node.arrived == ["a"] * arrives
        if not arrives:
            (failure,) = await world.reports(FAILURES)
            assert failure["ErrorCode"] == "General_RetryAttemptsExceeded"
            assert failure["ShouldRetry"] is True


async def test_a_defect_is_an_error_of_the_message_not_of_the_node(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    node = Node(plan=[ZeroDivisionError("oops")])
    async with process(tmp_path, node) as world:
        await world.queue("a")
        await trio.sleep(10)
        assert node.arrived == ["a"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"TableName": "Gone"}, "BadRequest_NothingHere"),
        ({"BlobPath": "readings.csv"}, "BadRequest_InvalidBlobUri"),
        ({"extra": {"tags": 5}}, "BadRequest_MalformedIngestionProperty"),
        ({"extra": {"zipPattern": "*"}}, "BadRequest_IngestionPropertyNotSupportedInThisContext"),
        ({"extra": {"authorizationContext": "x.y"}}, "BadRequest_InvalidKustoIdentityToken"),
    ],
)
async def test_refusals(
    autojump_clock: MockClock, tmp_path: Path, fields: dict[str, object], code: str
) -> None:
    node = Node()
    if code.endswith("NothingHere"):
        node.plan, code = [MappingNotFoundError("x")], "BadRequest_MappingReferenceWasNotFound"
    async with process(tmp_path, node) as world:
        await world.queue("a", flush=code.startswith("BadRequest_InvalidBlob"), **fields)
        await trio.sleep(2)  # long before the policy: there is no such table, or no such thing
        (failure,) = await world.reports(FAILURES)
        assert failure["ErrorCode"] == code
        assert node.arrived == []


async def test_a_blob_that_is_not_there(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with process(tmp_path, Node()) as world:
        await world.put_message(message(world.blob("nothing"), "x"))
        await world.queue("a")
        await trio.sleep(2)
        (failure,) = await world.reports(FAILURES)
        assert failure["ErrorCode"] == "Download_SourceNotFound"
        assert world.node.arrived == ["a"]


async def test_an_unreadable_message_is_a_failure_of_the_node(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with process(tmp_path, Node()) as world:
        assert (await world.put_message("not json")).status == 201
        await trio.sleep(0.1)
        assert world.failures() == [("", "BadRequest_CorruptedMessage")]
        assert world.service.statistics().waiting == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"BlobPath": "http://[zz]/a.csv"},
        {"BlobPath": "http://[::1/a.csv"},
        {"BlobPath": "https://host/\ud800.csv"},
        {"DatabaseName": "D\ud800"},
        {"TableName": "T\ud800"},
        {"Id": "\udfff"},
        {"IngestionStatusInTable": {"PartitionKey": "\ud800", "RowKey": "r"}},
        {"extra": {"tags": ["\ud800"]}},
    ],
)
async def test_no_message_hurts_the_node(
    autojump_clock: MockClock, tmp_path: Path, fields: dict[str, object]
) -> None:
    """What is stored is read again at every start: a message that raises there ends the node."""
    node = Node()
    async with process(tmp_path, node) as world:
        text = message(await world.upload("a"), "a", **fields)
        assert (await world.put_message(text)).status == 201
    async with process(tmp_path, node) as world:
        await trio.sleep(2)
        assert [code for _, code in world.failures()] == ["BadRequest_CorruptedMessage"]
        assert world.service.statistics().waiting == 0
        await world.queue("b")
        await trio.sleep(2)
        assert node.arrived == ["b"]


async def test_a_defect_that_a_message_brings_out_does_not_end_the_node(
    autojump_clock: MockClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = Node()
    async with process(tmp_path, node) as world:
        with monkeypatch.context() as patched:
            patched.setattr(world.service.store, "begin", None)
            await world.queue("a")
            await trio.sleep(2)
        assert "stay until the next start" in caplog.text
        await world.queue("b")
        await trio.sleep(2)
        assert node.arrived == ["b"]
    with monkeypatch.context() as patched:
        patched.setattr("cluster.queued.accepting.ingestion_properties", None)
        async with process(tmp_path, node) as world:
            await trio.sleep(2)
            assert world.failures() == [("T", "General_InternalServerError")]


async def test_who_may_ingest_is_asked_of_the_token(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    def allowed(caller: Caller, database: str, table: str) -> None:
        if (caller.principal, database, table) != ("aadapp=me;t", "D", "T"):
            raise AccessDeniedError("no")

    async with process(tmp_path, Node(), allowed=allowed) as world:
        token = world.service.signer.identity(Caller("aadapp=me;t"), 2_000_000_000)
        await world.queue("a", extra={"authorizationContext": token})
        await world.queue("b")
        await trio.sleep(2)
        assert world.node.arrived == ["a"]
        assert world.failures() == [("T", "Forbidden")]


async def test_blobs_go_unless_they_are_to_stay(autojump_clock: MockClock, tmp_path: Path) -> None:
    limits = replace(LIMITS, storage_blob_seconds=120.0)
    async with process(tmp_path, Node(), limits=limits) as world:
        await world.queue("keep", RetainBlobOnSuccess=True)
        await world.queue("drop", RetainBlobOnSuccess=False)
        await trio.sleep(100)
        assert (await world.send("HEAD", "ingestdata/keep")).status == 200
        assert (await world.send("HEAD", "ingestdata/drop")).status == 404
        await trio.sleep(100)
        assert (await world.send("HEAD", "ingestdata/keep")).status == 404


async def test_a_blob_that_waits_does_not_age(autojump_clock: MockClock, tmp_path: Path) -> None:
    node = Node(plan=[UnavailableError("x")] * 9)
    limits = replace(LIMITS, storage_blob_seconds=10.0)
    async with process(tmp_path, node, limits=limits) as world:
        await world.queue("a")
        await trio.sleep(1000)
        assert node.arrived == ["a"]
