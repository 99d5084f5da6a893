"""Row level security: what is read in the place of a table, by whom, and no way around it."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pytest

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import Column, Database, Function, ScalarType
from cluster.errors import NotSupportedError, RemoraError, SemanticError
from cluster.query.binding import QuerySnapshot, given_table
from cluster.request import Caller, ClientRequest

STRING, LONG = ScalarType.STRING, ScalarType.LONG
SALES = (Column("who", STRING), Column("amount", LONG), Column("mail", STRING))
TEAM = (Column("boss", STRING), Column("member", STRING))
ROWS = (("aaduser=a@x", 1, "m1"), ("aaduser=b@x", 2, "m2"), ("aaduser=b@x", 4, "m4"))
OWN = "Sales | where who == current_principal()"
ANN = ClientRequest(Caller("aaduser=a@x"))
BOB = ClientRequest(Caller("aaduser=b@x", frozenset(["aadgroup=managers;tenant"])))
NOBODY = ClientRequest(Caller())


def batch(schema, *rows):
    arrow = arrow_schema(schema)
    arrays = [pa.array(v, f.type) for v, f in zip(zip(*rows, strict=True), arrow, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow)


def secured(table, query, *, is_enabled=True):
    """The table under a policy."""
    policy = json.dumps({"IsEnabled": is_enabled, "Query": query})
    return replace(table, table=replace(table.table, policies={"row_level_security": policy}))


def sales(query=OWN, **more):
    return secured(
        given_table("Sales", SALES, (batch(SALES, *ROWS),), ingested_us=7), query, **more
    )


def world(query=OWN, functions=None, **more):
    """A database of sales under a policy, teams and the like, and another database of sales."""
    tables = {
        "Sales": sales(query, **more),
        "Team": given_table("Team", TEAM, (batch(TEAM, ("aaduser=a@x", "aaduser=b@x")),)),
        "Open": given_table("Open", SALES, (batch(SALES, ("o", 100, "open")),)),
    }
    return QuerySnapshot("Home", tables, {"Away": {"Sales": sales()}}, functions or {})


@pytest.fixture
def ask(answer):
    async def run(kql, snapshot, request=ANN):
        got = await answer.engine.answer(kql, snapshot, request)
        return [tuple(row.values()) for row in got.results[-1].table.to_pylist()]

    return run


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md", "Who reads a table under a policy reads what its query gives"
)
@pytest.mark.parametrize(
    ("request_", "amounts"), [(ANN, [1]), (BOB, [2, 4]), (NOBODY, [])], ids=["ann", "bob", "nobody"]
)
async def test_each_reads_what_the_policy_gives_them(ask, request_, amounts):
    assert await ask("Sales | project amount | sort by amount asc", world(), request_) == [
        (amount,) for amount in amounts
    ]


@pytest.mark.parametrize(
    "kql",
    [
        "Sales | count",
        "Sales | summarize count()",
        "Sales | take 10 | count",
        "union Sales, (Sales | take 0) | count",
        "union S* | count",
        "union withsource=s Sales | count",
        "let x = Sales; x | count",
        "let Sales2 = materialize(Sales); Sales2 | count",
        "let f = () { Sales }; f() | count",
        "Sales | as X | count",
        "Open | extend k = 1 | join kind=fullouter (Sales | extend k = 1) on k | count",
        "print n = toscalar(Sales | count)",
        "['Sales'] | count",
        "database('Home').Sales | count",
        "database('Away').Sales | count",
        "Sales | extend t = ingestion_time() | where isnotnull(t) | count",
        "union Sales, Open | where mail startswith 'm' | count",
        "print n = toscalar(Sales | where who in ((Sales | project who)) | count)",
        "let Sales = Sales | take 10; Sales | count",
        "let current_principal = () { 'aaduser=b@x' }; Sales | count",
        "let Team = datatable(boss:string)['aaduser=a@x']; Sales | count",
        "let who = 'aaduser=b@x'; Sales | count",
        "set query_force_row_level_security = false; Sales | count",
        "Stored | count",
        "Sales | extend b = bag_pack(mail, 1) | evaluate bag_unpack(b) | count",
        "Sales | evaluate pivot(mail, count()) | count",
        "Sales | partition by who (count)",
        "search 'aaduser' | where $table == 'Sales' | count",
        "Sales | fork (count)",
        "Sales | summarize take_any(mail) by who | count",
        "Sales | lookup kind=leftouter (Open) on mail | count",
        "let f = (rows:(amount:long)) { rows | count }; Sales | invoke f()",
    ],
)
async def test_there_is_no_way_around_it(ask, kql):
    functions = {"Stored": Function("Stored", "()", "{ Sales }")}
    assert await ask(kql, world(functions=functions)) == [(1,)]


@pytest.mark.parametrize(
    "kql", ["search in (Sales) 'aaduser' | count", "find in (Sales) where amount > 0 | count"]
)
async def test_what_reads_tables_in_other_ways_is_secured_too_or_refused(ask, kql):
    try:
        rows = await ask(kql, world())
    except NotSupportedError:
        return
    assert rows == [(1,)]


async def test_a_union_names_the_table(ask):
    kql = "union withsource=s Sales, Open | summarize count() by s | sort by s asc"
    assert await ask(kql, world()) == [("Open", 1), ("Sales", 1)]


async def test_who_looks_for_a_value_finds_it_in_their_rows_only(ask):
    assert await ask("Sales | where mail == 'm2'", world()) == []
    assert await ask("Open | where who in ((Sales | project mail))", world()) == []


@pytest.mark.parametrize("name", ["$policy Sales", "$secured $ingestion_time Sales", "$0"])
async def test_no_text_can_spell_what_is_behind_it(ask, name):
    with pytest.raises((SemanticError, NotSupportedError)):
        await ask(f"['{name}'] | count", world())
    kql = f"let ['{name}'] = Open; Sales | count"
    try:
        rows = await ask(kql, world())
    except (SemanticError, NotSupportedError):
        return
    assert rows == [(1,)]


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md", "A policy's query can hide columns, ask for groups, and use let"
)
async def test_the_example_of_managers(ask):
    policy = """let IsManager = current_principal_is_member_of('aadgroup=managers');
        let AllData = Sales | where IsManager;
        let PartialData = Sales | where not(IsManager) and (who == current_principal());
        union AllData, PartialData
        | extend mail = "****" """
    assert await ask("Sales | sort by amount asc", world(policy)) == [("aaduser=a@x", 1, "****")]
    everything = await ask("Sales | project amount, mail", world(policy), BOB)
    assert sorted(everything) == [(1, "****"), (2, "****"), (4, "****")]


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md", "A policy's query may call stored functions and read other tables"
)
async def test_functions_and_other_tables(ask):
    policy = "Visible('Sales')"
    body = "{ Sales | where who in ((Team | where boss == Me() | project member)) }"
    functions = {
        "Visible": Function("Visible", "(name:string)", body),
        "Me": Function("Me", "()", "{ tostring(current_principal_details().UserPrincipalName) }"),
    }
    team = given_table("Team", TEAM, (batch(TEAM, ("a@x", "aaduser=b@x")),))
    snapshot = world(policy, functions)
    snapshot = replace(snapshot, tables={**snapshot.tables, "Team": team})
    assert await ask("Sales | count", snapshot) == [(2,)]
    assert await ask("Sales | count", snapshot, BOB) == [(0,)]
    mine = "let Team = datatable(boss:string, member:string)['a@x', 'aaduser=a@x']; Sales | count"
    assert await ask(mine, snapshot) == [(2,)], "the caller's Team is nothing to the policy"


A, B = "'aaduser=a@x'", "'aaduser=b@x'"
MINE = f"{{ datatable(boss:string, member:string)[{A}, {A}, {A}, {B}] }}"
BY_TEAM = "Sales | where who in ((Team | where boss == current_principal() | project member))"
ALL_MINE = "{ database('Home').Sales | extend who = 'aaduser=a@x' }"


@pytest.mark.parametrize(
    ("policy", "name", "parameters", "body", "amounts"),
    [
        (OWN, "current_principal", "()", "{ 'aaduser=b@x' }", [1]),
        ("Sales | where tolower(who) == current_principal()", "tolower", "(a:string)", MINE, [1]),
        (
            "Sales | where current_principal_is_member_of('aadgroup=managers')",
            "current_principal_is_member_of",
            "(a:string)",
            "{ true }",
            [],
        ),
        ("Visible()", "current_principal", "()", "{ 'aaduser=b@x' }", [1]),
        ("Visible", "current_principal", "()", "{ 'aaduser=b@x' }", [1]),
        (OWN, "Sales", "()", ALL_MINE, [1]),
        ("Visible()", "Sales", "()", ALL_MINE, [1]),
        (BY_TEAM, "who", "()", "{ 'aaduser=a@x' }", []),
    ],
)
async def test_no_stored_function_stands_for_a_name_in_a_policy(
    ask, policy, name, parameters, body, amounts
):
    """Every user of a database may create functions in it, those who may not see a row too."""
    visible = Function("Visible", "()", "{ Sales | where who == current_principal() }")
    functions = {"Visible": visible, name: Function(name, parameters, body)}
    tables = world(policy).tables
    team = given_table("Team", TEAM, (batch(TEAM, ("nobody", "aaduser=b@x")),))
    snapshot = QuerySnapshot("Home", {**tables, "Team": team}, functions=functions)
    got = await ask("database('Home').Sales | project amount", snapshot)
    assert got == [(amount,) for amount in amounts]


@pytest.mark.parametrize("policy", [BY_TEAM, "Visible()"])
async def test_a_function_does_not_stand_for_a_table_that_is_kept_from_the_caller(ask, policy):
    """As a restricted view keeps it: then a policy that reads it is closed."""
    visible = Function("Visible", "()", f"{{ {BY_TEAM} }}")
    functions = {"Visible": visible, "Team": Function("Team", "()", MINE)}
    whole = world(policy, functions)
    trees = {name: bound.table for name, bound in whole.tables.items()}
    home = Database("Home", "d", tables=trees, functions=functions)
    bound = {name: replace(table, database=home) for name, table in whole.tables.items()}
    del bound["Team"]
    with pytest.raises(SemanticError, match="SEM0100"):
        await ask("Sales", replace(whole, tables=bound))


@pytest.mark.parametrize("policy", [BY_TEAM, "Visible()"])
async def test_a_name_of_a_table_and_a_function_closes_the_table(ask, policy):
    visible = Function("Visible", "()", f"{{ {BY_TEAM} }}")
    functions = {"Visible": visible, "Team": Function("Team", "()", MINE)}
    with pytest.raises(NotSupportedError, match="'Team', which is a table and a stored function"):
        await ask("Sales", world(policy, functions))
    called = {"Team": Function("Team", "()", "{ Sales | where who == current_principal() }")}
    assert await ask("Sales | count", world("Team()", called)) == [(1,)]
    plain = BY_TEAM.replace("(Team", "(database('Home').Team")
    assert await ask("Sales | count", world(plain, {"Team": functions["Team"]})) == [(2,)]


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md", "A disabled policy counts only with query_force_row_level_security"
)
async def test_disabled_and_forced(ask):
    off = world(is_enabled=False)
    assert await ask("Sales | count", off) == [(3,)]
    assert await ask("set query_force_row_level_security; Sales | count", off) == [(1,)]
    forced = replace(ANN, options={"query_force_row_level_security": True})
    assert await ask("Sales | count", off, forced) == [(1,)]
    assert await ask("Sales | count", off) == [(3,)], "not remembered for who does not ask"


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md", "A policy's query cannot read another table under a policy"
)
async def test_a_policy_reads_no_other_table_under_a_policy(ask):
    snapshot = world("Sales | where amount in ((Other | project amount))")
    snapshot = replace(snapshot, tables={**snapshot.tables, "Other": sales("Other")})
    with pytest.raises(NotSupportedError, match="reads table 'Other'"):
        await ask("Sales", snapshot)


@pytest.mark.parametrize(
    "policy",
    [
        "Sales | project who, amount",
        "Sales | project amount, who, mail",
        "Sales | extend more = 1",
        "Sales | extend amount = 'text'",
        "Sales | count",
        "Open2",
        "Sales | where",
    ],
)
async def test_a_policy_that_does_not_fit_the_table_closes_it(ask, policy):
    with pytest.raises(RemoraError):
        await ask("Sales", world(policy))


async def test_a_policy_need_not_read_its_table(ask):
    policy = "datatable(who:string, amount:long, mail:string)['n', 9, 'nobody']"
    assert await ask("Sales", world(policy)) == [("n", 9, "nobody")]
    counted = "Open | where toscalar(Team | count) > 5"
    assert await ask("Sales", world(counted)) == []
    assert await ask("Sales | count", world(counted)) == [(0,)]


@pytest.mark.fidelity("current-principal-is-member-of-function.md", "Constant strings, or an array")
async def test_functions_of_the_principal(ask):
    asked = "print current_principal_is_member_of({}), current_principal_details().FQN"
    for groups, expected in [
        ("'aadgroup=managers'", True),
        ("'aadgroup=others', 'aaduser=B@X;tenant'", True),
        ("dynamic(['aadgroup=others', 'aadgroup=managers'])", True),
        ("'aadgroup=others'", False),
    ]:
        rows = await ask(asked.format(groups), world(), BOB)
        assert rows == [(expected, '"aaduser=b@x"')]
    with pytest.raises(NotSupportedError, match="constant strings"):
        await ask("Sales | where current_principal_is_member_of(who)", world())
    with pytest.raises(SemanticError):
        await ask("print current_principal_is_member_of()", world())
    with pytest.raises(SemanticError):
        await ask("print current_principal(1)", world())


CLOSED = (
    "Sales | join kind=inner (Team | where boss == current_principal()) "
    "on $left.who == $right.member | project who, amount, mail"
)
GREEDY = "parse-kv mail as (k: string) with (pair_delimiter=',', kv_delimiter='=', greedy=true)"


@pytest.mark.parametrize(
    "asked",
    [
        "where bag_has_key(dynamic({}), mail)",
        "where not(bag_has_key(dynamic({}), mail)) and amount > 0",
        f"{GREEDY} | where k == ''",
        "where amount * 9223372036854775807 > 0",
        "join kind=inner (print amount = 9) on amount | where bag_has_key(dynamic({}), mail)",
    ],
)
async def test_what_fails_for_a_hidden_row_is_never_computed_of_it(ask, asked):
    hidden = ("aaduser=x@x", 9, "$ hidden=1"), ("aaduser=b@x", 1, "m1")
    table = given_table("Sales", SALES, (batch(SALES, *hidden),))
    snapshot = world()
    snapshot = replace(snapshot, tables={**snapshot.tables, "Sales": secured(table, CLOSED)})
    assert len(await ask("Sales", snapshot)) == 1
    assert len(await ask(f"Sales | {asked} | project amount", snapshot)) <= 1
