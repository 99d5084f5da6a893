"""The pipeline: grouping, duplicates, throttling, changes of the catalog, stopping."""

from __future__ import annotations

import gzip
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from ingest_world import DISABLED, PEOPLE, ingest_world, people, table
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.model import Column, RowStoreKey, ScalarType
from cluster.errors import (
    FieldCountError,
    InvalidArchiveError,
    MalformedPayloadError,
    StreamingPolicyError,
    TableNotFoundError,
)
from cluster.ingest.decode import TableDecoder
from cluster.ingest.request import DataFormat
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.ingest.decode import GroupResult

LARGE_ROWS = 20_000
LARGE = people(*(f"name {i},{i}" for i in range(LARGE_ROWS)))
"""Large enough for a worker thread."""


class HeldDecoding:
    """Holds the decoding of large groups in their thread until released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        original: Callable[..., GroupResult] = TableDecoder.decode_group

        def held(decoder: TableDecoder, data_format: DataFormat, payloads: list[bytes]) -> object:
            if sum(map(len, payloads)) > 64 * 1024:
                self.release.wait(10)
            return original(decoder, data_format, payloads)

        monkeypatch.setattr(TableDecoder, "decode_group", held)


@pytest.mark.fidelity(
    "app-managed-streaming-ingest.md", "A successful answer means the rows are ingested"
)
async def test_a_request_is_durable_and_visible_when_it_is_acknowledged() -> None:
    async with ingest_world() as world:
        outcome = await world.pipeline.ingest(people("Ada,36", "Alan,41"))
        assert world.rows() == [("Ada", 36), ("Alan", 41)]
        assert (outcome.row_count, outcome.key, outcome.duplicate) == (2, 1, False)
        assert outcome.position == world.row_store.rows(RowStoreKey(1)).position
        assert outcome.position.ordinal == 2
        assert any(operation.kind == "datasync" for operation in world.disk.operations)


async def test_requests_that_wait_together_are_one_record_and_each_is_itself() -> None:
    async with ingest_world() as world:
        tickets = [
            world.pipeline.submit(people(*[f"name,{i}"] * rows, source_id=f"s{i}"))
            for i, rows in enumerate((1, 3, 2))
        ]
        outcomes = [await ticket.wait() for ticket in tickets]
        assert [outcome.row_count for outcome in outcomes] == [1, 3, 2]
        assert [age for _, age in world.rows()] == [0, 1, 1, 1, 2, 2]
        statistics = world.pipeline.statistics()
        assert (statistics.groups, statistics.group_requests_max) == (1, 3)
        assert (statistics.requests_committed, statistics.rows_committed) == (3, 6)
        assert world.row_store.statistics().total("committed_records") == 1


async def test_a_bad_request_of_a_group_costs_its_neighbours_nothing() -> None:
    async with ingest_world() as world:
        payloads = ["Ada,36", "too,many,fields", "Alan,41", "Kurt,x", "Emmy,53"]
        tickets = [world.pipeline.submit(people(text)) for text in payloads]
        with pytest.raises(FieldCountError):
            await tickets[1].wait()
        with pytest.raises(MalformedPayloadError, match="record 1, column 'age'"):
            await tickets[3].wait()
        for place in (0, 2, 4):
            assert (await tickets[place].wait()).row_count == 1
        assert [name for name, _ in world.rows()] == ["Ada", "Alan", "Emmy"]


@pytest.mark.parametrize("limit", [2, 3, 4])
async def test_a_group_has_at_most_so_many_requests(limit: int) -> None:
    limits = replace(LIMITS, ingest_group_requests=limit)
    async with ingest_world(limits=limits) as world:
        tickets = [world.pipeline.submit(people("Ada,36")) for _ in range(3)]
        for ticket in tickets:
            await ticket.wait()
        assert world.pipeline.statistics().groups == (2 if limit < 3 else 1)


@pytest.mark.parametrize(("spare", "groups"), [(-1, 2), (0, 1), (1, 1)])
async def test_a_group_has_at_most_so_many_bytes(spare: int, groups: int) -> None:
    request = people("Ada,36")
    limits = replace(LIMITS, ingest_group_bytes=2 * len(request.payload) + spare)
    async with ingest_world(limits=limits) as world:
        for ticket in [world.pipeline.submit(request) for _ in range(2)]:
            await ticket.wait()
        assert world.pipeline.statistics().groups == groups


async def test_formats_and_tables_do_not_mix_and_database_names_ignore_case() -> None:
    async with ingest_world() as world:
        requests = [
            people("Ada,36"),
            people("Alan\t41", format=DataFormat.TSV),
            people('{"name":"Emmy","age":53}', format=DataFormat.JSON),
            people('[{"name":"Kurt"}]', format=DataFormat.MULTIJSON),
            people("Alonzo,92", database="DB"),
        ]
        for ticket in [world.pipeline.submit(request) for request in requests]:
            await ticket.wait()
        expected = [("Ada", 36), ("Alan", 41), ("Alonzo", 92), ("Emmy", 53), ("Kurt", None)]
        assert sorted(world.rows(), key=str) == expected
        assert world.pipeline.statistics().lanes == 0


# Duplicates


async def test_a_duplicate_gets_the_first_outcome_and_stores_nothing() -> None:
    async with ingest_world() as world:
        first = await world.pipeline.ingest(people("Ada,36", source_id="one"))
        again = await world.pipeline.ingest(people("other,1", "rows,2", source_id="one"))
        assert (again.row_count, again.position, again.duplicate) == (1, first.position, True)
        assert world.rows() == [("Ada", 36)]
        await world.pipeline.ingest(people("Ada,36", source_id="two"))
        await world.pipeline.ingest(people("Ada,36"))
        await world.pipeline.ingest(people("Ada,36"))
        assert len(world.rows()) == 4
        assert world.pipeline.statistics().requests_duplicate == 1


async def test_duplicates_in_one_group_are_stored_once() -> None:
    async with ingest_world() as world:
        tickets = [world.pipeline.submit(people(f"Ada,{i}", source_id="one")) for i in range(4)]
        outcomes = [await ticket.wait() for ticket in tickets]
        assert [outcome.duplicate for outcome in outcomes] == [False, True, True, True]
        assert {outcome.row_count for outcome in outcomes} == {1}
        assert world.rows() == [("Ada", 0)]


async def test_a_duplicate_of_a_staged_request_waits_for_its_commit() -> None:
    async with ingest_world(committing=False) as world:
        first = world.pipeline.submit(people("Ada,36", source_id="one"))
        await wait_all_tasks_blocked()
        second = world.pipeline.submit(people("Ada,36", source_id="one"))
        await wait_all_tasks_blocked()
        assert not first.is_decided
        assert not second.is_decided
        await world.start_committing()
        assert not (await first.wait()).duplicate
        assert (await second.wait()).duplicate
        assert world.rows() == [("Ada", 36)]


async def test_a_duplicate_of_rows_staged_by_somebody_else_waits_for_their_commit() -> None:
    async with ingest_world(committing=False) as world:
        first = world.pipeline.submit(people("Ada,36", source_id="one"))
        await wait_all_tasks_blocked()
        world.pipeline._decider._by_source.clear()  # as if another pipeline had staged them
        second = world.pipeline.submit(people("Ada,36", source_id="one"))
        await wait_all_tasks_blocked()
        assert not second.is_decided
        await world.start_committing()
        await first.wait()
        assert (await second.wait()).duplicate
        assert world.rows() == [("Ada", 36)]


async def test_a_duplicate_of_a_refused_request_is_refused_and_a_later_one_tries_again() -> None:
    async with ingest_world() as world:
        tickets = [world.pipeline.submit(people("Ada,x", source_id="one")) for _ in range(2)]
        for ticket in tickets:
            with pytest.raises(MalformedPayloadError):
                await ticket.wait()
        assert not (await world.pipeline.ingest(people("Ada,36", source_id="one"))).duplicate
        assert world.rows() == [("Ada", 36)]


async def test_the_same_source_id_for_another_table_is_another_request() -> None:
    async with ingest_world() as world:
        world.catalog.put(table("Others", 9))
        await world.pipeline.ingest(people("Ada,36", source_id="one"))
        outcome = await world.pipeline.ingest(people("Ada,36", source_id="one", table="Others"))
        assert not outcome.duplicate
        world.catalog.drop("Others")
        world.catalog.put(table("Others", 10))
        outcome = await world.pipeline.ingest(people("Ada,36", source_id="one", table="Others"))
        assert not outcome.duplicate


async def test_a_cancelled_caller_does_not_take_its_request_back() -> None:
    async with ingest_world(committing=False) as world:
        with trio.move_on_after(0) as scope:
            await world.pipeline.ingest(people("Ada,36", source_id="one"))
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert world.pipeline.statistics().unary_in_flight == 1
        await world.start_committing()
        outcome = await world.pipeline.ingest(people("Ada,36", source_id="one"))
        assert outcome.duplicate
        assert world.rows() == [("Ada", 36)]
        assert world.pipeline.statistics().unary_in_flight == 0


# Threads


async def test_large_requests_are_decoded_in_a_thread_in_the_order_of_arrival() -> None:
    async with ingest_world() as world:
        tickets = [world.pipeline.submit(r) for r in (LARGE, people("last,1"))]
        assert (await tickets[0].wait()).row_count == LARGE_ROWS
        await tickets[1].wait()
        assert world.rows()[-1] == ("last", 1)
        statistics = world.pipeline.statistics()
        assert statistics.groups_in_threads >= 1
        assert statistics.lanes == 0


async def test_other_tables_go_on_while_a_large_group_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = HeldDecoding(monkeypatch)
    async with ingest_world() as world:
        world.catalog.put(table("Others", 9))
        large = world.pipeline.submit(LARGE)
        await wait_all_tasks_blocked()
        await world.pipeline.ingest(people("Ada,36", table="Others"))
        waiting = world.pipeline.submit(people("Alan,41"))
        await wait_all_tasks_blocked()
        assert not large.is_decided
        assert not waiting.is_decided
        held.release.set()
        await large.wait()
        await waiting.wait()
        assert len(world.rows()) == LARGE_ROWS + 1


CHANGES = {
    "dropped": (lambda world: world.catalog.drop("People"), TableNotFoundError),
    "policy off": (
        lambda world: world.catalog.put(table("People", 1, policy=DISABLED)),
        StreamingPolicyError,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_table_that_goes_away_during_decoding_refuses_its_rows(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, error = CHANGES[change]
    held = HeldDecoding(monkeypatch)
    async with ingest_world() as world:
        ticket = world.pipeline.submit(LARGE)
        await wait_all_tasks_blocked()
        apply(world)
        held.release.set()
        with pytest.raises(error):
            await ticket.wait()
        assert world.row_store.statistics().total("committed_records") == 0


async def test_rows_that_become_durable_after_their_table_was_dropped_are_not_acknowledged() -> (
    None
):
    async with ingest_world(committing=False) as world:
        ticket = world.pipeline.submit(people("Ada,36"))
        await wait_all_tasks_blocked()
        (key,) = world.catalog.get("db").tables["People"].keys
        world.catalog.drop("People")
        world.row_store.forget(key)
        await world.start_committing()
        with pytest.raises(TableNotFoundError):
            await ticket.wait()
        assert world.pipeline.statistics().rows_committed == 0


async def test_a_schema_that_changes_during_decoding_has_the_rows_decoded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = HeldDecoding(monkeypatch)
    async with ingest_world() as world:
        request = replace(
            LARGE,
            format=DataFormat.JSON,
            payload=b'{"name":"Ada","age":36,"city":"London"}\n' * 4000,
            source_id="one",
        )
        ticket = world.pipeline.submit(request)
        await wait_all_tasks_blocked()
        wider = (*PEOPLE, Column("city", ScalarType.STRING))
        schemas = {"schemas": (PEOPLE, wider), "column_ids": ((0, 1), (0, 1, 2))}
        world.catalog.put(replace(table("People", 1), **schemas))
        held.release.set()
        await ticket.wait()
        assert set(world.rows()) == {("Ada", 36, "London")}
        assert world.pipeline.statistics().groups_decoded_again == 1
        assert (await world.pipeline.ingest(request)).duplicate


async def test_a_table_created_anew_during_decoding_gets_the_rows_as_a_new_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = HeldDecoding(monkeypatch)
    async with ingest_world() as world:
        request = replace(LARGE, source_id="one")
        ticket = world.pipeline.submit(request)
        await wait_all_tasks_blocked()
        duplicate = world.pipeline.submit(request)
        world.catalog.put(table("People", 77))
        held.release.set()
        assert (await ticket.wait()).key == 77
        assert (await duplicate.wait()).duplicate
        assert world.row_store.position_of([RowStoreKey(1)])[RowStoreKey(1)].ordinal == 0
        assert len(world.rows()) == LARGE_ROWS


async def test_archives_join_groups_by_their_true_size() -> None:
    async with ingest_world() as world:
        small = people("Ada,36", payload=gzip.compress(b"Ada,36\n"))
        large = people("", payload=gzip.compress(LARGE.payload))
        damaged = people("", payload=gzip.compress(b"Kurt,71\n")[:-3])
        tickets = [
            world.pipeline.submit(r) for r in (small, damaged, people("Alan,41"), large, small)
        ]
        assert (await tickets[0].wait()).row_count == 1
        with pytest.raises(InvalidArchiveError):
            await tickets[1].wait()
        assert (await tickets[3].wait()).row_count == LARGE_ROWS
        await tickets[4].wait()
        assert len(world.rows()) == LARGE_ROWS + 3
        assert world.pipeline.statistics().groups == 3
