"""The pipeline with mappings, the schema cache, several row stores, and what history is told."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ingest_world import PEOPLE, ingest_world, people, table

from cluster.catalog.model import (
    Column,
    IngestionMapping,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
)
from cluster.errors import (
    FieldCountError,
    MappingInconsistentError,
    MappingNotFoundError,
    MappingReferenceError,
    StreamingPolicyError,
)
from cluster.ingest.request import DataFormat
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from cluster.history.records import StreamedRequest

SWAPPED = '[{"column":"age","Ordinal":0},{"column":"name","Ordinal":1}]'
BY_NAME = '[{"column":"name","Path":"$.n"},{"column":"age","Path":"$.a.years"}]'
LAGGING = replace(LIMITS, streaming_schema_cache_seconds=60.0)


def mapping(kind: str, text: str, name: str = "M") -> dict[tuple[str, str], IngestionMapping]:
    """The mappings of a table that has one."""
    return {(kind, name): IngestionMapping(name, kind, text, 0)}


def with_column(item: Table, column: Column) -> Table:
    """The table after a column was added."""
    columns = (*item.columns, column)
    ids = (*item.column_ids[-1], max(item.column_ids[-1]) + 1)
    return replace(item, schemas=(*item.schemas, columns), column_ids=(*item.column_ids, ids))


@pytest.mark.fidelity(
    "ingest-data-streaming.md", "A mapping must be made beforehand; a request only names it"
)
async def test_a_request_names_a_mapping_of_its_table() -> None:
    async with ingest_world() as world:
        world.catalog.put(replace(table("People", 1), mappings=mapping("csv", SWAPPED)))
        await world.pipeline.ingest(people("36,Ada", mapping="M"))
        await world.pipeline.ingest(people("Alan,41"))
        assert world.rows() == [("Ada", 36), ("Alan", 41)]
        assert world.pipeline.statistics().lanes == 0


@pytest.mark.fidelity("mappings.md", "A table's mapping hides its database's of that name")
async def test_a_mapping_of_the_table_shadows_one_of_the_database() -> None:
    async with ingest_world() as world:
        tree = world.catalog.get("db")
        constant = '[{"column":"name","ConstValue":"database"}]'
        world.catalog.trees["db"] = replace(tree, mappings=mapping("json", constant))
        request = people('{"n":"Ada","a":{"years":36}}', mapping="M", format=DataFormat.MULTIJSON)
        await world.pipeline.ingest(request)
        assert world.rows() == [("database", None)]
        world.catalog.put(replace(table("People", 1), mappings=mapping("json", BY_NAME)))
        await world.pipeline.ingest(request)
        assert world.rows()[1:] == [("Ada", 36)]


@pytest.mark.fidelity("mappings.md", "Ingestion fails if the mapping does not fit the table")
@pytest.mark.parametrize(
    ("mappings", "error"),
    [
        ({}, MappingNotFoundError),
        (mapping("csv", SWAPPED, "m"), MappingNotFoundError),
        (mapping("json", BY_NAME), MappingReferenceError),
        (mapping("csv", '[{"column":"more","Ordinal":0}]'), MappingInconsistentError),
    ],
)
async def test_a_mapping_must_be_there_and_fit(mappings: Any, error: type[Exception]) -> None:
    async with ingest_world() as world:
        world.catalog.put(replace(table("People", 1), mappings=mappings))
        with pytest.raises(error):
            await world.pipeline.ingest(people("36,Ada", mapping="M"))
        assert world.rows() == []


MORE = Column("more", ScalarType.INT)


@pytest.mark.fidelity(
    "streaming-ingestion-schema-changes.md",
    "A node may take rows by the schema it knows for up to five minutes",
)
async def test_a_node_may_go_on_with_the_schema_it_knows_but_not_for_long() -> None:
    async with ingest_world(limits=LAGGING) as world:
        await world.pipeline.ingest(people("Ada,36"))
        world.catalog.put(with_column(table("People", 1), MORE))
        bag = people('{"name":"Alan","age":41,"more":7}', format=DataFormat.JSON)
        await world.pipeline.ingest(bag)
        world.clock.seconds += 59
        await world.pipeline.ingest(bag)
        world.clock.seconds += 1
        await world.pipeline.ingest(bag)
        rows = world.row_store.rows(RowStoreKey(1))
        versions = [
            version
            for version, batch in zip(rows.schema_versions, rows.batches, strict=True)
            for _ in range(batch.num_rows)
        ]
        assert versions == [0, 0, 0, 1]
        assert world.rows() == [("Ada", 36), ("Alan", 41), ("Alan", 41), ("Alan", 41, 7)]


@pytest.mark.fidelity(
    "clear-schema-cache-command.md", "After the cache is cleared rows are taken by the new schema"
)
async def test_clearing_the_cache_ends_the_lag_at_once() -> None:
    async with ingest_world(limits=LAGGING) as world:
        await world.pipeline.ingest(people("Ada,36"))
        world.catalog.put(with_column(table("People", 1), MORE))
        world.pipeline.schemas.clear(frozenset({RowStoreKey(1), RowStoreKey(9)}))
        await world.pipeline.ingest(
            people('{"name":"Alan","age":41,"more":7}', format=DataFormat.JSON)
        )
        assert world.rows()[1:] == [("Alan", 41, 7)]
        statistics = world.pipeline.schemas.statistics()
        assert (statistics.tables, statistics.refreshes, statistics.cleared) == (1, 2, 1)


async def test_nothing_is_refused_because_of_what_a_node_has_not_heard() -> None:
    async with ingest_world(limits=LAGGING) as world:
        await world.pipeline.ingest(people("Ada,36"))
        world.catalog.put(with_column(table("People", 1), MORE))
        tickets = [world.pipeline.submit(people(text)) for text in ("Alan,41,7", "Kurt,71")]
        assert (await tickets[0].wait()).row_count == 1
        with pytest.raises(FieldCountError, match="the table has 3"):
            await tickets[1].wait()
        assert world.pipeline.statistics().groups_decoded_again == 1
        world.catalog.put(replace(table("People", 1), mappings=mapping("csv", SWAPPED)))
        await world.pipeline.ingest(people("36,Emmy", mapping="M"))


async def test_gates_are_never_answered_from_the_cache() -> None:
    async with ingest_world(limits=LAGGING) as world:
        await world.pipeline.ingest(people("Ada,36"))
        world.catalog.put(table("People", 1, policy=None))
        with pytest.raises(StreamingPolicyError):
            await world.pipeline.ingest(people("Ada,36"))
        world.catalog.put(table("People", 77, (*PEOPLE, MORE)))
        await world.pipeline.ingest(people("Ada,36,1"))
        assert world.rows() == [("Ada", 36, 1)]


async def test_a_table_with_several_references_is_one_table() -> None:
    references = tuple(
        RowStoreReference(store, RowStoreKey(100 + store), is_enabled=store != 0)
        for store in range(4)
    )
    async with ingest_world(limits=replace(LIMITS, row_stores=4)) as world:
        world.catalog.put(replace(table("People", 1), references=references))
        outcome = await world.pipeline.ingest(people("Ada,36", source_id="s"))
        assert outcome.key in {101, 102, 103}
        again = await world.pipeline.ingest(people("Ada,36", source_id="s"))
        assert (again.duplicate, again.key) == (True, outcome.key)
        assert world.rows() == [("Ada", 36)]


@pytest.mark.fidelity(
    "streaming-ingestion-failures.md", "Requests that are throttled are no failures"
)
async def test_history_hears_of_every_request_but_those_turned_away() -> None:
    told: list[StreamedRequest] = []
    limits = replace(LIMITS, ingest_requests_per_core=2)
    async with ingest_world(limits=limits, on_streamed=told.append) as world:
        world.catalog.put(replace(table("People", 1), mappings=mapping("csv", SWAPPED)))
        packed = gzip.compress(b"36,Ada\n41,Alan\n")
        await world.pipeline.ingest(people("", payload=packed, mapping="M", source_id="s"))
        await world.pipeline.ingest(people("", payload=packed, mapping="M", source_id="s"))
        with pytest.raises(FieldCountError):
            await world.pipeline.ingest(people("Ada"))
        assert [request.row_count for request in told] == [2, 0, 0]
        assert [request.error_code for request in told] == ["", "", "Stream_WrongNumberOfFields"]
        first, _, last = told
        assert (first.database, first.table, first.format, first.mapping) == (
            "db", "People", "Csv", "M",
        )  # fmt: skip
        assert (first.is_compressed, first.byte_count) == (True, len(packed))
        assert first.reference_count == 1
        assert (first.ended_ns, first.duration_seconds) == (world.clock.now_ns(), 0.0)
        assert last.is_permanent
        assert "record 1 has 1 field" in last.details
