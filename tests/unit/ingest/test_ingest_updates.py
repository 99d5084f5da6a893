"""Update policies of streamed rows: what follows, what fails, what is never half stored."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from ingest_world import ENABLED, PEOPLE, TestClock, World, ingest_world, people, table

from cluster.catalog.model import Database, RowStoreKey, RowStoreReference, ScalarType, Table
from cluster.catalog.policies import UpdatePolicy
from cluster.errors import (
    ConflictError,
    PayloadTooLargeError,
    RemoraError,
    SemanticError,
    ThrottledError,
    TimedOutError,
    UpdatePolicyCycleError,
    UpdatePolicyFailedError,
    UpdatePolicyIncompatibleError,
    UpdatePolicyRequestError,
    UpdatePolicySchemaError,
)
from cluster.ingest.deriving import UpdatePolicies
from cluster.ingest.update_policy import has_join, is_row_by_row, query_of, reads
from cluster.limits import LIMITS, Limits
from cluster.query.binding import QueryResult, QuerySnapshot, ResultColumn, given_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cluster.history.records import IngestionFailure


class FakeQueries:
    """Knows a few queries: `T | where old`, `T | summarize`, `T | fail`, ..."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def run(self, kql: str, snapshot: QuerySnapshot) -> QueryResult:
        name, *rest = (part.strip() for part in kql.split("|"))
        name = name.strip("[]'")
        bound = snapshot.tables.get(name)
        if bound is None:
            raise SemanticError(f"no table {name}")
        rows = pa.Table.from_batches(
            [batch for given in bound.fresh for batch in given.batches],
            schema=pa.schema([("name", pa.string()), ("age", pa.int32())]),
        )
        if rows.num_rows:
            self.asked.append((kql, rows.num_rows))
        types = [ScalarType.STRING, ScalarType.INT]
        for part in rest:
            if part == "where old":
                rows = rows.filter(pc.greater(rows["age"], 40))
            elif part == "summarize":
                rows = pa.table({"name": ["sum"], "age": pa.array([rows.num_rows], pa.int32())})
            elif part == "extend big":
                rows = rows.set_column(0, "name", pa.array(["x" * 900_000] * rows.num_rows))
            elif part.startswith("fail") and rows.num_rows:
                if part == "fail busy":
                    raise ThrottledError("too many queries")
                if part == "fail late" or "Bad" in rows["name"].to_pylist():
                    raise TimedOutError("too slow")
            elif part == "project name":
                rows, types = rows.select(["name"]), types[:1]
            elif part.startswith("join") and part[5:] not in snapshot.tables:
                raise SemanticError(f"no table {part[5:]}")
        columns = tuple(map(ResultColumn, rows.column_names, types))
        return QueryResult(columns, rows)


def policy(source: str, query: str, **changes: Any) -> dict[str, Any]:
    """One entry of an update policy."""
    entry = {"IsEnabled": True, "Source": source, "Query": query, "IsTransactional": False}
    return {**entry, **changes}


def target(name: str, key: int, *entries: dict[str, Any], store: int = 0) -> Table:
    """A table that is filled by update policies alone."""
    return replace(
        table(name, key, policy=None),
        policies={"update": json.dumps(entries)},
        references=(RowStoreReference(store, RowStoreKey(key)),),
    )


class UpdateWorld:
    """A pipeline, its queries, and the failures told."""

    def __init__(self) -> None:
        self.queries = FakeQueries()
        self.failures: list[IngestionFailure] = []
        self.trees: dict[str, Database] = {}
        self.updates = UpdatePolicies(
            self.queries.run,
            snapshot_of=lambda name: QuerySnapshot(name, {"Other": given_table("Other", PEOPLE)}),
            clock=TestClock(),
            on_failure=self.failures.append,
        )


@asynccontextmanager
async def update_world(
    *tables: Table, limits: Limits = LIMITS
) -> AsyncIterator[tuple[World, UpdateWorld]]:
    """People and these tables."""
    own = UpdateWorld()
    async with ingest_world(limits=limits, updates=own.updates) as world:
        for item in tables:
            world.catalog.put(item)
        yield world, own


TRANSACTIONAL = {"IsTransactional": True}


