"""Operators and functions of our own: answers, and what they refuse."""

from __future__ import annotations

import datetime as dt
import decimal
import json

import pytest

from cluster.errors import LimitExceededError, NotSupportedError, SemanticError
from cluster.query.calls import MOST_ELEMENTS
from cluster.query.tabular_functions import MOST_CALLS

D = decimal.Decimal
DAY = dt.datetime(2024, 1, 1)
HOURS = "range t from datetime(2024-01-01) to datetime(2024-01-01 05:00) step 1h"
LIST = "print d = dynamic([3,1,2]), k = 5 | mv-apply e = d to typeof(long) on"

ROWS = {
    # mv-apply
    f"{LIST} (where e > 1 | project e) | summarize sum(e)": [(5,)],
    f"{LIST} (top 1 by e) | project e, k": [(3, 5)],
    f"{LIST} (order by e asc | summarize make_list(e)) | project list_e": [("[1,2,3]",)],
    "let k = 1; print d = dynamic([3,1,2]) | mv-apply e = d to typeof(long) on (where e > k) "
    "| count": [(2,)],
    "let e = 1; print d = dynamic([3,2]) | mv-apply e = d to typeof(long) on (where e > 2) "
    "| project e": [(3,)],
    "print d = dynamic([]) | mv-apply d to typeof(long) on (summarize count())": [],
    "T | project l, a = j.x | where l == 1 | mv-apply a to typeof(long) on (summarize s = sum(a)) "
    "| project l, s": [(1, 3)],
    # order of rows
    "U | sort by l asc | extend p = prev(z), q = next(l), r = row_number(), c = row_cumsum(l), "
    "w = prev(l, 1, -1) | project p, q, r, c, w": [("", 5, 1, 1, -1), ("one", None, 2, 6, 1)],
    "U | sort by l | serialize n = row_number(10) | project n, l": [(10, 5), (11, 1)],
    "range x from 1 to 4 step 1 | where row_number() > 2": [(3,), (4,)],
    "range x from 1 to 6 step 1 "
    "| extend c = row_cumsum(x, x % 3 == 0), r = row_number(1, x == 4)": [
        (1, 1, 1), (2, 3, 2), (3, 3, 3), (4, 7, 1), (5, 12, 2), (6, 6, 3),
    ],
    "U | sort by l desc | extend y = z | summarize make_list(y)": [('["five","one"]',)],
    "U | sort by l asc | summarize make_list_if(z, l > 0), make_list(z)": [
        ('["one","five"]', '["one","five"]'),
    ],
    # columns
    "U | extend a1 = 1, a2 = 2 | project-keep a*, l | take 1": [(1, 1, 2)],
    "U | extend a1 = 1, a2 = 2 | project-reorder a* desc, z | take 1": [(2, 1, "one", 1)],
    "U | extend a1 = 1, a2 = 2 | project-away a*, z | take 1": [(1,)],
    "U | where l == 1 | extend p = pack_all()": [(1, "one", '{"l":1,"z":"one"}')],
    "U | where l == 5 | project a = column_ifexists('l', 0), b = column_ifexists('y', 7)": [(5, 7)],
    "U | where l == 1 | distinct *": [(1, "one")],
    "T | mv-apply x = j.x to typeof(long) on (summarize s = sum(x)) | where l == 1 "
    "| project l, s": [(1, 3)],
    "print x = 1 | mv-apply e = parse_json('[]') on (summarize count())": [],
    "T | where l == 1 | project ts * 2, ts / 2, ts * 1.5": [
        (dt.timedelta(hours=50), dt.timedelta(hours=12.5), dt.timedelta(hours=37.5)),
    ],
    "T | summarize sum(ts), avg(ts)": [
        (dt.timedelta(hours=25, microseconds=5), dt.timedelta(hours=12.5, microseconds=2)),
    ],
    "T | where l == 1 | project hourofday(t), array_index_of(j.x, 2)": [(1, 1)],
    # names for rows
    "U | as X | where l == toscalar(X | summarize max(l)) | project l": [(5,)],
    "U | where l > 1 | as X | union X | count": [(2,)],
    # search
    "search in (U) 'ONE'": [("U", 1, "one")],
    "search 'five' | project ['$table'], l": [("U", 5)],
    "U | search 'one' and z:'one'": [("U", 1, "one")],
    "U | where * has 'five' | project l": [(5,)],
    # make-series
    f"{HOURS} | extend v = 1.5 | where t != datetime(2024-01-01 02:00) "
    "| make-series n = count(), avg(v) default = -1.0 on t from datetime(2024-01-01) "
    "to datetime(2024-01-01 04:00) step 1h | project n, avg_v, array_length(t), t[3]": [
        ("[1,1,0,1]", "[1.5,1.5,-1.0,1.5]", 4, '"2024-01-01T03:00:00.0000000Z"'),
    ],
    "range x from 1 to 5 step 1 | make-series s = sum(x) on x from 0 to 7 step 2": [
        ("[1,5,9,0]", "[0,2,4,6]"),
    ],
    "range x from 1 to 4 step 1 | make-series count() on x from 1 to 3 step 1 by k = x % 2 "
    "| sort by k asc": [(0, "[0,1]", "[1,2]"), (1, "[1,0]", "[1,2]")],
    # aggregates
    "T | summarize make_set_if(l, l > 1), maxif(l, l < 2), minif(s, l > 0), count_distinct(l), "
    "stdevp(l), variancep(l)": [("[3]", 1, "bar baz", 2, 1.0, 1.0)],
    "T | summarize make_bag(j)": [('{"a":{"b":1},"x":[1,2]}',)],
    "datatable(k:string, v:long)['a', 1, 'b', 2] | summarize make_bag(bag_pack(k, v))": [
        ('{"a":1,"b":2}',),
    ],
    "T | summarize percentiles(l, 5, 50), (a, b) = percentiles(l, 10, 90)": [(1, 1, 1, 3)],
    "U | summarize take_any(*) by l | sort by l asc": [(1, "one"), (5, "five")],
    "print a = 6, b = 3 | summarize binary_all_and(a), binary_all_or(b)": [(6, 3)],
    # scalars
    "print format_timespan(time(29.09:00:05.12345), 'dd.hh:mm:ss [FF]')": [("29.09:00:05 [12]",)],
    "print format_timespan(time(1.02:03:04.5), 'd h:m:s fff')": [("1 2:3:4 500",)],
    "print unixtime_seconds_todatetime(1546300800), "
    "unixtime_milliseconds_todatetime(1546300800000), "
    "unixtime_microseconds_todatetime(1546300800000000), "
    "unixtime_nanoseconds_todatetime(1546300800000000000)": [(dt.datetime(2019, 1, 1),) * 4],
    """print extractjson('$.a.b[1]', '{"a":{"b":[1,"x"]}}'), extract_json("$['a']", 'nope')""": [
        ("x", ""),
    ],
    "print bin_at(6.5, 2.5, 7), bin_at(time(1h), 1d, 12h), bin_at(5, 3, 1), "
    "bin_at(datetime(2017-05-15 10:20:00.0), 1d, datetime(1970-01-01 12:00:00.0))": [
        (4.5, -dt.timedelta(hours=12), 4, dt.datetime(2017, 5, 14, 12)),
    ],
    "print range(1, 8, 3), range(1, 3), range(0.0, 1.0, 0.5)": [
        ("[1,4,7]", "[1,2,3]", "[0.0,0.5,1.0]"),
    ],
    "print tohex(255), tohex(-1), tohex(15, 4), strcmp('a', 'b'), string_size('é')": [
        ("ff", "ffffffffffffffff", "000f", -1, 2),
    ],
    "print bag_keys(dynamic({'a':1})), bag_merge(dynamic({'a':1}), dynamic({'a':2,'b/~':2})), "
    "bag_has_key(dynamic({'a':1}), 'b')": [('["a"]', '{"a":1,"b/~":2}', False)],
    "print ipv4_is_private('10.0.0.1'), ipv4_is_in_range('192.168.1.7', '192.168.1.0/24'), "
    "ipv4_is_in_range('192.169.1.7', '192.168.1.0/24'), around(5, 6, 1)": [
        (True, True, False, True),
    ],
    "print rand() < 1, isnotempty(new_guid())": [(True, True)],
    "U | sample 1 | count": [(1,)],
    "T | sample-distinct 2 of b | count": [(2,)],
    "print tostring(decimal(1.5)), strcat('a', decimal(2)), tostring(decimal(100))": [
        ("1.5", "a2", "100"),
    ],
    # functions that give rows
    "let f = (x:long) { U | where l > x }; f(1) | project l": [(5,)],
    "let f = (x:long = 3) { let m = x * 2; let V = U | where l < m; V | count }; f(); ": [(2,)],
    "let f = (R:(l:long), n:long = 1) { R | where l > n }; f((U | where l > 0), 2) | count": [(1,)],
    "let f = (R:(l:long)) { R | count }; let X = f(U); X": [(2,)],
    "let f = (R:(l:long)) { R | where l > 1 | project l }; U | invoke f()": [(5,)],
    "let a = () { U }; let b = () { a() | union a() }; b() | count": [(4,)],
}  # fmt: skip


