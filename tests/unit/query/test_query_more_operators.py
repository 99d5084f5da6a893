"""parse-kv, top-hitters, top-nested, partition, facet, count as: answers, refusals and bounds."""

from __future__ import annotations

import datetime as dt

import pytest

from cluster.errors import (
    LimitExceededError,
    NotSupportedError,
    SemanticError,
    SyntaxRefusedError,
)
from cluster.query import pairs
from cluster.query.binding import QuerySnapshot, given_table
from cluster.query.messages import Query
from cluster.query.pairs import Reading
from cluster.query.spellings import respelled
from cluster.query.translate import translate

KV = "with (pair_delimiter=' ', kv_delimiter='='{}) | project-away s"
SOURCE = "src=10.1.1.123 dst=10.1.1.124 bytes=125"
KEYS = "(['event time']:datetime, src:string, bytes:long, failure:string)"
EVENT = (dt.datetime(2021, 1, 1, 10, 0, 54), "10.1.1.123", 125, "connection aborted")
NAMES = "print s = 'name=John Doe phone=555 5555 city=New York' | parse-kv s as "
NESTED = (
    "datatable(a:string, b:string, c:string, v:long)['k','p','x',5, 'k','p','y',1, 'k','q','x',2, "
    "'k','z','x',1, 't','p','x',4, 't','p','y',3, 'o','p','x',1, 'u','q','x',2] | top-nested "
)
PARTS = "datatable(a:string, v:long)['k',5, 't',4, 'u',1, 'k',7, 't',9] | partition "

