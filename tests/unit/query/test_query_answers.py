"""Answers over a table of all ten types: what Kusto answers, null by null."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from dataclasses import replace

import pyarrow as pa
import pytest

from cluster.errors import NotSupportedError
from cluster.query.binding import BoundTable, QuerySnapshot, given_table

D = decimal.Decimal
NOW = dt.datetime(2023, 11, 14, 22, 13, 20)  # of the fixture's clock
AT_1 = dt.datetime(2024, 1, 1, 1)
AT_2_30 = dt.datetime(2024, 1, 1, 2, 30)
GUID_1 = "00000000-0000-0000-0000-000000000001"


async def test_a_whole_table_comes_back_with_its_types_and_nulls(answer, snapshot):
    result = await answer.engine.run("T", snapshot)
    assert [(c.name, c.type.value) for c in result.columns] == [
        ("b", "bool"), ("t", "datetime"), ("d", "decimal"), ("j", "dynamic"), ("g", "guid"),
        ("i", "int"), ("l", "long"), ("r", "real"), ("s", "string"), ("ts", "timespan"),
    ]  # fmt: skip
    assert result.table.schema.types == [
        pa.bool_(), pa.timestamp("us"), pa.decimal128(38, 18), pa.string(), pa.string(),
        pa.int32(), pa.int64(), pa.float64(), pa.string(), pa.duration("us"),
    ]  # fmt: skip
    rows = [tuple(row.values()) for row in result.table.to_pylist()]
    assert rows[0] == (
        True, AT_1, D("1.5"), '{"a":{"b":1},"x":[1,2]}', GUID_1, 2_000_000_000, 1, 1.5, "foo",
        dt.timedelta(hours=25),
    )  # fmt: skip
    assert rows[1] == (None, None, None, None, None, None, None, None, "", None)


SCALARS = {
    "T | count": [(3,)],
    "T | where l > 1 | project s": [("bar baz",)],
    "T | where isnull(l) | project s": [("",)],
    "T | where s has 'BAZ' or s contains 'oo' | project l": [(1,), (3,)],
    f"T | where g == guid({GUID_1}) | project s": [("foo",)],
    "T | where t between (datetime(2024-01-01) .. 90m) | project l": [(1,)],
    "T | where d > 0.5 | project d": [(D("1.5"),)],
    "T | where ts > 1d | project ts": [(dt.timedelta(hours=25),)],
    "T | where b | project b": [(True,)],
    "T | project j.a.b, j.x[1] | take 1": [("1", "2")],
    "T | where tolong(j.a.b) == 1 | project s": [("foo",)],
    "T | extend k = i + i | project k": [(4_000_000_000,), (None,), (4_000_000_000,)],
    "T | project x = i / 3, y = l % 2, z = -i": [
        (666_666_666, 1, -2_000_000_000), (None, None, None), (666_666_666, 1, -2_000_000_000),
    ],
    "T | project u = t + 1h, v = t - datetime(2024-01-01)": [
        (dt.datetime(2024, 1, 1, 2), dt.timedelta(hours=1)), (None, None),
        (dt.datetime(2024, 1, 1, 3, 30), dt.timedelta(minutes=150)),
    ],
    "T | project d + d, d * d": [(D(3), D("2.25")), (None, None), (D("0.2"), D("0.01"))],
    "T | summarize sum(l), sum(d), avg(r), max(t), dcount(s), min(ts), sum(i)": [
        (4, D("1.6"), 2.0, AT_2_30, 3, dt.timedelta(microseconds=5), 4_000_000_000)
    ],
    "T | where isnotnull(t) | summarize count() by bin(t, 1h) | sort by t asc": [
        (AT_1, 1), (dt.datetime(2024, 1, 1, 2), 1),
    ],
    "T | summarize arg_max(t, l)": [(AT_2_30, 3)],
    "T | top 1 by r | project r": [(2.5,)],
    "T | sort by l asc | project l": [(None,), (1,), (3,)],
    "T | distinct b | sort by b asc": [(None,), (False,), (True,)],
    "T | take 2 | count": [(2,)],
    "T | join kind=inner U on l | project s, z": [("foo", "one")],
    "T | join (U | project l, y = z) on $right.l == $left.l | project y": [("one",)],
    "T | where l in (U) | project l": [(1,)],
    "T | where l in ((U | where z == 'one' | project l)) | project l": [(1,)],
    "let k = toscalar(T | summarize max(l)); T | where l == k | project l": [(3,)],
    "let V = U | where l > 1; V | project z": [("five",)],
    "let f = (x: long) { x * 2 }; U | project f(l)": [(2,), (10,)],
    "union U, U | count": [(4,)],
    "union withsource=Src U*, Sorted | summarize count() by Src | sort by Src asc": [
        ("Sorted", 3), ("U", 2),
    ],
    "union isfuzzy=true Missing, U | count": [(2,)],
    "union withsource=Src U, database('away').U | project Src, l | sort by l asc": [
        ("U", 1), ("U", 5), ('database("away").U', 9),
    ],
    "database('Home').U | count": [(2,)],
    "print x = 1, y = 'a', now(), ago(1h)": [(1, "a", NOW, NOW - dt.timedelta(hours=1))],
    "set query_now = datetime(2020-02-02); print now()": [(dt.datetime(2020, 2, 2),)],
    "print 7 / 2, 7.0 / 2, 1 / 0, -7 % 4, tolong('x')": [(3, 3.5, None, 1, None)],
    "print current_database()": [("Home",)],
    "print strcat('a', 1), strrep('ab', 3), strlen('héé')": [("a1", "ababab", 3)],
    "range x from 1 to 5 step 2": [(1,), (3,), (5,)],
    "range x from 3 to 1 step -1 | count": [(3,)],
    "range x from datetime(2024-01-01) to datetime(2024-01-02) step 12h | count": [(3,)],
    "let n = 2; range x from 1 to n + 1 step 1 | count": [(3,)],
    "datatable(a: long, b: string)[1, 'x', 2, 'y'] | where a == 2 | project b": [("y",)],
    "T | extend e = j.x | mv-expand e | where isnotnull(e) | project tolong(e)": [(1,), (2,)],
    "T | parse s with 'bar ' w:string | where isnotempty(w) | project w": [("baz",)],
    "T | project-away b, t, d, j, g, i, r, ts | project-rename q = l | where q == 3": [
        (3, "bar baz")
    ],
    "Empty | count": [(0,)],
    "Empty": [],
    "['od\"d name'] | project z": [("seven",)],
    "Sorted | getschema | project ColumnName, ColumnType": [
        ("Description", "string"), ("desc_no", "long"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kql", SCALARS)
async def test_answer(answer, kql):
    assert await answer(kql) == SCALARS[kql]


async def test_collections_are_json(answer):
    ((longs, texts, times, spans, bags, guids),) = await answer(
        "T | summarize make_list(l), make_set(s), make_list(t), make_list(ts), make_list(j), "
        "make_list(g)"
    )
    assert json.loads(longs) == [1, 3]
    assert sorted(json.loads(texts)) == ["", "bar baz", "foo"]
    assert json.loads(times) == ["2024-01-01T01:00:00.0000000Z", "2024-01-01T02:30:00.0000000Z"]
    assert json.loads(spans) == ["1.01:00:00", "00:00:00.0000050"]
    assert json.loads(bags) == [{"a": {"b": 1}, "x": [1, 2]}, "text"]
    assert json.loads(guids)[0] == GUID_1


async def test_int_columns_compute_as_long(answer, snapshot):
    result = await answer.engine.run("T | project i, i + 1, i * i, bin(i, 7)", snapshot)
    assert [c.type.value for c in result.columns] == ["int", "long", "long", "long"]


async def test_batches_of_an_older_schema_read_as_null_and_empty(answer, make, streamed):
    columns, batch = make
    old, new = columns(a="long"), columns(a="long", s="string", n="int", j="dynamic", g="guid")
    given = given_table("T", new).table
    table = BoundTable(
        replace(given, schemas=(old, new), column_ids=((0,), (0, 1, 2, 3, 4))),
        (streamed((batch(old, (1,)), batch(new, (2, "x", 3, "[1]", bytes(16)))), (0, 1)),),
    )
    rows = await answer("T | sort by a asc", QuerySnapshot("Home", {"T": table}))
    zero = "00000000-0000-0000-0000-000000000000"
    assert rows == [(1, "", None, None, None), (2, "x", 3, "[1]", zero)]


@pytest.mark.fidelity("white paper", "A query reads the snapshot taken at its start")
async def test_a_pinned_snapshot_does_not_see_later_batches(answer, make):
    columns, batch = make
    one = columns(a="long")
    batches = [batch(one, (1,))]
    pinned = QuerySnapshot("Home", {"T": given_table("T", one, tuple(batches))})
    batches.append(batch(one, (2,)))
    later = QuerySnapshot("Home", {"T": given_table("T", one, tuple(batches))})
    assert await answer("T | count", pinned) == [(1,)]
    assert await answer("T | count", later) == [(2,)]
    assert await answer("T | count", pinned) == [(1,)]


async def test_a_changed_schema_is_never_answered_from_the_cache(own_answer, make):
    columns, batch = make
    before, after = columns(a="long"), columns(b="long")
    first = QuerySnapshot("Home", {"T": given_table("T", before, (batch(before, (1,)),))})
    second = QuerySnapshot("Home", {"T": given_table("T", after, (batch(after, (2,)),))})
    assert await own_answer("T | where a == 1 | count", first) == [(1,)]
    with pytest.raises(Exception, match="named 'a'"):
        await own_answer("T | where a == 1 | count", second)


async def test_the_same_query_is_translated_once(own_answer, snapshot):
    for _ in range(3):
        await own_answer("T | count")
    assert own_answer.engine.statistics().cache_hits == 2


@pytest.mark.fidelity("entity-names.md", "Other names are told apart by case")
async def test_names_that_differ_only_in_case_are_refused(answer, make):
    columns, batch = make
    one = columns(a="long", A="long")
    table = given_table("T", one, (batch(one, (1, 2)),))
    with pytest.raises(NotSupportedError, match="differ only in case"):
        await answer("T | project a", QuerySnapshot("Home", {"T": table}))
    small = columns(a="long")
    pair = {n: given_table("T", small, (batch(small, (v,)),)) for n, v in (("T", 1), ("t", 2))}
    assert await answer("t", QuerySnapshot("Home", pair)) == [(2,)]
    with pytest.raises(NotSupportedError, match="differ only in case"):
        await answer("union T, t", QuerySnapshot("Home", pair))
