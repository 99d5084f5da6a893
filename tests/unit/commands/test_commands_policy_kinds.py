"""Policies of every kind through commands: one story for all, and each special syntax."""

from __future__ import annotations

import json

import pytest
from command_examples import EXAMPLES

from cluster.catalog.policies import retention_of
from cluster.catalog.policy_kinds import POLICY_KINDS, Scope
from cluster.errors import (
    DatabaseNotFoundError,
    EntityNotFoundError,
    InvalidRequestError,
    NotSupportedError,
    RequestError,
    SemanticError,
    SyntaxRefusedError,
    TableNotFoundError,
)

ENTITIES = {
    Scope.CLUSTER: ("", "", "Cluster"),
    Scope.DATABASE: ("Sales", '["S","T"]', "Database"),
    Scope.TABLE: ("[Sales].[T]", "", "Table"),
    Scope.COLUMN: ("[Sales].[T].[a]", "", "Column"),
}
EVERY = [(kind, scope) for kind in POLICY_KINDS.values() for scope in kind.scopes]


@pytest.mark.fidelity(
    "policies", "Each policy is shown, altered and deleted at each of its scopes with one row"
)
@pytest.mark.parametrize(("kind", "scope"), EVERY, ids=lambda item: item.name)
async def test_the_story_of_every_kind_at_every_scope(world, kind, scope):
    await world.run(".create table S (x:int)")
    name = scope.value.lower()
    entity, children, entity_type = ENTITIES[scope]

    def row(policy):
        return (kind.policy_name, entity, policy, children, entity_type)

    show = EXAMPLES[f"show {name} policy {kind.name}"]
    assert await world.row(show) == row("null")
    altered = await world.row(EXAMPLES[f"alter {name} policy {kind.name}"])
    assert altered == await world.row(show) == row(altered[2])
    assert isinstance(json.loads(altered[2]), dict | list)
    version = world.version("NetDefaultDB"), world.version()
    await world.row(EXAMPLES[f"alter {name} policy {kind.name}"])
    assert (world.version("NetDefaultDB"), world.version()) == version, "nothing new"
    if kind.can_merge:
        merged = await world.row(EXAMPLES[f"alter-merge {name} policy {kind.name}"])
        assert merged == await world.row(show)
    delete = EXAMPLES[f"delete {name} policy {kind.name}"]
    assert await world.row(delete) == await world.row(show) == row("null")
    assert await world.row(delete) == row("null")


@pytest.mark.fidelity("policies", ".alter tables (T1, T2) policy sets all or none")
@pytest.mark.parametrize(
    "kind", [kind for kind in POLICY_KINDS.values() if Scope.TABLE in kind.scopes]
)
async def test_several_tables_all_or_none(world, kind):
    await world.run(".create tables S (x:int), U (a:long)")
    text = EXAMPLES[f"alter tables policy {kind.name}"]
    with pytest.raises(TableNotFoundError):
        await world.run(text.replace("(T)", "(U, X)"))
    assert (await world.row(f".show table U policy {kind.name}"))[2] == "null"
    version = world.version()
    rows = await world.run(text.replace("(T)", "(U, T, U)"))
    assert [row[1] for row in rows] == ["[Sales].[U]", "[Sales].[T]"]
    assert rows[0][2] == rows[1][2] != "null"
    assert world.version() == version.next()


@pytest.mark.fidelity("policies", ".show table * and .show database * policy show each of them")
async def test_star_shows_each_of_them(world):
    await world.run(".create table A (x:int)")
    rows = await world.run(".show table * policy retention")
    assert [(row[1], row[4]) for row in rows] == [
        ("[Sales].[A]", "Table"),
        ("[Sales].[T]", "Table"),
    ]
    rows = await world.run(".show database * policy merge")
    assert [row[1] for row in rows] == ["NetDefaultDB", "Sales"]
    rows = await world.run(".show column * policy caching")
    assert [row[1] for row in rows] == [
        "[Sales].[A].[x]",
        "[Sales].[T].[a]",
        "[Sales].[T].[b c]",
    ]


async def test_a_table_may_be_named_with_its_database(world):
    text = '.alter table sales.T policy retention \'{"SoftDeletePeriod":"7"}\''
    row = await world.row(text, "NetDefaultDB")
    assert row[1:3] == (
        "[Sales].[T]",
        '{"SoftDeletePeriod":"7.00:00:00","Recoverability":"Enabled"}',
    )
    assert (await world.row(".show table Sales.T policy retention", "")) == row
    assert len(await world.run(".delete table Sales.T policy retention", "")) == 1