ROWS = {
    # parse-kv-operator.md
    'print s = "ThreadId:458745723, Machine:Node001, Text: The service is up, Level: Info" '
    "| parse-kv s as (Text:string, ThreadId:long, Machine:string) "
    "with (pair_delimiter=',', kv_delimiter=':') | project-away s": [
        ("The service is up", 458745723, "Node001")
    ],
    f"print s = '{SOURCE} failure=\"connection aborted\" \"event time\"=2021-01-01T10:00:54' "
    f"| parse-kv s as {KEYS} " + KV.format(", quote='\"'"): [EVENT],
    f"print s = '{SOURCE} failure=(connection aborted) (event time)=(2021-01-01 10:00:54)' "
    f"| parse-kv s as {KEYS} " + KV.format(", quote='()'"): [EVENT],
    "print s = 'failure=\"the host sent \\\\\"bye!\\\\\"\" time=2021-01-01T10:00:54' "
    "| parse-kv s as (failure:string, ['time']:datetime) "
    + KV.format(", quote='\"', escape='\\\\'"): [
        ('the host sent "bye!"', dt.datetime(2021, 1, 1, 10, 0, 54))
    ],
    NAMES + "(name:string, phone:string, city:string) " + KV.format(""): [("John", "555", "New")],
    NAMES + "(name:string, phone:string, city:string) " + KV.format(", greedy=true"): [
        ("John Doe", "555 5555", "New York")
    ],
    'print s = @\'["request url: https://h.com/?h=1", "id: 24fefbca-cf27-4d62-a623-249c2ad30c73"]\''
    " | parse-kv s as (['request url']:string, id:guid, none:string) "
    "with (regex=@'\"([\\w ]+)\\s*:\\s*([^\"]*)\"') | project ['request url'], gettype(id), none": [
        ("https://h.com/?h=1", "guid", "")
    ],
    "print s = 'a=1;a=2; b = \"q;w\" ;e=[1,2];f=no' | parse-kv s as "
    "(a:int, b:string, e:dynamic, f:long, g:bool, h:real, i:decimal, k:timespan) "
    "with (pair_delimiter=';', kv_delimiter='=', quote='\"') | project-away s": [
        (1, "q;w", "[1,2]", None, None, None, None, None)
    ],
    "T | sort by l asc | project s | parse-kv s as (a:long) "
    "with (pair_delimiter=' ', kv_delimiter='=') | extend r = row_number() | count": [(3,)],
    "U | project l | take 1 | parse-kv 'a=1' as () with (pair_delimiter=' ', kv_delimiter='=') "
    "| count": [(1,)],
    # top-hitters-operator.md
    "range i from 1 to 10 step 1 | extend k = iff(i > 3, 'x', 'y') | top-hitters 2 of k": [
        ("x", 7), ("y", 3),
    ],
    "let n = 1; range i from 1 to 10 step 1 | extend k = iff(i > 3, 'x', 'y') "
    "| top-hitters n of k by i * 1.0": [("x", 49.0)],
    "T | where isnotnull(l) | top-hitters 1 of s by i | getschema "
    "| project ColumnName, ColumnType": [
        ("s", "string"), ("approximate_sum_i", "int"),
    ],
    # top-nested-operator.md
    NESTED + "2 of a by sum(v), top-nested 1 of b by sum(v), top-nested 1 of c by sum(v) "
    "| sort by a asc": [("k", 9, "p", 6, "x", 5), ("t", 7, "p", 7, "x", 4)],
    # the example of "with others" of earlier editions: levels without it leave their columns empty
    NESTED + "2 of a with others='Oa' by sum(v), top-nested 1 of b by sum(v), "
    "top-nested 1 of c with others='Oc' by sum(v) | sort by a asc, b asc, c asc": [
        ("Oa", 3, "", None, "Oc", 3),
        ("k", 9, "", None, "Oc", 3),
        ("k", 9, "p", 6, "Oc", 1),
        ("k", 9, "p", 6, "x", 5),
        ("t", 7, "p", 7, "Oc", 3),
        ("t", 7, "p", 7, "x", 4),
    ],
    NESTED + "1 of a with others='all' by sum(v)": [("k", 9), ("all", 10)],
    NESTED + "1 of x = a by n = count() asc | project x, n": [("o", 1)],
    NESTED + "1 of a by dcount(c) | project a, aggregated_a": [("k", 2)],
    NESTED + "of a by i = max(1), top-nested 1 of v by j = max(v), top-nested of c by k = max(1) "
    "| project a, v, c | sort by a asc": [
        ("k", 5, "x"), ("o", 1, "x"), ("t", 4, "x"), ("u", 2, "x"),
    ],
    # partition-operator.md
    PARTS + "by a (top 1 by v) | sort by v asc": [("u", 1), ("k", 7), ("t", 9)],
    PARTS + "hint.strategy=native by a (summarize s = sum(v) | extend d = s * 2) | sort by s asc": [
        (1, 2), (12, 24), (13, 26),
    ],
    PARTS + "hint.strategy=shuffle by a (sort by v asc | take 1 | project v) | sort by v asc": [
        (1,), (4,), (5,),
    ],
    PARTS + "by a (count) | sort by Count asc": [(1,), (2,), (2,)],
    PARTS + "by a (where v > 4 | count) | sort by Count asc": [(0,), (1,), (2,)],
    "range x from 1 to 2 step 1 | partition hint.strategy=legacy by x {U | where x == l}": [
        (1, "one")
    ],
    "T | project q = l | partition by q {U | where l == toscalar(q) | count} | sort by Count asc": [
        (0,), (0,), (1,),
    ],
    "T | project l | partition by l {U | where l == toscalar(l)}": [(1, "one")],
    "let q = 5; T | project q = l | partition by q {U | where l == q | project z}": [("one",)],
    "let q = 5; U | partition by l (where l == q | project z)": [("five",)],
    "U | partition by z (join kind=inner T on l | project s)": [("foo",)],
    "datatable(a:string, v:long)['', 1, '', 2] | partition by a (summarize sum(v))": [(3,)],
    "T | partition by l (count) | count": [(3,)],  # null is a value like others
    # count-operator, as Kusto's parser reads it
    "U | count as n | project n": [(2,)],
    "U | where l > 0 // count as x\n| count   as   n | extend m = n": [(2, 2)],
}  # fmt: skip