@pytest.mark.parametrize("transactional", [True, False])
async def test_new_rows_go_through_the_policy(transactional: bool) -> None:
    old = target("Old", 20, policy("People", "People | where old", IsTransactional=transactional))
    async with update_world(old) as (world, own):
        outcome = await world.pipeline.ingest(people("Ada,36", "Alan,41", "Kurt,71"))
        assert outcome.row_count == 3
        assert world.rows("Old") == [("Alan", 41), ("Kurt", 71)]
        await world.pipeline.ingest(people("Emmy,53"))
        assert [rows for _, rows in own.queries.asked] == [3, 1]
        assert world.rows("Old")[2:] == [("Emmy", 53)]
        assert own.failures == []
        statistics = own.updates.statistics()
        assert (statistics.rows, statistics.failures) == (3, 0)


async def test_no_derived_rows_are_no_record() -> None:
    old = target("Old", 20, policy("People", "People | where old", **TRANSACTIONAL))
    async with update_world(old) as (world, _):
        await world.pipeline.ingest(people("Ada,36"))
        assert world.row_store.statistics().total("committed_records") == 1


async def test_requests_go_together_only_through_queries_that_look_at_single_rows() -> None:
    together = target("Old", 20, policy("People", "People | where old"))
    async with update_world(together) as (world, own):
        tickets = [world.pipeline.submit(people(f"name,{age}")) for age in (39, 41, 42)]
        for ticket in tickets:
            await ticket.wait()
        assert [rows for _, rows in own.queries.asked] == [3]
    alone = target("Sums", 20, policy("People", "People | summarize"))
    async with update_world(alone) as (world, own):
        tickets = [world.pipeline.submit(people(*["name,1"] * count)) for count in (1, 3, 2)]
        for ticket in tickets:
            await ticket.wait()
        assert [rows for _, rows in own.queries.asked] == [1, 3, 2]
        assert world.rows("Sums") == [("sum", 1), ("sum", 3), ("sum", 2)]


@pytest.mark.fidelity(
    "update-policy.md", "A transactional policy that fails refuses the streamed request too"
)
async def test_a_transactional_failure_refuses_the_request_and_no_neighbour() -> None:
    failing = target("Kept", 20, policy("People", "People | fail | where old", **TRANSACTIONAL))
    async with update_world(failing) as (world, own):
        tickets = [world.pipeline.submit(people(f"{n},50")) for n in ("Ada", "Bad", "Alan")]
        assert (await tickets[0].wait()).row_count == 1
        with pytest.raises(UpdatePolicyFailedError, match="too slow") as caught:
            await tickets[1].wait()
        assert not caught.value.permanent
        assert (await tickets[2].wait()).row_count == 1
        assert [name for name, _ in world.rows()] == ["Ada", "Alan"]
        assert [name for name, _ in world.rows("Kept")] == ["Ada", "Alan"]
        assert own.failures == []


async def test_another_failure_is_told_and_the_source_kept() -> None:
    failing = target("Lost", 20, policy("People", "People | fail"))
    async with update_world(failing) as (world, own):
        await world.pipeline.ingest(people("Bad,1"))
        assert world.rows() == [("Bad", 1)]
        assert world.rows("Lost") == []
        (failure,) = own.failures
        assert failure.from_update_policy
        assert (failure.table, failure.source, failure.is_permanent) == ("Lost", "People", False)
        assert failure.error_code == "UpdatePolicy_IngestionError"


async def test_a_busy_node_loses_nothing() -> None:
    async with update_world(target("T", 20, policy("People", "People | fail busy"))) as (
        world,
        own,
    ):
        with pytest.raises(ThrottledError):
            await world.pipeline.ingest(people("Ada,36"))
        assert world.rows() == []
        assert own.failures == []


async def test_cascades_go_on_and_circles_are_cut() -> None:
    first = target("First", 20, policy("People", "People", **TRANSACTIONAL))
    second = target("Second", 21, policy("First", "First | where old", **TRANSACTIONAL))
    back = replace(
        table("People", 1), policies={"update": json.dumps([policy("Second", "Second")])}
    )
    async with update_world(first, second, back) as (world, _):
        await world.pipeline.ingest(people("Ada,36", "Alan,41"))
        assert world.rows() == [("Ada", 36), ("Alan", 41)]
        assert world.rows("First") == world.rows()
        assert world.rows("Second") == [("Alan", 41)]


