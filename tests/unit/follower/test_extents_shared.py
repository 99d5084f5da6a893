"""Extent files through the leader: only those of tables that are shared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.catalog.changes import DropTable, ReplaceExtents
from cluster.catalog.following import Sharing
from cluster.errors import EntityNotFoundError
from cluster.replication.sharing import is_file_of
from cluster.rpc.v1 import replication_pb2, replication_pb2_grpc
from cluster.transport.memory import MemoryTransport

NO_T = Sharing(tables_to_exclude=("T",))


async def fetched(setup, extent, follower="follower"):
    """What the leader sends of a file, whoever asks in the follower's name."""
    transport = MemoryTransport(network=setup.network, host="test")
    request = replication_pb2.FetchExtentRequest(
        database="db", extent_id=extent.extent_id, follower_cluster=follower, file=extent.file
    )
    async with transport.connect(setup.address) as channel:
        stub = replication_pb2_grpc.ReplicationServiceStub(channel)
        async with stub.FetchExtent(request) as stream:
            return b"".join([message.data async for message in stream])


async def sealed(setup):
    await setup.leader.ingest([1, 2, 3])
    extent = await setup.leader.seal()
    await setup.follower.shows([1, 2, 3])
    return extent


@pytest.mark.parametrize("state", ["live", "dropped", "garbage"])
async def test_no_file_of_a_table_that_is_not_shared(autojump_clock, setup, state):
    extent = await sealed(setup)
    assert await fetched(setup, extent) == b"[1, 2, 3]"
    if state == "dropped":
        await setup.leader.catalog.commit("db", [DropTable("T", 5)], text="")
    elif state == "garbage":
        change = ReplaceExtents("T", (extent.extent_id,), ())
        await setup.leader.catalog.commit("db", [change], text="")
    assert await fetched(setup, extent) == b"[1, 2, 3]"
    setup.decide(sharing=NO_T)
    setup.tell()
    with pytest.raises(EntityNotFoundError, match=extent.extent_id):
        await fetched(setup, extent)
    setup.decide(sharing=Sharing(tables_to_include=("T",)))
    setup.tell()
    if state == "garbage":
        # The file of this test lies in no table's folder: a doubt is a no.
        with pytest.raises(EntityNotFoundError):
            await fetched(setup, extent)
    else:
        assert await fetched(setup, extent) == b"[1, 2, 3]"


async def test_garbage_is_known_by_the_folder_of_its_table(autojump_clock, setup):
    await sealed(setup)
    tree = setup.leader.catalog.get("db")
    (table,) = tree.tables.values()
    file = f"{tree.database_id}/{table.table_id}/x-0123456789abcdef.parquet"
    assert is_file_of(tree, file)
    assert not is_file_of(replace(tree, tables={}), file)
    await setup.leader.catalog.commit("db", [DropTable("T", 5)], text="")
    assert is_file_of(setup.leader.catalog.get("db"), file)
    assert not is_file_of(tree, "x.parquet")
