"""Tables of other clusters: what is asked of them, what comes of it, and who may ask."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from cluster.errors import (
    AccessDeniedError,
    EntityNotFoundError,
    LimitExceededError,
    NotSupportedError,
    SemanticError,
)
from cluster.query.remote import OtherRows, cluster_name, references, rows_of
from cluster.query.translation import Filter, TableUse
from cluster.request import Caller, ClientRequest

EVE = ClientRequest(Caller("aaduser=eve"), authorization="Bearer of-eve")
FAR = "cluster('Far').database('Db').T"


class Far:
    """A cluster Far whose database Db an engine of its own answers for."""

    def __init__(self, engine, snapshot):
        self.engine, self.snapshot = engine, snapshot
        self.asked: list[tuple[str, str, str, str]] = []
        self.refusal = None
        self.hidden = ""

    def is_own(self, cluster):
        return cluster == "near"

    async def ask(self, cluster, database, kql, request):
        self.asked.append((cluster, database, kql, request.authorization))
        if cluster != "far":
            raise EntityNotFoundError(f"no cluster {cluster}")
        if self.refusal is not None:
            raise self.refusal
        answer = await self.engine.answer(kql, self.snapshot, request)
        return OtherRows(answer.only.columns, answer.only.table, self.hidden)


@pytest.fixture
async def far(own_answer, engine_with, snapshot):
    async with engine_with() as engine:
        door = Far(engine, snapshot)
        own_answer.engine.reach(door, "Near")
        yield door


@pytest.fixture
def ask(own_answer, snapshot, far):
    async def run(kql, request=EVE):
        got = await own_answer.engine.answer(kql, snapshot, request)
        return [tuple(row.values()) for row in got.results[-1].table.to_pylist()]

    return run


async def test_a_table_of_another_cluster_is_a_table(ask, far):
    assert await ask(f"{FAR} | where l > 1 | project s") == [("bar baz",)]
    assert [(c, d, a) for c, d, _, a in far.asked] == [("far", "Db", "Bearer of-eve")] * 2
    shape, rows = (kql for _, _, kql, _ in far.asked)
    assert shape.endswith('["T"] | take 0')
    assert rows.endswith('["T"] | where (["l"] > 1) | project ["l"], ["s"]')


async def test_it_joins_with_what_is_here(ask):
    assert await ask(f"U | join kind=inner ({FAR}) on l | project z, s") == [("one", "foo")]
    assert await ask(f"union ({FAR} | project l), (U | project l) | count") == [(5,)]
    assert await ask(f"let f = () {{ {FAR} | count }}; f()") == [(3,)]


async def test_its_rows_are_counted_there(ask, far):
    assert await ask(f"{FAR} | count") == [(3,)]
    assert far.asked[-1][2].endswith("| count")
    assert await ask(f"{FAR} | summarize n = count()") == [(3,)]


async def test_every_type_comes_whole(ask):
    here, there = await ask("T"), await ask(FAR)
    assert here == there


async def test_the_own_cluster_is_here(ask, far):
    assert await ask("cluster('near').database('Home').U | count") == [(2,)]
    assert await ask("cluster('NEAR').database('away').U | project z") == [("nine",)]
    assert far.asked == []
    with pytest.raises(SemanticError, match="database"):
        await ask("cluster('near').database('Nope').U")


async def test_what_the_other_cluster_refuses_is_refused(ask, far):
    with pytest.raises(SemanticError, match="Nope"):
        await ask("cluster('far').database('Db').Nope")
    with pytest.raises(EntityNotFoundError):
        await ask("cluster('nowhere').database('Db').T")
    far.refusal = AccessDeniedError("eve may not read here.")
    with pytest.raises(AccessDeniedError):
        await ask(FAR)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (f"set query_force_row_level_security; {FAR}", {}),
        (FAR, {"query_force_row_level_security": True}),
        (f"{FAR} | count", {"query_force_row_level_security": "true"}),
    ],
)
async def test_policies_that_are_forced_here_are_forced_there(ask, far, text, options):
    await ask(text, replace(EVE, options=options))
    forced = "set query_force_row_level_security;"
    assert [forced in kql for _, _, kql, _ in far.asked] == [True, True]
    far.asked.clear()
    await ask(f"set query_force_row_level_security = false; {FAR}")
    assert [forced in kql for _, _, kql, _ in far.asked] == [False, False]


async def test_rows_that_are_hidden_there_are_told_of_once(own_answer, snapshot, far):
    async def told(kql):
        return (await own_answer.engine.answer(kql, snapshot, EVE)).hidden_reason

    assert await told(FAR) == ""
    far.hidden = "the lease has run out"
    said = "cluster('far').database('Db'): the lease has run out"
    assert await told(f"{FAR} | count; union {FAR}, (cluster('FAR').database('Db').U)") == said
    assert await told("U") == ""


async def test_only_queries_of_clients_ask_and_only_one_step_far(own_answer, snapshot, ask):
    for run in (own_answer.engine.run, own_answer.engine.run_to_store):
        with pytest.raises(NotSupportedError, match="not in commands"):
            await run(FAR, snapshot)
    with pytest.raises(NotSupportedError, match="a third one"):
        await ask(f"set remora_asked_by_cluster; {FAR}")


async def test_functions_of_other_clusters_are_refused(ask):
    with pytest.raises((NotSupportedError, SemanticError)):
        await ask("cluster('far').database('Db').f()")
    with pytest.raises(NotSupportedError, match="not supported by Remora"):
        await ask("cluster(strcat('f', 'ar')).database('Db').T")


async def test_what_other_clusters_send_is_bounded(engine_with, snapshot, limits, far):
    async with engine_with(limits(query_result_bytes=20)) as engine:
        engine.reach(far, "near")
        with pytest.raises(LimitExceededError, match="other clusters"):
            await engine.answer(f"{FAR} | project s, l, t", snapshot, EVE)


async def test_who_asks_and_where_can_be_asked(ask):
    rows = await ask("print current_principal(), current_cluster_endpoint()")
    assert rows == [("aaduser=eve", "Near")]
    origin = ClientRequest(Caller(), origin="http://127.0.0.1:8080")
    assert await ask("print current_cluster_endpoint()", origin) == [("127.0.0.1:8080",)]


def test_references_are_found_and_names_folded():
    text = """// cluster('no').database('no').no
    cluster("A").database('b').C | union cluster( "A" ) . database("b") . ['d e'],
    cluster('x').f()"""
    assert references(text) == [("A", "b", "C"), ("A", "b", "d e")]
    assert [cluster_name(n) for n in ("Far", "https://Far.region.example.net:443/x", "far:1")] == [
        "far", "far", "far",
    ]  # fmt: skip


def test_conditions_travel_if_they_are_understood():
    kinds = {"t": "datetime", "l": "long", "s": "string", "r": "real"}
    at = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp()) * 10**6

    def text(*groups):
        use = TableUse("T", "x", "T", columns=("l",), filters=groups)
        return rows_of(use, kinds, at).partition(' ["T"] ')[2]

    day = Filter("t", ">=", (-86_400_000_000,), relative=True)
    assert text((day, Filter("s", "==", ("a'\"", "b")))) == (
        '| where (["t"] >= datetime(2023-12-31T00:00:00) and ["s"] in ("a\'\\"", "b")) '
        '| project ["l"]'
    )
    assert text((Filter("l", "<", (5,)),), (Filter("l", ">", (9,)),)) == (
        '| where (["l"] < 5) or (["l"] > 9) | project ["l"]'
    )
    assert text((Filter("r", "<", (5.0,)),)) == '| project ["l"]'
    assert text((Filter("l", "<", (5,)),), ()) == '| project ["l"]'
