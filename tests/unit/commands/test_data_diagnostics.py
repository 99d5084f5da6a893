"""Row stores, operations, queries, commands and the state of the node, as commands show them."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import trio
from data_world import row_store, sealed

from cluster.catalog.changes import ReplaceExtents
from cluster.commands.command_types import command_type
from cluster.commands.grammar import COMMANDS
from cluster.errors import CanceledError, EntityNotFoundError, InvalidRequestError
from cluster.history.records import (
    DataOperation,
    DataOperationKind,
    Executed,
    IngestionFailure,
    OperationState,
    StreamedRequest,
)

ID = str(uuid.UUID(int=7))
NO_EXTENT = "00000000-0000-0000-0000-000000000000"


async def records(world, text):
    """The rows of a command, by column."""
    result = await world.service.execute("Sales", text)
    names = [column.name for column in result.columns]
    return [dict(zip(names, row, strict=True)) for row in result.rows]


# Row stores


@pytest.fixture
async def streaming(world):
    """Table T has five rows in RowStore-1, from ordinal 10 on, and an extent of the ten before."""
    await world.run(".alter table T policy streamingingestion enable")
    table = world.catalog.get("Sales").tables["T"]
    reference = next(each for each in table.references if each.row_store == 1)
    extent = sealed(ID, sources=((reference.key, 0, 10),))
    await world.catalog.commit("Sales", [ReplaceExtents("T", (), (extent,))], text="")
    rows = world.node.row_stores.hold(reference.key, 10, 15, number=1)
    world.node.databases.rows = {reference.key: rows}
    return world, f"{reference.key:016x}"


@pytest.mark.fidelity("published grammar", ".show rowstores has a row for each row store")
async def test_row_stores(streaming):
    world, _ = streaming
    world.node.row_stores.stores[0] = row_store(0, read_only_reason="disk full")
    first, second = await records(world, ".show rowstores")
    assert (first["RowStoreName"], first["IsActive"], first["IsEmpty"]) == (
        "RowStore-0", False, True,
    )  # fmt: skip
    assert first["Status"] == "ReadOnly: disk full"
    assert (second["Status"], second["IsEmpty"], second["LocalStorageSize"]) == (
        "Running", False, 100,
    )  # fmt: skip
    assert second["RowStoreId"] == str(uuid.UUID(int=2))
    assert second["UnsealedSizePerKeyLimit"] == 200 << 20


@pytest.mark.fidelity("published grammar", ".show rowstore NAME has a row for each key of a table")
@pytest.mark.parametrize("name", ["RowStore-1", "['RowStore-1']", "'RowStore-1'"])
async def test_keys_of_a_row_store(streaming, name):
    world, key = streaming
    (row,) = await records(world, f".show rowstore {name}")
    assert (row["RowStoreKey"], row["OrdinalFrom"], row["OrdinalTo"]) == (key, 10, 15)
    assert (row["DatabaseName"], row["TableName"]) == ("Sales", "T")
    assert row["LatestIngestionTime"] == datetime(1970, 1, 1, 0, 0, 6, tzinfo=UTC)
    with pytest.raises(EntityNotFoundError, match="RowStore-0, RowStore-1"):
        await world.run(".show rowstore RowStore-2")


@pytest.mark.fidelity(
    "rowstores.md (2018)",
    ".show table T rowstores has a row for each row store and each extent that was sealed of it",
)
async def test_where_the_rows_of_a_table_are(streaming):
    world, key = streaming
    unsealed, extent = await records(world, ".show table Sales.T rowstores")
    assert (unsealed["ExtentId"], unsealed["IsSealed"]) == (NO_EXTENT, False)
    assert (unsealed["OrdinalFrom"], unsealed["OrdinalTo"]) == (10, 15)
    assert (unsealed["EstimatedDataSize"], unsealed["WriteAheadLogSize"]) == (100, 640)
    assert (extent["ExtentId"], extent["IsSealed"], extent["RowStoreKey"]) == (ID, True, key)
    assert (extent["OrdinalFrom"], extent["OrdinalTo"]) == (0, 10)


@pytest.mark.fidelity("published grammar", ".show table T rowstore_references lists its row stores")
async def test_references_and_what_is_sealed(streaming):
    world, key = streaming
    references = await records(world, ".show table T rowstore_references")
    assert len(references) == 4
    assert [r["RowStoreName"] for r in references if r["RowstoreReferenceKey"] == key] == [
        "RowStore-1"
    ]
    (row,) = (
        row
        for row in await records(world, ".show table T rowstore_sealinfo")
        if row["RowStoreKey"] == key
    )
    assert (row["EndOrdinal"], row["UnsealedRowCount"], row["UnsealedSize"]) == (15, 5, 100)
    assert row["SealIntervalLimit"] == timedelta(days=1)


@pytest.mark.fidelity(
    "published grammar",
    ".show rowstore transactions and seals",
    differs="No page declares columns: those are Remora's",
)
async def test_transactions_and_seals(streaming):
    world, _ = streaming
    first, _ = await records(world, ".show rowstore transactions")
    assert (first["Commits"], first["AvgCommitDuration"]) == (4, timedelta(seconds=0.5))
    for database, table in (("Sales", "T"), ("Sales", "U"), ("Other", "T")):
        world.node.history.data_operation(
            DataOperation(
                DataOperationKind.ROW_STORE_SEAL,
                database,
                table,
                1000,
                2.0,
                3,
                1,
                40,
                50,
                properties={"Reason": "Age"},
            )
        )
    (row,) = await records(world, ".show rowstore seals 'T'")
    assert (row["Reason"], row["RowCount"], row["Duration"]) == ("Age", 3, timedelta(seconds=2))
    assert len(await world.run(".show data operations")) == 3


# Operations, queries and commands


@pytest.mark.fidelity("cancel-operation-command.md", ".cancel operation ends one that runs")
@pytest.mark.parametrize(
    ("state", "outcome"), [("running", "Canceled successfully"), ("ended", "Cancellation failed")]
)
async def test_canceling_an_operation(world, nursery, state, outcome):
    await nursery.start(world.node.operations.run)

    async def work():
        if state == "running":
            await trio.sleep_forever()

    operation = world.node.operations.start("TableAppend", "Sales", "text", work)
    await trio.testing.wait_all_tasks_blocked()
    (row,) = await records(world, f".cancel operation {operation} with (reason='why')")
    assert (row["Operation"], row["CancellationState"]) == ("TableAppend", outcome)
    await trio.testing.wait_all_tasks_blocked()
    states = [row["State"] for row in await records(world, ".show operations")]
    assert states == ["InProgress", "Canceled" if state == "running" else "Completed"]
    (last,) = await records(world, f".show operations {operation}")
    assert last["State"] == states[-1]


@pytest.mark.parametrize("text", [f".cancel operation {ID}", f".show operation {ID} details"])
async def test_an_operation_that_never_was(world, text):
    with pytest.raises(EntityNotFoundError):
        await world.run(text)
    assert await world.run(f".show operations ({ID})") == []


@pytest.mark.fidelity(
    "ingestion-failures.md", ".show ingestion failures lists those of batches and update policies"
)
async def test_ingestion_failures_of_one_operation(world):
    for operation_id in (ID, ""):
        world.node.history.ingestion_failure(
            IngestionFailure(
                operation_id, "Sales", "T", 1000, "file", "why", True, "Code", "DataIngestPull"
            )
        )
    both = await records(world, ".show ingestion failures")
    assert [row["OperationId"] for row in both] == [ID, None]
    (row,) = await records(world, f".show ingestion failures with (OperationId={ID.upper()})")
    assert (row["FailureKind"], row["ShouldRetry"], row["ErrorCode"]) == (
        "Permanent", False, "Code",
    )  # fmt: skip


@pytest.mark.fidelity(
    "streaming-ingestion-statistics.md",
    "Statistics are in short buckets by table, status and ingestion properties",
)
async def test_streaming_statistics_and_failures(world):
    def request(code, rows):
        return StreamedRequest(
            "Sales", "T", 500, 0.5, 100, rows, "multijson", "M", True, code, "why", bool(code), 4
        )

    for one in (request("", 1), request("", 3), request("Stream_WrongNumberOfFields", 0)):
        world.node.history.streaming.add(one)
    good, bad = await records(world, ".show streamingingestion statistics")
    assert (good["Count"], good["TotalRowCount"], good["MaxRowCount"]) == (2, 4, 3)
    assert (good["IngestionStatus"], good["NumOfRowStoresReferences"]) == ("Success", 4)
    assert good["AvgDuration"] == timedelta(seconds=0.5)
    assert json.loads(good["IngestionProperties"]) == {
        "Mapping": "M", "Format": "MultiJson", "Compressed": True, "IngestionSource": "Stream",
    }  # fmt: skip
    assert bad["IngestionStatus"] == "FailureWrongNumberOfFields"
    (failure,) = await records(world, ".show streamingingestion failures")
    assert (failure["Count"], failure["FailureKind"]) == (1, "Permanent")
    assert failure["ErrorCode"] == "Stream_WrongNumberOfFields"


async def test_commands_are_recorded_as_they_end(world):
    world.node.history.ended(
        Executed("q", "Query", "T", "Sales", 0, 0, OperationState.COMPLETED, row_count=3)
    )
    await world.run(".show tables")
    with pytest.raises(InvalidRequestError):
        await world.run(".create table X (a:long) with (folder=h'x', folder='y')")
    *_, shown, failed = await records(world, ".show commands")
    assert (shown["CommandType"], shown["State"], shown["Text"]) == (
        "TablesShow", "Completed", ".show tables",
    )  # fmt: skip
    assert (failed["CommandType"], failed["State"]) == ("TableCreate", "Failed")
    assert "h'x'" not in failed["Text"]
    assert "given twice" in failed["FailureReason"]
    kinds = [row["CommandType"] for row in await records(world, ".show commands-and-queries")]
    assert kinds[-3:] == ["TablesShow", "TableCreate", "CommandsShow"]
    assert "Query" in kinds
    (query,) = await records(world, ".show queries")
    assert json.loads(query["ResultSetStatistics"])["Rows"] == 3
    assert not world.node.history.running()


@pytest.mark.fidelity("show-queries-command.md", ".show running queries and .cancel query")
async def test_running_queries_and_canceling_one(world):
    world.node.history.begun(Executed("a", "Query", "T", "Sales", 0, 0, OperationState.IN_PROGRESS))
    (row,) = await records(world, ".show running queries by *")
    assert (row["ClientActivityId"], row["State"]) == ("a", "InProgress")
    assert await world.run(".show running queries by user 'u'") == []
    assert await world.run(".cancel query 'running' with (reason='y')") == [("running", "y", True)]
    ((_, reason, is_canceled),) = await world.run(".cancel query 'x'")
    assert (reason, is_canceled) == ("No such query is running.", False)
    assert world.node.cancelled == ["running", "x"]
    with pytest.raises(InvalidRequestError):
        await world.run(".cancel query ''")


async def test_a_canceled_command_ends_in_the_history(world, nursery):
    await nursery.start(world.node.operations.run)

    async def clear(database, table, *, text):
        await trio.sleep_forever()

    world.node.extents.clear_table = clear

    async def run():
        with pytest.raises(CanceledError):
            await world.run(".clear table T data")

    nursery.start_soon(run)
    await trio.testing.wait_all_tasks_blocked()
    (operation,) = world.node.history.operations()
    assert world.node.operations.cancel(operation.operation_id)
    await trio.testing.wait_all_tasks_blocked()
    (command,) = (row for row in await records(world, ".show commands") if "clear" in row["Text"])
    assert command["State"] == "Failed"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("show operations", "OperationsShow"),
        ("show databases", "DatabasesShow"),
        ("show database schema as json", "SchemaShow"),
        ("drop extents from", "ExtentsDrop"),
        ("merge extents async", "ExtentsMerge"),
        ("create-merge table", "TableCreateMerge"),
        ("alter table policy retention", "TablePolicyRetentionAlter"),
    ],
)
def test_types_of_commands(name, kind):
    assert command_type(name) == kind


def test_every_command_has_a_type():
    kinds = {command_type(spec.name) for spec in COMMANDS}
    assert all(kind.isalnum() and kind[0].isupper() for kind in kinds)


# The node


@pytest.mark.fidelity(
    "capacity-policy.md",
    ".show capacity shows total, used and remaining by resource",
    differs="Limits of the node; the policy is not kept",
)
async def test_capacity(world):
    rows = await records(world, ".show capacity")
    assert [(row["Resource"], row["Consumed"]) for row in rows] == [
        ("ingestions", 2),
        ("extents-merge", 0),
        ("streaming-ingestion-post-processing", 0),
        ("queries", 1),
    ]
    assert all(row["Total"] == row["Consumed"] + row["Remaining"] for row in rows)
    ((*counts, origin),) = await world.run(".show capacity data-export with (scope=cluster)")
    assert (counts, origin) == (["data-export", 0, 0, 0], "NotSupported")
    with pytest.raises(InvalidRequestError):
        await world.run(".show capacity with (scope=node)")


@pytest.mark.fidelity(
    "show-diagnostics",
    ".show diagnostics tells health and load",
    differs="What has no counterpart is zero",
)
async def test_diagnostics(streaming):
    world, _ = streaming
    (row,) = await records(world, ".show diagnostics")
    assert row["IsHealthy"]
    assert (row["ExtentsTotal"], row["TableWithMaxExtents"], row["NumberOfDatabases"]) == (
        1, "T", 2,
    )  # fmt: skip
    assert row["RowStoreLocalStorageCapacityFactor"] > 0
    assert (row["IngestionsInProgress"], row["IngestionsSuccessRate"]) == (2, 100.0)
    assert row["HotDataDiskSpaceUsage"] == 75.0
    world.node.row_stores.stores[0] = row_store(0, read_only_reason="disk full")
    (row,) = await records(world, ".show diagnostics")
    assert (row["IsHealthy"], row["IsRowStoreUnhealthy"]) == (False, True)
    assert row["NotHealthyReason"] == "disk full"


async def test_cache_services_and_details(world):
    (cache,) = await records(world, ".show cache")
    assert (cache["MemoryCacheInUse"], cache["DiskCacheHitCount"]) == (30, 8)
    assert json.loads(cache["MemoryCacheDetails"])["Extents"] == 4
    (services,) = await records(world, ".show cluster services")
    assert (services["IsRowStoreHostNode"], services["IsWeakConsistencyNode"]) == (True, False)
    (details,) = await records(world, ".show cluster details")
    assert details["NetAndClsVersion"] == ""