# Retention


@pytest.mark.fidelity(
    "retention-policy.md",
    "{} sets the defaults; softdelete and recoverability have a syntax of their own",
)
async def test_retention_defaults_and_its_own_syntax(world):
    default = '{"SoftDeletePeriod":"365000.00:00:00","Recoverability":"Enabled"}'
    assert (await world.row('.alter table T policy retention "{}"'))[2] == default
    assert (await world.row(".alter-merge table T policy retention softdelete = 10d"))[2] == (
        '{"SoftDeletePeriod":"10.00:00:00","Recoverability":"Enabled"}'
    )
    text = ".alter-merge table T policy retention recoverability = disabled"
    assert (await world.row(text))[2] == (
        '{"SoftDeletePeriod":"10.00:00:00","Recoverability":"Disabled"}'
    )
    text = ".alter-merge database policy retention softdelete = 36h recoverability = enabled"
    assert (await world.row(text))[2] == (
        '{"SoftDeletePeriod":"1.12:00:00","Recoverability":"Enabled"}'
    )


async def test_a_table_inherits_the_policy_of_its_database(world):
    def days():
        sales = world.catalog.get("Sales")
        return retention_of(sales, sales.tables["T"]).soft_delete_us // (86_400 * 10**6)

    assert days() == 365_000
    await world.run(".alter-merge database Sales policy retention softdelete = 5d")
    assert days() == 5
    await world.run(".alter-merge table T policy retention softdelete = 3d")
    assert days() == 3
    assert (await world.row(".show database policy retention"))[2].startswith(
        '{"SoftDeletePeriod":"5.'
    )
    await world.run(".delete table T policy retention")
    assert days() == 5


@pytest.mark.fidelity("retention-policy.md", "A period of zero needs a transactional update policy")
async def test_a_period_of_zero_needs_a_transactional_update_policy(world):
    zero = (
        '.alter table T policy retention \'{"SoftDeletePeriod":"0","Recoverability":"Disabled"}\''
    )
    with pytest.raises(RequestError) as caught:
        await world.run(zero)
    assert caught.value.code == "BadRequest_ZeroRetentionPolicyWithNoUpdatePolicy"
    await world.run(".create table U (a:long)")
    update = '[{"Source":"T","Query":"T","IsTransactional":true}]'
    await world.run(f".alter table U policy update '{update}'")
    await world.run(zero)
    with pytest.raises(RequestError):
        await world.run('.alter database policy retention \'{"SoftDeletePeriod":"0"}\'')


# Caching, row order, flags


@pytest.mark.fidelity(
    "alter-table-cache-policy-command.md",
    ".alter policy caching takes hot, hotdata and hotindex, and hot windows",
)
@pytest.mark.parametrize("entity", ["cluster", "database", "table T", "column T.a", "tables (T)"])
async def test_caching(world, entity):
    row = (await world.run(f".alter {entity} policy caching hot = 30d"))[0]
    assert row[2] == (
        '{"DataHotSpan":{"Value":"30.00:00:00"},"IndexHotSpan":{"Value":"30.00:00:00"}}'
    )
    text = (
        f".alter {entity} policy caching hotdata = 2h hotindex = time(1.00:00:00), "
        "hot_window = datetime(2021-01-01) .. datetime(2021-02-01), "
        "hot_window = 2021-03-01 .. 2021-03-02T12:00"
    )
    row = (await world.run(text))[0]
    assert json.loads(row[2]) == {
        "DataHotSpan": {"Value": "02:00:00"},
        "IndexHotSpan": {"Value": "1.00:00:00"},
        "HotWindows": [
            {"MinValue": "2021-01-01T00:00:00Z", "MaxValue": "2021-02-01T00:00:00Z"},
            {"MinValue": "2021-03-01T00:00:00Z", "MaxValue": "2021-03-02T12:00:00Z"},
        ],
    }


@pytest.mark.fidelity(
    "row-order-policy.md", ".alter and .alter-merge policy roworder take columns with asc and desc"
)
async def test_row_order_and_its_merge(world):
    row = await world.row(".alter table T policy roworder (a asc)")
    assert row[2] == '[{"ColumnName":"a","SortOrder":"asc"}]'
    row = await world.row(".alter-merge table T policy roworder (['b c'] desc)")
    assert [item["ColumnName"] for item in json.loads(row[2])] == ["a", "b c"]


