"""Queries and waits at a follower node, from the gateway down to the followed copies."""

from __future__ import annotations

import math
from dataclasses import replace

import pyarrow as pa
import pytest
import trio
import trio.testing

from cluster.catalog.changes import CreateTable, DropTable, ReplaceExtents
from cluster.catalog.model import Column, ScalarType
from cluster.errors import DatabaseNotFoundError
from cluster.gateway.answering import Answering
from cluster.gateway.query import QueryService
from cluster.node.databases import NodeDatabases
from cluster.query.binding import Answer, QueryResult, ResultColumn
from cluster.replication.position import START, KeyPosition, Position
from cluster.rowstore.model import Rows
from cluster.rpc.convert import position_to_message
from cluster.rpc.v1 import query_pb2


class NoRows:
    """The row store of a node that owns nothing but empty tables."""

    def rows(self, key):
        return Rows((), (), START)

    def position_of(self, keys):
        return dict.fromkeys(keys, START)

    def take_moved(self):
        return set()

    def end_lsn(self):
        return 0

    async def wait_beyond(self, lsn):
        await trio.sleep_forever()


class Counting:
    """An engine that counts the rows of the followed table it reads, then does what is told."""

    def __init__(self, meanwhile):
        self.meanwhile = meanwhile
        self.answers = []

    async def answer(self, kql, snapshot, request):
        tables = snapshot.tables if snapshot.database == "db" else snapshot.others["db"]
        count = sum(batch.num_rows for batch in tables["T"].batches)
        assert tables["T"].batches == tables["T"].batches, "a query sees one moment of a table"
        self.answers.append(count)
        await trio.lowlevel.checkpoint()
        self.meanwhile()
        table = pa.table({"n": pa.array([count], pa.int64())})
        return Answer((QueryResult((ResultColumn("n", ScalarType.LONG),), table),))


class Stream:
    seconds_left = math.inf
    metadata = ()

    def __init__(self):
        self.sent = []

    async def send(self, message):
        await trio.lowlevel.checkpoint()
        self.sent.append(message)


def databases_of(setup):
    return NodeDatabases(setup.follower.catalog, NoRows(), setup.follower.manager)


@pytest.mark.parametrize("context", ["db", "NetDefaultDB"])
async def test_rows_hidden_while_a_query_ran_are_not_in_its_answer(autojump_clock, setup, context):
    await setup.leader.ingest([1, 2, 3])
    await setup.follower.shows([1, 2, 3])

    def close():
        setup.decide(rows=False)
        setup.tell()

    engine, stream = Counting(close), Stream()
    request = query_pb2.QueryRequest(database=context, kql="database('db').T | count")
    await QueryService(Answering(engine, databases_of(setup))).Query(request, stream)
    assert engine.answers[0] == 3, "it did see the rows"
    data = b"".join(part.arrow for part in stream.sent)
    assert pa.ipc.open_stream(data).read_all()["n"].to_pylist() == [0]


async def test_a_count_is_the_same_at_every_moment_of_seals_and_merges(autojump_clock, setup):
    databases, ended, counts = databases_of(setup), trio.Event(), []
    for number in range(12):
        await setup.leader.ingest([number], place=number % 4)
    await setup.follower.until(lambda f: len(f.numbers()) == 12)

    async def count():
        while not ended.is_set():
            counts.append(databases.pin("db").snapshot.tables["T"].row_count)
            await trio.sleep(0.0001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        first = await setup.leader.seal()
        merged = replace(first, extent_id=setup.leader.catalog.new_id())
        change = ReplaceExtents("T", (first.extent_id,), (merged,))
        await setup.leader.catalog.commit("db", [change], text="")
        await setup.follower.until(
            lambda f: merged.extent_id in f.database.pin().database.tables["T"].extents
        )
        setup.decide(rows=False)
        setup.tell()
        await trio.sleep(0.1)
        ended.set()
    assert len(counts) > 100
    assert set(counts) == {12}


async def test_another_database_is_read_at_one_moment(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    snapshot = databases_of(setup).pin("NetDefaultDB").snapshot
    seen = snapshot.others["db"]["T"]
    await setup.leader.ingest([2])
    await setup.follower.shows([1, 2])
    assert snapshot.others["db"]["T"] is seen


async def test_whoever_waits_for_a_database_is_told_when_it_is_detached(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    table = setup.leader.table()
    position = setup.leader.row_stores.position_of([table.key])
    ahead = Position(setup.leader.catalog.get("db").version.next(), position)
    ended = []

    async def wait(databases):
        with trio.fail_after(60), pytest.raises(DatabaseNotFoundError):
            await databases.wait_for("db", ahead)
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(wait, databases_of(setup))
        await trio.testing.wait_all_tasks_blocked()
        setup.decide(attached=False)
        setup.tell()
        detached_at = trio.current_time()
    assert ended == [detached_at, detached_at]


async def test_a_position_in_a_table_dropped_since_is_included(autojump_clock, setup):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    version = setup.leader.catalog.get("db").version
    rows = Position(version, setup.leader.row_stores.position_of([setup.leader.table().key]))
    await setup.leader.catalog.commit("db", [DropTable("T")], text="")
    gone = Position(setup.leader.catalog.get("db").version, rows.keys)
    databases = databases_of(setup)
    request = query_pb2.WaitForRequest(database="db", at_least=position_to_message(gone))
    with trio.fail_after(60):
        await databases.wait_for("db", gone)
        await QueryService(Answering(Counting(lambda: None), databases)).WaitFor(request, Stream())


async def test_a_position_in_a_table_of_our_own_dropped_since_is_included(autojump_clock, setup):
    catalog = setup.follower.catalog
    key = catalog.new_key()
    columns = (Column("Number", ScalarType.LONG),)
    await catalog.commit(
        "NetDefaultDB", [CreateTable("T", catalog.new_id(), key, columns)], text=""
    )
    before = Position(catalog.get("NetDefaultDB").version, {key: KeyPosition(1, 1)})
    databases = databases_of(setup)
    request = query_pb2.WaitForRequest(
        database="NetDefaultDB", at_least=position_to_message(before)
    )
    with trio.move_on_after(3) as scope:
        await databases.wait_for("NetDefaultDB", before)
    assert scope.cancelled_caught, "the row is not there yet"
    await catalog.commit("NetDefaultDB", [DropTable("T")], text="")
    with trio.fail_after(60):
        await databases.wait_for("NetDefaultDB", before)
        await QueryService(Answering(Counting(lambda: None), databases)).WaitFor(request, Stream())