@pytest.mark.parametrize("kql", ROWS)
async def test_rows(answer, kql):
    assert await answer(kql) == ROWS[kql]


BODIES = (
    "where v % 2 == 0", "top 2 by v", "summarize n = count(), m = max(v) by w", "distinct w",
    "sort by v desc | take 3 | summarize sum(v)", "extend u = v * 2 | project u",
    "summarize arg_max(v, w)", "mv-expand x = range(0, 1) to typeof(long) | summarize sum(x * v)",
    "top-hitters 1 of w", "top-nested 1 of w by sum(v)",
    "parse-kv w as (a:long) with (pair_delimiter=';', kv_delimiter='=') | count",
)  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
async def test_a_partition_is_what_the_query_gives_for_each_value(answer, make, body):
    columns, batch = make
    shape = columns(v="long", k="long", w="string")
    rows = batch(shape, *((v, v * 7 % 5, f"a={v % 3}") for v in range(1, 61)))
    over = QuerySnapshot("Home", {"Rows": given_table("Rows", shape, (rows,))})
    expected = []
    for key in range(5):
        expected += await answer(f"Rows | where k == {key} | {body}", over)
    for strategy in ("legacy", "native"):
        got = await answer(f"Rows | partition hint.strategy={strategy} by k ({body})", over)
        assert sorted(got) == sorted(expected)


REFUSED = {
    "T | project s | parse-kv s as (a:long)": (NotSupportedError, "without pair_delimiter"),
    "T | project s | parse-kv s as (a:long) with (pair_delimiter=';')": (
        NotSupportedError, "without pair_delimiter",
    ),
    "T | parse-kv s as (l:long) with (pair_delimiter=';', kv_delimiter='=')": (
        NotSupportedError, "'l' exists already",
    ),
    "T | parse-kv l as (a:long) with (pair_delimiter=';', kv_delimiter='=')": (
        SemanticError, "must be a string",
    ),
    "T | parse-kv s as (a:long, a:int) with (pair_delimiter=';', kv_delimiter='=')": (
        SemanticError, "declared already",
    ),
    "T | parse-kv s as (a:long) with (pair_delimiter=';', kv_delimiter=';')": (
        SemanticError, "must differ",
    ),
    "T | parse-kv s as (a:long) with (pair_delimiter=';', kv_delimiter='=', quote='abc')": (
        SemanticError, "one character or two",
    ),
    "T | parse-kv s as (a:long) with (pair_delimiter=';', kv_delimiter='=', escape='ab')": (
        SemanticError, "one character",
    ),
    "T | parse-kv s as (a:long) with (pair_delimiter=';', kv_delimiter=1)": (
        SemanticError, "literal of type string",
    ),
    "T | parse-kv s as (a:long) with (pair_delimiter=';', nosuch='=')": (
        (SemanticError, SyntaxRefusedError), "nosuch|SYN0002",
    ),
    "T | parse-kv s as (a:long) with (regex='(a)')": (SemanticError, "two groups"),
    "T | parse-kv s as (a:long) with (regex='(')": (SemanticError, "cannot be read"),
    "T | parse-kv s as (a:long) with (regex='(a)(b)', quote='x')": (NotSupportedError, "no other"),
    "T | top-hitters 2 of x = l": (SemanticError, "name of a column"),
    "T | top-hitters 2 of l by t": (SemanticError, "number"),
    "T | top-hitters 2 of j": (SemanticError, "dynamic"),
    "T | top-hitters l of l": (NotSupportedError, "constant"),
    "T | top-nested 2 of l + 1 by sum(l)": (NotSupportedError, "without a name"),
    "T | top-nested 2 of l by sum(l) / 2": (NotSupportedError, "one of avg"),
    "T | top-nested 2 of l with others='x' by sum(l)": (SemanticError, "of the type long"),
    f"T | {', '.join(['top-nested of l by count()'] * 17)}": (NotSupportedError, "at most 16"),
    "T | partition hint.strategy=nosuch by l (take 1)": (NotSupportedError, "nosuch"),
    "T | partition hint.strategy=native by l {U}": (SemanticError, "without a source"),
    "T | partition hint.strategy=native by l (join U on l)": (SemanticError, "'join'"),
    "T | partition by l (as X | take 1)": (NotSupportedError, "as and partition"),
    "T | partition by l (partition by s (take 1))": (NotSupportedError, "as and partition"),
    "T | partition by j (take 1)": (SemanticError, "dynamic"),
    "T | partition by nosuch (take 1)": (SemanticError, "SEM0100"),
    "T | partition by s (sort by l | extend row_number())": (NotSupportedError, "row_number"),
    "U | partition by l {U | where l in ((T | where l == toscalar(l) | project l))} | take 0; "
    "U | project q = l | partition by q {T | where l in ((U | where l == q | project l))}": (
        NotSupportedError, "within toscalar",
    ),
    "U | facet by l | count": (SyntaxRefusedError, "SYN0002"),
    "U | facet by l + 1": (SyntaxRefusedError, "SYN0002"),
    "U | facet by": (SyntaxRefusedError, "SYN0002"),
    "U | join (U | facet by l) on l": (NotSupportedError, "facet"),
    "U | consume": (NotSupportedError, "'consume'"),
    "U | scan with (step s: true => a = 1;)": (NotSupportedError, "'scan'"),
    "U | count kind=n": (SyntaxRefusedError, "SYN0002"),
}  # fmt: skip