@pytest.mark.parametrize("kql", ROWS)
async def test_rows(answer, kql):
    assert await answer(kql) == ROWS[kql]


REFUSED = {
    "U | extend row_number()": (SemanticError, "must be serialized"),
    "U | sort by l | summarize count() by z | extend row_number()": (SemanticError, "serialized"),
    "U | sort by l | where row_number(1, l > 1) > 1": (NotSupportedError, "restart condition"),
    f"{LIST} (order by e | extend prev(e))": (SemanticError, "serialized"),
    "externaldata(x:string)['https://x']": (NotSupportedError, "not supported by Remora"),
    "external_table('x')": (NotSupportedError, "'external_table' is not supported by Remora"),
    "T | make-series count() on t from datetime(2024-01-01) to now() step 1h by i | take 1; T "
    "| make-series max(t) on l from 1 to 2 step 1": (NotSupportedError, "not a number"),
    "T | make-series count() on l from l to 5 step 1": (SemanticError, "constants"),
    "T | where * !has 'x'": (NotSupportedError, "\\* !has"),
    "search kind=case_sensitive 'x'": (NotSupportedError, "case_sensitive"),
    "print round(decimal(1.5))": (NotSupportedError, "decimal"),
    "search 'a*b'": (NotSupportedError, "Wildcards"),
    "T | where b = true": (SemanticError, "must have the type bool"),
    "T | where l": (SemanticError, "must have the type bool"),
    "T | distinct *": (SemanticError, "dynamic"),
    "U | as X | as X": (SemanticError, "SEM0079"),
    "print (a, b) = arg_max(1, 2)": (NotSupportedError, "percentiles"),
    "T | summarize (a, b) = arg_max(l, s)": (NotSupportedError, "percentiles"),
    "print hash_many('a', 'b')": (
        NotSupportedError,
        "'hash_many\\(\\)' is not supported by Remora",
    ),
    "let f = (R:(l:long)) { f(R) }; f(U)": (NotSupportedError, "not supported by Remora"),
    "print 1tick": (NotSupportedError, "timespan"),
}


