"""Update policies of batch ingestion: what follows, what is replaced, what fails with what."""

from __future__ import annotations

import json

import pytest
import trio
from batch_world import COLUMNS, DAY_US, NOW_US, batch_world

from cluster.catalog.changes import DropTable, SetPolicy
from cluster.errors import (
    LimitExceededError,
    RemoraError,
    StorageFullError,
    TableNotFoundError,
    UpdatePolicyRequestError,
    UpdatePolicySchemaError,
    ZeroRetentionError,
)


@pytest.fixture
async def world(tmp_path):
    async with batch_world(tmp_path) as world:
        await world.create()
        yield world
        await world.assert_tidy()


def policy(query, source="T", **changes):
    return {
        "IsEnabled": True,
        "Source": source,
        "Query": query,
        "IsTransactional": True,
        "PropagateIngestionProperties": False,
        **changes,
    }


async def derived(world, name, *policies):
    return await world.create(name, update=list(policies))


@pytest.mark.fidelity("update-policy.md", "Source and derived rows are committed together")
async def test_new_rows_go_through_the_policy_in_the_same_transaction(world):
    await derived(world, "Big", policy("T | where n > 1"))
    await world.inline("1,a\n2,b")
    version = world.catalog.get("Shop").version
    await world.inline("3,c")
    assert await world.rows("Big") == [(2, "b"), (3, "c")]
    assert world.catalog.get("Shop").version.minor == version.minor + 1
    times = [{extent.ingested_min_us for extent in world.extents(name)} for name in ("Big", "T")]
    assert times[0] == times[1]
    told = [(e.kind.value, e.table, e.row_count) for e in world.history.data_operations()]
    assert told[:2] == [("BatchIngest", "T", 2), ("UpdatePolicy", "Big", 1)]
    assert world.history.data_operations()[1].properties == {"SourceTable": "T"}


@pytest.mark.fidelity("update-policy.md", "Policies cascade; a circle is cut")
async def test_cascades_diamonds_and_circles(world):
    await derived(world, "A", policy("T | extend name = 'A'"), policy("C", source="C"))
    await derived(world, "B", policy("T | extend name = 'B'"))
    await derived(world, "C", policy("A", source="A"), policy("B", source="B"))
    await world.inline("1,x")
    assert await world.rows("A") == [(1, "A"), (1, "B")]
    assert await world.rows("B") == [(1, "B")]
    assert await world.rows("C") == [(1, "A"), (1, "B")]
    assert len(world.extents("C")) == 1


@pytest.mark.fidelity(
    "update-policy.md", "If a transactional policy fails, the source is not ingested"
)
async def test_a_transactional_failure_refuses_all(world):
    await derived(world, "Good", policy("T"))
    await derived(world, "Wrong", policy("T | project n"))
    with pytest.raises(UpdatePolicySchemaError):
        await world.inline("1,a")
    assert await world.rows() == await world.rows("Good") == []
    assert await world.files() == set()
    assert world.failure().from_update_policy
    assert world.failure().error_code == "UpdatePolicy_QuerySchemaDoesNotMatchTableSchema"


@pytest.mark.fidelity(
    "update-policy.md", "Another policy that fails leaves the source ingested and is logged"
)
async def test_other_failures_keep_the_source(world):
    await derived(world, "Wrong", policy("None", IsTransactional=False))
    await derived(world, "Good", policy("T"))
    await world.inline("1,a")
    assert await world.rows() == await world.rows("Good") == [(1, "a")]
    assert await world.rows("Wrong") == []
    failure = world.failure()
    assert (failure.table, failure.from_update_policy) == ("Wrong", True)


async def test_a_transactional_policy_may_read_other_tables(world):
    await world.create("Other")
    await world.inline("1,other", "Other")
    await derived(world, "Joined", policy("T | join kind=inner Other on n | project n, name1"))
    await world.inline("1,a\n2,b")
    assert await world.rows("Joined") == [(1, "other")]


async def test_results_of_queries_go_through_policies(world):
    await derived(world, "Big", policy("T"))
    await world.from_query("append", "print long(1), 'a'")
    assert await world.rows("Big") == [(1, "a")]
    kinds = [entry.kind.value for entry in world.history.data_operations()]
    assert kinds == ["SetOrAppend", "UpdatePolicy"]


@pytest.mark.fidelity(
    "update-policy.md", "PropagateIngestionProperties hands tags and creation time on"
)
async def test_properties_go_on_where_a_policy_says_so(world):
    on = {"PropagateIngestionProperties": True}
    await derived(world, "With", policy("T", **on))
    await derived(world, "Without", policy("T"))
    await derived(world, "WithWith", policy("With", source="With", **on))
    await derived(world, "WithoutWith", policy("Without", source="Without", **on))
    await world.inline("1,a", tags='["red"]', creationTime="2023-11-13T22:13:20Z")
    for name in ("With", "WithWith"):
        (extent,) = world.extents(name)
        assert (extent.tags, extent.created_min_us) == (("red",), NOW_US - DAY_US)
    for name in ("Without", "WithoutWith"):
        (extent,) = world.extents(name)
        assert (extent.tags, extent.created_min_us) == ((), NOW_US)