@pytest.mark.parametrize("kql", REFUSED)
async def test_refusals(answer, snapshot, kql):
    kind, message = REFUSED[kql]
    with pytest.raises(kind, match=message):
        await answer.engine.answer(kql, snapshot)


PLAIN = Reading(("a", "b"), ";", "=", ('"', "()"), ("\\",))


def test_pairs_are_read():
    assert pairs.values_of(' a = 1 ;b=2;a=3;c="x;y"', PLAIN) == {"a": "1", "b": "2"}
    assert pairs.values_of("a=;b", PLAIN) == {"a": ""}
    assert pairs.values_of('"a"=(1;2) ;b="\\"\\\\"', PLAIN) == {"a": "1;2", "b": '"\\'}
    assert pairs.values_of("", PLAIN) == {}
    long = Reading(("a", "b"), ", ", ": ", is_greedy=True)
    assert pairs.values_of("a: 1, 2, b: 3", long) == {"a": "1, 2", "b": "3"}


@pytest.mark.parametrize(
    ("text", "reading", "what"),
    [
        ('a="1', PLAIN, "not closed"),
        ('a="1"2', PLAIN, "behind a closing quote"),
        ('a="\\n"', PLAIN, "needs none"),
        ("a = 1", Reading(("a",), " ", "="), "blank before"),
        ("a= 1", Reading(("a",), " ", "="), "blank behind"),
        ("a=1 c=2", Reading(("a",), " ", "=", is_greedy=True), "'c' is not among"),
    ],
)
def test_pairs_that_are_not_well_formed_are_refused(text, reading, what):
    with pytest.raises(ValueError, match=what):
        pairs.values_of(text, reading)


async def test_such_a_text_refuses_the_query(answer, snapshot):
    kql = "print s = 'a=\"1' | parse-kv s as (a:long) with (pair_delimiter=';', kv_delimiter='='"
    with pytest.raises(NotSupportedError, match="not closed"):
        await answer.engine.run(f"{kql}, quote='\"')", snapshot)