async def test_what_follows_from_rows_that_are_lost_is_lost_too() -> None:
    first = target("First", 20, policy("People", "People"))
    second = target("Second", 21, policy("First", "First | fail late", **TRANSACTIONAL))
    async with update_world(first, second) as (world, own):
        await world.pipeline.ingest(people("Ada,36"))
        assert world.rows() == [("Ada", 36)]
        assert world.rows("First") == world.rows("Second") == []
        assert [failure.table for failure in own.failures] == ["First"]


@pytest.mark.fidelity(
    "update-policy.md", "The query of a policy with SourceIsWildCard reads $source_table"
)
async def test_a_wildcard_policy_names_its_source_by_a_symbol() -> None:
    wild = target("All", 20, policy("Peo*", "$source_table | where old", SourceIsWildCard=True))
    async with update_world(wild) as (world, own):
        await world.pipeline.ingest(people("Alan,41"))
        assert world.rows("All") == [("Alan", 41)]
        assert own.queries.asked == [("['People'] | where old", 1)]


@pytest.mark.fidelity(
    "ingest-data-streaming.md", "What update policies make of a request counts in its size"
)
@pytest.mark.parametrize("spare", [-1, 0])
async def test_derived_rows_count_in_the_size_of_a_request(spare: int) -> None:
    big = target("Big", 20, policy("People", "People | extend big"))
    derived = pa.table({"name": ["x" * 900_000], "age": pa.array([36], pa.int32())})
    size = len(b"Ada,36\n") + derived.nbytes
    limits = replace(LIMITS, ingest_request_bytes=size + spare)
    async with update_world(big, limits=limits) as (world, _):
        if spare < 0:
            with pytest.raises(PayloadTooLargeError, match="what update policies make of it"):
                await world.pipeline.ingest(people("Ada,36"))
            assert world.rows() == world.rows("Big") == []
        else:
            await world.pipeline.ingest(people("Ada,36"))
            assert len(world.rows("Big")) == 1


@pytest.mark.fidelity(
    "ingest-data-streaming.md",
    "An update policy in streaming reads the new rows of its source only",
)
@pytest.mark.parametrize("transactional", [True, False])
async def test_streaming_sees_no_other_table(transactional: bool) -> None:
    joined = policy("People", "People | join Other", IsTransactional=transactional)
    async with update_world(target("Joined", 20, joined)) as (world, own):
        with pytest.raises(UpdatePolicyIncompatibleError, match="no table Other") as caught:
            await world.pipeline.ingest(people("Ada,36"))
        assert "UpdatePolicyIncompatible" in caught.value.code
        assert caught.value.permanent
        assert world.rows() == []
        # Batch ingestion does.
        tree, batch = world.catalog.get("db"), pa.record_batch({"name": ["Ada"], "age": [36]})
        batch = batch.cast(pa.schema([("name", pa.string()), ("age", pa.int32())]))
        (derived,) = await own.updates.derive(tree, tree.tables["People"], batch)
        assert (derived.table, derived.key) == ("Joined", 20)
        assert derived.batches[0].to_pylist() == [{"name": "Ada", "age": 36}]


async def test_a_policy_of_other_types_is_refused_in_streaming() -> None:
    async with update_world(target("T", 20, policy("People", "People | project name"))) as (
        world,
        _,
    ):
        with pytest.raises(UpdatePolicySchemaError, match="gives \\(name:string\\)") as caught:
            await world.pipeline.ingest(people("Ada,36"))
        assert "QuerySchemaDoesNotMatchTableSchema" in caught.value.code


async def test_transactional_targets_need_a_row_store_in_common() -> None:
    limits = replace(LIMITS, row_stores=2)
    here = target("Here", 20, policy("People", "People", **TRANSACTIONAL), store=0)
    there = target("There", 21, policy("People", "People"), store=1)
    async with update_world(here, there, limits=limits) as (world, _):
        await world.pipeline.ingest(people("Ada,36"))
        assert world.rows("Here") == world.rows("There") == [("Ada", 36)]
        bound = target("There", 21, policy("People", "People", **TRANSACTIONAL), store=1)
        world.catalog.put(bound)
        with pytest.raises(ConflictError):
            await world.pipeline.ingest(people("Alan,41"))
        assert world.rows() == world.rows("Here") == [("Ada", 36)]