@pytest.mark.fidelity(
    "ingestion-time-policy.md", "policy ingestiontime and restricted_view_access are true or false"
)
async def test_policies_that_are_true_or_false(world):
    for kind in ("ingestiontime", "restricted_view_access"):
        row = await world.row(f".alter table T policy {kind} false")
        assert row[2] == '{"IsEnabled":false}'
        row = (await world.run(f".alter tables (T) policy {kind} true"))[0]
        assert row[2] == '{"IsEnabled":true}'


# Update policies


async def test_the_node_looks_at_the_queries_of_an_update_policy(world):
    await world.run(".create table S (x:int)")
    await world.run(EXAMPLES["alter table policy update"])
    ((table, policies),) = world.node.update_policies.asked
    assert (table, policies[0].source, policies[0].query) == ("T", "S", "S")
    tree = world.catalog.get("Sales")
    world.node.update_policies.refusal = SemanticError("no")
    with pytest.raises(SemanticError):
        await world.run(EXAMPLES["alter-merge table policy update"])
    assert world.catalog.get("Sales") is tree
    world.node.update_policies.refusal = None
    await world.run(".delete table T policy update")
    assert len(world.node.update_policies.asked) == 3
    assert world.node.update_policies.asked[-1] == ("T", ())


@pytest.mark.fidelity(
    "alter-merge-table-update-policy-command.md", ".alter-merge appends to the list"
)
async def test_merging_an_update_policy_appends(world):
    await world.run(".create table S (x:int)")
    await world.run(EXAMPLES["alter table policy update"])
    row = await world.row(EXAMPLES["alter-merge table policy update"])
    assert len(json.loads(row[2])) == 2


# What is refused


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (".show table X policy merge", TableNotFoundError),
        (".show table Nope.T policy merge", DatabaseNotFoundError),
        (".alter table X policy merge '{}'", TableNotFoundError),
        (".delete table X policy merge", TableNotFoundError),
        (".delete database Nope policy merge", DatabaseNotFoundError),
        (".alter column T.x policy encoding '{}'", EntityNotFoundError),
        (".alter table T policy merge '{\"Foo\":1}'", InvalidRequestError),
        (".alter table T policy merge '['", InvalidRequestError),
        (".alter table T policy roworder (x asc)", EntityNotFoundError),
        (".alter table T policy roworder (a asc, a desc)", InvalidRequestError),
        (".alter table T policy roworder (a up)", SyntaxRefusedError),
        (EXAMPLES["alter table policy update"], EntityNotFoundError),
        (EXAMPLES["alter table policy update"].replace('"S"', '"T"'), InvalidRequestError),
        (".alter table T policy update '[]' with (x=1)", InvalidRequestError),
        (".alter table T policy caching hot = 7", SyntaxRefusedError),
        (".alter table T policy caching hot = 1d, hot_window = 2021-01-02 .. 2021-01-01",
         InvalidRequestError),
        (".alter table T policy ingestiontime maybe", SyntaxRefusedError),
        (".alter database policy ingestiontime true", SyntaxRefusedError),
        (".alter tables (T) policy streamingingestion enable", SyntaxRefusedError),
        (".show table * policy streamingingestion", SyntaxRefusedError),
        (".alter table T policy capacity '{}'", NotSupportedError),
        (".alter table T policy row_level_security enable '  '", InvalidRequestError),
        (".alter table T policy row_level_security enable 'T' with (x=1)", SyntaxRefusedError),
        (".alter table T policy row_level_security enable with (x=1) 'T'", InvalidRequestError),
    ],
)  # fmt: skip
async def test_policies_that_are_refused(world, text, error):
    tree = world.catalog.get("Sales")
    with pytest.raises(error):
        await world.run(text)
    assert world.catalog.get("Sales") is tree


async def test_policies_of_the_cluster_are_kept_on_a_follower_too(follower):
    await follower.run(EXAMPLES["alter cluster policy rowstore"])
    row = await follower.row(".show cluster policy rowstore")
    assert row[0] == "RowStorePolicy"
    assert json.loads(row[2])["TableSealThresholdBytes"] == 200 * 1024 * 1024
