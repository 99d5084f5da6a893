"""The streaming ingestion policy through commands: its story, its rules, what is refused."""

from __future__ import annotations

import pytest
from commands_world import OFF, ON, database_row, table_row

from cluster.catalog.model import Version
from cluster.errors import (
    ConflictError,
    DatabaseNotFoundError,
    InvalidRequestError,
    NotSupportedError,
    TableNotFoundError,
)

POLICY_STORY = [
    # what happens, what .alter, .alter-merge and .delete return and .show returns afterwards
    ("'{\"HintAllocatedRate\": 2.1}'", InvalidRequestError),
    ("merge '{\"HintAllocatedRate\": 2.1}'", InvalidRequestError),
    ("'{\"IsEnabled\": true}'", ON),
    ("merge '{\"HintAllocatedRate\": 2.1}'", '{"IsEnabled": true, "HintAllocatedRate": 2.1}'),
    ("disable", '{"IsEnabled": false, "HintAllocatedRate": 2.1}'),
    ("enable", '{"IsEnabled": true, "HintAllocatedRate": 2.1}'),
    ("merge '{\"IsEnabled\": false}'", '{"IsEnabled": false, "HintAllocatedRate": 2.1}'),
    ("merge '[{\"IsEnabled\": true}]'", InvalidRequestError),
    ('\'{"IsEnabled": true, "Enabled": true}\'', InvalidRequestError),
    ("'{\"IsEnabled\": false}'", OFF),
    ("delete", "null"),
    ("delete", "null"),
    ("enable", ON),
    ("delete", "null"),
    ("disable", OFF),
    ('merge ```{\n"IsEnabled": true\n}```', ON),
]


@pytest.mark.fidelity(
    "streaming-ingestion-policy.md",
    ".alter, .alter-merge and .delete return the row that .show returns afterwards",
)
@pytest.mark.parametrize(
    ("entity", "row", "database"),
    [
        ("table T", table_row, "Sales"),
        ("table Sales.T", table_row, "NetDefaultDB"),
        ("table ['sales'].['T']", table_row, ""),
        ("database Sales", database_row, "NetDefaultDB"),
        ("database SALES", database_row, "Sales"),
    ],
)
async def test_the_story_of_a_policy(world, entity, row, database):
    kind = "policy streamingingestion"
    assert await world.row(f".show {entity} {kind}", database) == row("null")
    for step, expected in POLICY_STORY:
        verb = {"merge": "alter-merge", "delete": "delete"}.get(step.split()[0], "alter")
        rest = step.removeprefix("merge").removeprefix("delete")
        text = f".{verb} {entity} {kind} {rest}"
        before = await world.row(f".show {entity} {kind}", database)
        if isinstance(expected, str):
            assert await world.row(text, database) == row(expected)
        else:
            with pytest.raises(expected):
                await world.run(text, database)
        after = await world.row(f".show {entity} {kind}", database)
        assert after == (row(expected) if isinstance(expected, str) else before)


async def test_database_policy_commands_use_the_database_in_context(world):
    assert await world.row(".alter database policy streamingingestion enable") == database_row(ON)
    merge = ".alter-merge database policy streamingingestion '{\"IsEnabled\": false}'"
    assert await world.row(merge) == database_row(OFF)
    assert await world.row(".show database policy streamingingestion") == database_row(OFF)


@pytest.mark.fidelity(
    "streaming-ingestion-policy.md",
    ".show table policy shows what is set on the table, null if nothing is",
)
async def test_show_table_policy_is_not_the_effective_one(world):
    await world.run(".alter database policy streamingingestion enable")
    assert await world.row(".show table T policy streamingingestion") == table_row("null")
    assert world.catalog.get("Sales").streaming_tables() == ("T",)
    await world.run(".alter table T policy streamingingestion disable")
    assert world.catalog.get("Sales").streaming_tables() == ()


@pytest.mark.fidelity(
    "streaming-ingestion-policy.md",
    "A policy of the whole cluster is in the grammar",
    differs="It is shown as null and cannot be set: nothing says what inherits it",
)
async def test_show_cluster_policy(world):
    row = await world.row(".show cluster policy streamingingestion")
    assert row == ("StreamingIngestionPolicy", "", "null", "", "Cluster")


async def test_setting_the_same_policy_again_is_no_new_version(world):
    await world.run(".alter table T policy streamingingestion enable")
    version = world.version()
    await world.run(".alter table T policy streamingingestion '{\"IsEnabled\": true}'")
    assert world.version() == version == Version(1, 2)


@pytest.mark.fidelity(
    "streaming-ingestion-policy.md",
    "The policy cannot be altered while streaming ingestion is off for the cluster",
    differs=(
        "The page gives no status: 409 Conflict with the service's sentence; .delete and "
        "disable are allowed, as giving up streaming begins with removing policies"
    ),
)
@pytest.mark.parametrize("entity", ["table T", "database Sales", "database"])
@pytest.mark.parametrize(
    ("verb", "rest", "refused"),
    [
        ("alter", "'{\"IsEnabled\": true}'", True),
        ("alter", "'{\"IsEnabled\": false}'", True),
        ("alter-merge", "'{\"IsEnabled\": true}'", True),
        ("alter", "enable", True),
        ("alter", "disable", False),
        ("delete", "", False),
    ],
)
async def test_policies_while_the_clusters_capability_is_off(world, entity, verb, rest, refused):
    for name in ("table T", "database Sales"):
        await world.run(f".alter {name} policy streamingingestion enable")
    world.node.capability = False
    version = world.version()
    if verb == "delete" and entity == "database":
        entity = "database Sales"
    text = f".{verb} {entity} policy streamingingestion {rest}"
    if refused:
        with pytest.raises(ConflictError) as caught:
            await world.run(text)
        assert caught.value.message == (
            "Admin command cannot be executed as streaming ingestion is not enabled"
        )
        assert caught.value.http_status == 409
        assert world.version() == version
    else:
        await world.run(text)
        assert world.version() > version


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (".show table X policy streamingingestion", TableNotFoundError),
        (".show table Nope.T policy streamingingestion", DatabaseNotFoundError),
        (".show database Nope policy streamingingestion", DatabaseNotFoundError),
        (".alter table X policy streamingingestion enable", TableNotFoundError),
        (".alter table t policy streamingingestion enable", TableNotFoundError),
        (".alter table Nope.T policy streamingingestion enable", DatabaseNotFoundError),
        (".alter database Nope policy streamingingestion enable", DatabaseNotFoundError),
        (".alter-merge table X policy streamingingestion '{}'", TableNotFoundError),
        (".delete table X policy streamingingestion", TableNotFoundError),
        (".delete database Nope policy streamingingestion", DatabaseNotFoundError),
        (".alter cluster policy streamingingestion enable", NotSupportedError),
    ],
)
async def test_policies_of_what_does_not_exist(world, text, error):
    world.node.capability = False  # existence is looked at first
    with pytest.raises(error):
        await world.run(text)