async def test_a_table_changed_while_the_policy_ran_has_its_rows_derived_again() -> None:
    old = target("Old", 20, policy("People", "People | where old"))
    async with update_world(old) as (world, own):
        original = own.queries.run

        async def changing(kql: str, snapshot: QuerySnapshot) -> QueryResult:
            own.updates._run = original
            world.catalog.put(replace(table("People", 77), policies={}))
            return await original(kql, snapshot)

        own.updates._run = changing
        await world.pipeline.ingest(people("Alan,41", source_id="s"))
        assert world.row_store.position_of([RowStoreKey(77)])[RowStoreKey(77)].ordinal == 1
        assert world.pipeline.statistics().groups_decoded_again == 1


# Setting a policy


def entry(source: str, query: str, **changes: Any) -> UpdatePolicy:
    """An entry as the catalog reads it."""
    return UpdatePolicy(source, query, **changes)


@pytest.mark.fidelity(
    "update-policy.md", "The query of an update policy is checked when the policy is set"
)
@pytest.mark.parametrize(
    ("policies", "error"),
    [
        ([entry("T", "T")], UpdatePolicyCycleError),
        ([entry("Nothing", "Nothing")], UpdatePolicyRequestError),
        ([entry("People", "Unknown")], UpdatePolicyRequestError),
        ([entry("People", "People | project name")], UpdatePolicySchemaError),
        ([entry("People", "People | join Other")], UpdatePolicyIncompatibleError),
        ([entry("Quiet", "Quiet | join Other")], None),
        ([entry("People", "People"), entry("People", "People | where old")], None),
        ([entry("Nothing", "Nothing", is_enabled=False)], None),
        ([entry("Nope*", "$source_table", is_source_wildcard=True)], None),
        ([entry("Peo*", "$source_table | join Other", is_source_wildcard=True)],
         UpdatePolicyIncompatibleError),
    ],
)  # fmt: skip
async def test_policies_are_checked_when_set(
    policies: list[UpdatePolicy], error: type[RemoraError] | None
) -> None:
    own = UpdateWorld()
    tables = {t.name: t for t in (table("People", 1), table("Quiet", 2, policy=None))}
    tree = Database("db", "id", tables={**tables, "T": table("T", 3, policy=None)})
    if error is None:
        await own.updates.check(tree, "T", policies)
    else:
        with pytest.raises(error):
            await own.updates.check(tree, "T", policies)


@pytest.mark.fidelity(
    "ingest-data-streaming.md", "Streaming must be off upstream of an update policy with a join"
)
async def test_a_join_in_a_cascade_that_is_streamed_into_is_refused() -> None:
    own = UpdateWorld()
    first = target("First", 2, policy("People", "People"))
    plain = table("People", 1, policy=None)
    tree = Database("db", "id", tables={t.name: t for t in (plain, first, table("T", 3))})
    joins = [entry("First", "First | join First")]
    await own.updates.check(tree, "T", joins)
    streamed = replace(tree, tables={**tree.tables, "People": table("People", 1, policy=ENABLED)})
    with pytest.raises(UpdatePolicyIncompatibleError, match="cascade"):
        await own.updates.check(streamed, "T", joins)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("T", True),
        (" T | where a == '|' | extend b = 1 // | summarize", True),
        ("T | project-away a | mv-expand b", True),
        ("T | summarize count()", False),
        ("T | take 1", False),
        ("T | extend x = toscalar(T | count)", False),
        ("T | where f(a)", False),
        ("let x = 1; T", False),
        ("Other | where a", False),
        ("union T", False),
    ],
)
def test_queries_that_look_at_single_rows(query: str, expected: bool) -> None:
    assert is_row_by_row(query, "T", {"f"}) is expected


def test_joins_wildcards_and_symbols() -> None:
    assert has_join("T | join kind=inner (T) on a")
    assert has_join("T | lookup X on a")
    assert not has_join("T | where a == 'join' // join")
    wild = entry("a*b", "$source_table", is_source_wildcard=True)
    assert [reads(wild, name) for name in ("ab", "a-b", "a", "xab", "abc")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert query_of(wild, "it's") == "['it\\'s']"