@pytest.mark.parametrize("kql", REFUSED)
async def test_refusals(answer, snapshot, kql):
    kind, message = REFUSED[kql]
    with pytest.raises(kind, match=message):
        await answer.engine.answer(kql, snapshot)


async def test_4_to_6_of_the_known_wrong_answers_are_right(answer):
    """Numbers of the reference; the others are in test_query_answers and test_query_refusals."""
    assert await answer("U | summarize make_list(l, 1)") == [("[1]",)]
    assert await answer("range x from 0 to 1 step 0.5") == [(0.0,), (0.5,), (1.0,)]
    assert await answer("range x from 1h to 2h step 1h") == [
        (dt.timedelta(hours=1),), (dt.timedelta(hours=2),),
    ]  # fmt: skip
    assert await answer("print decimal(0.1) + decimal(0.2)") == [(D("0.3"),)]
    assert await answer("datatable(d:decimal)[1.5, decimal(0.1)]") == [(D("1.5"),), (D("0.1"),)]


async def test_order_survives_many_threads(engine_with, snapshot):
    async with engine_with(cores=4) as engine:
        result = await engine.run(
            "range i from 0 to 300000 step 1 | extend k = (i * 7919) % 300007 | sort by k asc "
            "| where i >= 0 | extend p = prev(k), c = row_number(), q = next(k) "
            "| where isnotnull(p) and (p >= k or c < 2) or (isnotnull(q) and q <= k) | count",
            snapshot,
        )
    assert result.table.to_pylist() == [{"Count": 0}]