@pytest.mark.fidelity(
    "ingest-from-query.md", ".set-or-replace of a source replaces derived tables too"
)
async def test_replacing_a_source_replaces_what_is_derived(world):
    await derived(world, "Big", policy("T | where n > 1"))
    await derived(world, "Bigger", policy("Big | where n > 2", source="Big"))
    await world.inline("1,a\n2,b\n3,c")
    await world.stream((8, "streamed"), table="Bigger")
    await world.from_query("set-or-replace", "T | where n <= 2")
    assert await world.rows() == [(1, "a"), (2, "b")]
    assert await world.rows("Big") == [(2, "b")]
    assert await world.rows("Bigger") == []


async def test_replacing_with_nothing_empties_what_is_derived(world):
    await derived(world, "Big", policy("T | where n > 1"))
    await derived(
        world, "Count", policy("Big | summarize n=count() | extend name=''", source="Big")
    )
    await world.inline("2,b")
    await world.from_query("set-or-replace", "T | where n > 5")
    assert await world.rows("Big") == await world.rows("Count") == []


async def test_what_a_failed_policy_derived_before_stays(world):
    await derived(world, "Big", policy("T", IsTransactional=False))
    await world.inline("2,b")
    broken = json.dumps([policy("T | where None > 1", IsTransactional=False)])
    await world.commit(SetPolicy("Big", "update", broken))
    await world.from_query("set-or-replace", "print long(3), 'c'")
    assert await world.rows() == [(3, "c")]
    assert await world.rows("Big") == [(2, "b")]


@pytest.mark.fidelity(
    "retention-policy.md", "A source with no retention hands its rows on and keeps none"
)
async def test_a_table_that_keeps_nothing_hands_on(world):
    await derived(world, "Big", policy("T | where n > 1"))
    none = {"SoftDeletePeriod": "00:00:00", "Recoverability": "Disabled"}
    await world.commit(SetPolicy("T", "retention", json.dumps(none)))
    assert await world.inline("1,a\n2,b") == ()
    assert await world.rows("Big") == [(2, "b")]
    assert await world.rows() == []
    # The policy went and left the retention: rows would be lost.
    await world.commit(SetPolicy("Big", "update", None))
    with pytest.raises(ZeroRetentionError):
        await world.inline("3,c")


async def test_a_target_dropped_meanwhile_refuses_all(world):
    await derived(world, "Big", policy("T"))

    async def before():
        await world.commit(DropTable("Big"))

    world.store.before_commit = before
    with pytest.raises(TableNotFoundError):
        await world.inline("1,a")
    assert await world.rows() == []
    assert await world.files() == set()


async def test_the_source_dropped_while_policies_ran(world):
    await derived(world, "Big", policy("T"))

    async def before():
        await world.commit(DropTable("T"))
        await world.create(columns=COLUMNS)

    world.store.before_commit = before
    with pytest.raises(RemoraError):
        await world.inline("1,a")
    assert await world.rows("Big") == []


async def test_cancelled_while_policies_run_leaves_nothing(world):
    await derived(world, "Big", policy("T"))
    with trio.CancelScope() as scope:

        async def derive(database, table, batch):
            assert len(await world.files()) == 1  # the rows of T are written
            scope.cancel()
            await trio.lowlevel.checkpoint()

        world.updates.derive = derive
        await world.inline("1,a")
    assert scope.cancelled_caught
    assert await world.files() == set()
    assert await world.rows() == []
    assert world.batch.statistics().failed == 1
    assert world.batch.statistics().running == 0


@pytest.mark.parametrize("files_before", [0, 1])
async def test_a_full_disk_refuses_all(world, files_before):
    await derived(world, "Big", policy("T"))
    put_file = world.root.put_file
    count = 0

    async def full(name, local):
        nonlocal count
        count += 1
        if count > files_before:
            raise StorageFullError("the disk is full")
        await put_file(name, local)

    world.root.put_file = full
    with pytest.raises(StorageFullError):
        await world.inline("1,a")
    assert await world.files() == set()
    assert await world.rows() == await world.rows("Big") == []
    assert not world.failure().is_permanent
    world.root.put_file = put_file
    await world.inline("1,a")
    assert await world.rows("Big") == [(1, "a")]


async def test_a_policy_that_fails_for_good_says_so(world):
    await derived(world, "Big", policy("T | where nothing > 1"))
    with pytest.raises(UpdatePolicyRequestError) as caught:
        await world.inline("1,a")
    assert caught.value.permanent
    assert world.failure().is_permanent


async def test_limit_of_what_policies_read(tmp_path):
    data = "1,a\n2,b\n3,c\n"
    async with batch_world(tmp_path / "first") as world:
        await world.create()
        await derived(world, "Big", policy("T"))
        kept = []
        original = world.updates.derive

        async def derive(database, table, batch):
            kept.append(batch.nbytes)
            return await original(database, table, batch)

        world.updates.derive = derive
        await world.inline(data)
        (size,) = kept
    for limit, fits in ((size - 1, False), (size, True), (size + 1, True)):
        async with batch_world(tmp_path / str(limit), update_policy_source_bytes=limit) as world:
            await world.create()
            await world.inline(data)  # nothing reads it: no limit
            await derived(world, "Big", policy("T"))
            if fits:
                await world.inline(data)
            else:
                with pytest.raises(LimitExceededError, match=f"over {limit} bytes"):
                    await world.inline(data)
                await world.assert_tidy()
            assert len(await world.rows()) == (6 if fits else 3)
