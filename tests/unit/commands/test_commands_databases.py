"""Commands about databases: flavors of what is shown, pretty names."""

from __future__ import annotations

import json

import pytest
from commands_world import extent

from cluster.catalog.changes import ReplaceExtents
from cluster.errors import DatabaseNotFoundError, InvalidRequestError, NotSupportedError

DAY_US = 86_400 * 10**6


async def shown(world, text, database="Sales"):
    result = await world.service.execute(database, text)
    (row,) = result.rows
    return dict(zip((column.name for column in result.columns), row, strict=True))


@pytest.mark.fidelity(
    "show-databases.md",
    "details has policies and sizes",
    differs="Of this moment, not up to 15 minutes old",
)
async def test_details(world):
    await world.run(".alter database Sales policy retention '{}'")
    await world.run(".alter database Sales policy streamingingestion enable")
    await world.catalog.commit(
        "Sales", [ReplaceExtents("T", (), (extent("e1", 5), extent("e2", 7)))], text=""
    )
    row = await shown(world, ".show database details")
    assert row == await shown(world, ".show database verbose")
    assert row == await shown(world, ".show cluster databases (Sales) details")
    assert row["TotalSize"] == 200.0
    assert json.loads(row["RetentionPolicy"])["Recoverability"] == "Enabled"
    assert json.loads(row["StreamingIngestionPolicy"])["IsEnabled"] is True
    names = ("MergePolicy", "CachingPolicy", "ShardingPolicy", "IngestionBatchingPolicy")
    assert [row[name] for name in names] == ["null"] * 4
    assert row["AuthorizedPrincipals"] == "[]"
    assert row["DatabaseId"] == world.catalog.get("Sales").database_id


async def test_policies_identity_and_metadata(world):
    await world.run(".alter database Sales policy merge '{}'")
    row = await shown(world, ".show database policies")
    assert json.loads(row["MergePolicy"])["MaxExtentsToMerge"] == 100
    assert row["RetentionPolicy"] == "null"
    row = await shown(world, ".show database identity")
    assert row["CurrentUserIsUnrestrictedViewer"] is True
    assert row["IsCurrent"] is True
    row = await shown(world, ".show database metadata")
    assert row == {
        "DatabaseName": "Sales",
        "Version": str(world.version()),
        "PersistentStorage": "",
        "MetadataPersistentStorage": "",
        "DatabaseAccessMode": "ReadWrite",
    }
    assert len(await world.run(".show databases identity")) == 2


async def test_datastats_count_what_is_hot(world):
    world.node.clock.ns = 10 * DAY_US * 1000
    await world.run(".create table U (a:long)")
    await world.run(".alter table T policy caching hot = 1d")
    old, new = extent("e1", 5, created_us=DAY_US), extent("e2", 7, created_us=10 * DAY_US)
    await world.catalog.commit("Sales", [ReplaceExtents("T", (), (old, new))], text="")
    other = extent("e3", 11, created_us=DAY_US, columns=(0,))
    await world.catalog.commit("Sales", [ReplaceExtents("U", (), (other,))], text="")
    row = await shown(world, ".show database datastats")
    names = ("OriginalSize", "ExtentSize", "CompressedSize", "IndexSize", "RowCount")
    assert [row[name] for name in names] == [3000.0, 300.0, 300.0, 0.0, 23]
    assert [row[f"Hot{name}"] for name in names] == [2000.0, 200.0, 200.0, 0.0, 18]
    many = await shown(world, ".show databases (Sales) datastats")
    assert {name: many[name] for name in names} == {name: row[name] for name in names}


@pytest.mark.fidelity("alter-database-prettyname.md", "A database has a pretty name")
async def test_pretty_name(world):
    assert await world.run(".alter database sales prettyname 'Sales of 2024'", "") == [
        ("Sales", "Sales of 2024")
    ]
    assert (await world.row(".show database"))[5] == "Sales of 2024"
    assert await world.run(".set database prettyname 'x'") == [("Sales", "x")]
    version = world.version()
    await world.run(".alter database prettyname 'x'")
    assert world.version() == version
    assert await world.run(".drop database Sales prettyname") == [("Sales", "")]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (".show databases (Nope) details", DatabaseNotFoundError),
        (".alter database Nope prettyname 'x'", DatabaseNotFoundError),
        (".show databases details with (x=1)", InvalidRequestError),
        (".detach database Sales", NotSupportedError),
        (".attach database metadata X from 'p' readonly version='1'", NotSupportedError),
        (".set access Sales to readonly", NotSupportedError),
    ],
)
async def test_what_is_refused(world, text, error):
    with pytest.raises(error):
        await world.run(text)