async def test_facet_gives_a_result_for_each_column(answer, snapshot):
    text = "let x = 0; U | where l > x | facet by l, ['z'] with (where l > 1 | project z)"
    results = (await answer.engine.answer(text, snapshot)).results
    assert [[(c.name, c.type.value) for c in one.columns] for one in results] == [
        [("z", "string")],
        [("l", "long"), ("count_l", "long")],
        [("z", "string"), ("count_z", "long")],
    ]
    assert [sorted(tuple(r.values()) for r in one.table.to_pylist()) for one in results] == [
        [("five",)],
        [(1, 1), (5, 1)],
        [("five", 1), ("one", 1)],
    ]


@pytest.mark.parametrize("strategy", ["", "hint.strategy=native"])
async def test_legacy_partitions_are_bounded(engine_with, limits, snapshot, strategy):
    """At the limit, below it and above it; native has none."""
    async with engine_with(limits(query_partitions=5)) as engine:
        for count in (4, 5, 6):
            kql = f"range i from 1 to {count} step 1 | partition {strategy} by i (take 1) | count"
            if count > 5 and not strategy:
                with pytest.raises(LimitExceededError, match="more than 5 values") as refused:
                    await engine.run(kql, snapshot)
                assert refused.value.metadata["limit"] == "query_partitions"
            else:
                assert (await engine.run(kql, snapshot)).table.to_pylist() == [{"Count": count}]


def translated(kql, limits, tables=("T",)):
    schemas = dict.fromkeys(tables, (("a", "long"),))
    return translate(Query(kql, "Home", schemas), limits)


def test_operators_of_a_query_are_bounded(limits):
    for count in (4, 5):
        assert translated("T" + " | where true" * count, limits(query_operators=5)).sql
    with pytest.raises(LimitExceededError, match=r"6 operators .* limit is 5") as refused:
        translated("T" + " | where true" * 6, limits(query_operators=5))
    assert refused.value.metadata == {"limit": "query_operators", "limit_value": "5"}


@pytest.mark.parametrize("wild", [False, True])
def test_tables_of_a_union_are_bounded(limits, wild):
    def text(count):
        return "union T*" if wild else f"union {', '.join(names(count))}"

    def names(count):
        return [f"T{index}" for index in range(count)]

    for count in (4, 5):
        assert translated(text(count), limits(query_tables=5), names(count)).sql
    with pytest.raises(LimitExceededError, match=r"6 tables .* limit is 5") as refused:
        translated(text(6), limits(query_tables=5), names(6))
    assert refused.value.metadata == {"limit": "query_tables", "limit_value": "5"}


async def test_a_query_that_nests_too_deeply_for_duckdb_is_too_complex(
    engine_with, limits, snapshot
):
    """The bound of operators is below the depth DuckDB takes; this is what is beyond."""
    async with engine_with(limits(query_operators=5000)) as engine:
        with pytest.raises(LimitExceededError, match="nests too deeply"):
            await engine.run("U" + " | where true" * 1050, snapshot)
        assert (await engine.run("U" + " | where true" * 300, snapshot)).table.num_rows == 2


def test_spellings_keep_their_length_and_what_is_not_theirs():
    odd = (
        "T // parse-kv s as (a:long)\n| where s == 'evaluate f() : (*, a)' "
        "| parse-kv strcat(s, 'as (') as (a:long) with (regex='as (') | count as n"
    )
    found = respelled(odd)
    assert len(found) == len(odd)
    assert found.startswith(odd[: odd.index("| parse-kv strcat")])
    assert "') as (" not in found
    assert "count a= n" in found
    assert respelled("T | evaluate f() : (*)") == "T | evaluate f() : (,)"
    assert respelled("T | count") == "T | count"


async def test_errors_behind_odd_spellings_keep_their_places(answer, snapshot):
    text = "U | parse-kv z as (a:long) with (pair_delimiter=';', kv_delimiter='=') | where ("
    with pytest.raises(SyntaxRefusedError) as refused:
        await answer.engine.run(text, snapshot)
    assert int(refused.value.metadata["column"]) == text.index("| where") + 1
