"""``.drop database``: whole, with its files, and never while somebody follows it."""

from __future__ import annotations

import itertools

import pytest
from commands_world import FixedClock, extent

from cluster.catalog.changes import DropTable, ReplaceExtents
from cluster.catalog.driver import Catalog
from cluster.catalog.model import Version
from cluster.errors import (
    ConflictError,
    DatabaseNotFoundError,
    NotSupportedError,
    ReadOnlyError,
    UnavailableError,
)


async def names(world):
    return [row[0] for row in await world.run(".show databases")]


async def test_a_database_is_dropped_with_everything_in_it(world, tmp_path):
    await world.run(".create table U (a:long, b:long)")
    kept, dropped = extent("e1", 5), extent("e2", 7)
    await world.catalog.commit("Sales", [ReplaceExtents("T", (), (kept,))], text="")
    await world.catalog.commit("Sales", [ReplaceExtents("U", (), (dropped,))], text="")
    await world.catalog.commit("Sales", [DropTable("U", 5)], text="")
    tree = world.catalog.get("Sales")
    assert await world.run(".drop database SALES") == [("T", "1")]
    assert await names(world) == ["NetDefaultDB"]
    with pytest.raises(DatabaseNotFoundError):
        world.catalog.get("Sales")
    garbage = world.catalog.garbage()
    assert {item.file for item in garbage} == {kept.file, dropped.file}
    assert {item.version for item in garbage} == {
        Version(tree.version.major, tree.version.minor + 1)
    }
    assert not set(tree.row_store_keys()).intersection(world.catalog.tables_by_key())
    await world.catalog.aclose()
    async with await Catalog.open(
        tmp_path / "catalog.sqlite", clock=FixedClock(), mint=itertools.count(1).__next__
    ) as again:
        assert [database.name for database in again.databases()] == ["NetDefaultDB"]
        assert {item.file for item in again.garbage()} == {kept.file, dropped.file}
        made, _ = await again.create_database("Sales")
        assert made.database_id != tree.database_id


async def test_what_is_not_there(world):
    with pytest.raises(DatabaseNotFoundError):
        await world.run(".drop database Nope")
    assert await world.run(".drop database Nope ifexists") == []
    assert await names(world) == ["NetDefaultDB", "Sales"]
    assert await world.run(".drop database Sales ifexists skip-seal") == [("T", "0")]
    assert await names(world) == ["NetDefaultDB"]


@pytest.mark.fidelity("follower.md", "A followed database cannot be dropped")
async def test_a_followed_database_is_not_dropped_and_its_followers_are_named(world):
    world.node.followers = ("follower1", "west")
    with pytest.raises(ConflictError, match=r"it is followed by follower1, west\."):
        await world.run(".drop database Sales")
    assert world.catalog.get("Sales")
    world.node.followers = ()
    assert await world.run(".drop database Sales") == [("T", "0")]


async def test_in_doubt_nothing_is_dropped(world):
    world.node.followers = UnavailableError("nobody knows")
    with pytest.raises(UnavailableError):
        await world.run(".drop database Sales")
    assert world.catalog.get("Sales")


async def test_the_default_database_stays(world):
    with pytest.raises(NotSupportedError, match="every cluster has it"):
        await world.run(".drop database netdefaultdb")


@pytest.mark.fidelity("follower.md", "An attached database is detached, not dropped")
async def test_a_following_database_is_detached_not_dropped(follower):
    with pytest.raises(ReadOnlyError):
        await follower.run(".drop database Sales")