@pytest.mark.parametrize(
    "kql",
    [
        f"print array_length(range(1, {MOST_ELEMENTS + 1}))",
        f"print array_length(range(0.5, {MOST_ELEMENTS}.5, 1.0))",
        (
            "range x from 1 to 1 step 1 "
            f"| make-series count() on x from 0 to {MOST_ELEMENTS + 1} step 1"
        ),
        f"range x from 1 to 1 step 1 | extend y = x + {MOST_ELEMENTS} | extend r = range(x, y)",
    ],
)
async def test_what_makes_elements_of_nothing_is_bounded(answer, kql):
    with pytest.raises(LimitExceededError) as refused:
        await answer(kql)
    assert refused.value.metadata["limit"] == "string_value_bytes"


async def test_as_many_elements_as_kusto_makes(answer):
    assert await answer(f"print array_length(range(1, {MOST_ELEMENTS}))") == [(MOST_ELEMENTS,)]


@pytest.mark.parametrize(
    ("start", "step"),
    [("[]", "set_union(a, pack_array(a))"), ("{'k':1}", "bag_merge(a, bag_pack('%d', a))")],
)
async def test_what_puts_a_value_into_itself_is_stopped_by_size(answer, start, step):
    steps = "".join(f" | extend a = {step.replace('%d', str(n))}" for n in range(24))
    with pytest.raises(LimitExceededError):
        await answer(f"print a = dynamic({start}){steps} | project strlen(tostring(a))")


async def test_a_long_hexadecimal_is_refused(answer):
    assert await answer("print strlen(tohex(1, 1024))") == [(1024,)]
    with pytest.raises(LimitExceededError):
        await answer("print strlen(tohex(1, 1000000000))")


@pytest.mark.parametrize(("depth", "fits"), [(MOST_CALLS, True), (MOST_CALLS + 1, False)])
async def test_functions_nest_to_a_bound(answer, depth, fits):
    lets = "let f0 = () { U };" + "".join(
        f"let f{n} = () {{ f{n - 1}() }};" for n in range(1, depth)
    )
    kql = f"{lets} f{depth - 1}() | count"
    if fits:
        assert await answer(kql) == [(2,)]
        return
    with pytest.raises(LimitExceededError, match="deep"):
        await answer(kql)


async def test_a_function_that_doubles_what_it_calls_is_stopped_by_size(answer):
    lets = "let f0 = () { U };" + "".join(
        f"let f{n} = () {{ f{n - 1}() | union f{n - 1}() }};" for n in range(1, 25)
    )
    with pytest.raises(LimitExceededError):
        await answer(f"{lets} f24() | count")


async def test_a_bag_of_many_rows_is_made_at_once(answer):
    ((bag,),) = await answer(
        "range i from 1 to 20000 step 1 | summarize make_bag(bag_pack(tostring(i), i))"
    )
    assert len(json.loads(bag)) == 20_000
