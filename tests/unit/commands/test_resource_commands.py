"""What clients of queued ingestion ask for before they upload."""

from __future__ import annotations

import pytest

from cluster.commands.resources import NoResources
from cluster.errors import DatabaseNotFoundError, NotSupportedError, TableNotFoundError
from cluster.request import Caller, ClientRequest

REQUEST = ClientRequest(Caller("aadapp=a;b"), origin="http://localhost:8080")


@pytest.mark.fidelity(
    "get-ingestion-resources",
    "Ingestion resources and identity token are given to clients",
    differs=(
        "Each node answers, there is no service of its own; URIs are at the address the client used"
    ),
)
@pytest.mark.parametrize(
    ("text", "row"),
    [
        (
            ".get ingestion resources",
            ("TempStorage", "http://localhost:8080/account/temporary?sas"),
        ),
        (
            ".show ingestion resources",
            ("TempStorage", "http://localhost:8080/account/temporary?sas"),
        ),
        (".get kusto identity token", ("token of aadapp=a;b",)),
        (".show export containers", ("http://localhost:8080/account/export?sas",)),
        (".create tempstorage", ("http://localhost:8080/account/temporary?sas",)),
    ],
)
async def test_resources_are_where_the_caller_reached_the_node(world, text, row):
    assert await world.run(text, "NetDefaultDB", REQUEST) == [row]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (".refresh database 'Sales' table 'T' cache ingestionbatchingpolicy", ("Sales", "T")),
        ('.refresh database ["SALES"] table T cache ingestionbatchingpolicy;', ("Sales", "T")),
        (".refresh database Sales cache ingestionbatchingpolicy", ("Sales", "")),
    ],
)
async def test_a_changed_batching_policy_is_looked_at(world, text, asked):
    assert await world.run(text) == [("leader-0", "Succeeded")]
    assert world.node.resources.refreshed == [asked]


async def test_batching_of_what_does_not_exist(world):
    with pytest.raises(DatabaseNotFoundError):
        await world.run(".refresh database Nowhere cache ingestionbatchingpolicy")
    with pytest.raises(TableNotFoundError):
        await world.run(".refresh database Sales table U cache ingestionbatchingpolicy")
    assert world.node.resources.refreshed == []


async def test_a_node_without_storage_says_so(world):
    world.node.resources = NoResources()
    for text in (
        ".get ingestion resources",
        ".get kusto identity token",
        ".show export containers",
        ".create tempstorage",
    ):
        with pytest.raises(NotSupportedError, match="serves no storage"):
            await world.run(text)
    assert await world.run(".refresh database Sales cache ingestionbatchingpolicy") == [
        ("leader-0", "Succeeded")
    ]
