"""evaluate: bag_unpack and pivot with and without an output schema, and plugins refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
import json

import pytest

from cluster.errors import (
    LimitExceededError,
    NotSupportedError,
    SemanticError,
    SyntaxRefusedError,
)
from cluster.query.discovery import Discovery
from cluster.query.messages import Query
from cluster.query.plugins import REFUSED
from cluster.query.translate import translate

PEOPLE = (
    'datatable(Name:string, d:dynamic)["James", dynamic({"Name": "John", "Age":20}), '
    '"David", dynamic({"Age":40}), "Emily", dynamic({"Name": "Jasmine", "Age":30})]'
)
MIXED = (
    'datatable(d:dynamic)[dynamic({"a":1}), dynamic({"a":1.5, "b":null, "c":[1], "e":true, '
    '"f":{"x":1}, "g/h":2}), dynamic(null), dynamic([1,2])] | project d = d'
)
STATES = (
    "datatable(e:string, s:string, v:long)['w','A',5, 'w','B',4, 'x','A',1] "
    "| evaluate pivot({}) | sort by e asc"
)

ANSWERS = {
    # the examples of bag-unpack-plugin.md
    'datatable(d:dynamic)[dynamic({"Name": "John", "Age":20}), dynamic({"Name": "Dave", '
    '"Height": 170, "Age":40})] | evaluate bag_unpack(d)': (
        [("Age", "long"), ("Height", "long"), ("Name", "string")],
        [(20, None, "John"), (40, 170, "Dave")],
    ),
    'print d = dynamic({"Name": "John", "Age":20}) | evaluate bag_unpack(d, "Property_")': (
        [("Property_Age", "long"), ("Property_Name", "string")],
        [(20, "John")],
    ),
    f"{PEOPLE} | evaluate bag_unpack(d, columnsConflict='replace_source')": (
        [("Name", "string"), ("Age", "long")],
        [("John", 20), ("", 40), ("Jasmine", 30)],
    ),
    f"{PEOPLE} | evaluate bag_unpack(d, columnsConflict='keep_source')": (
        [("Name", "string"), ("Age", "long")],
        [("James", 20), ("David", 40), ("Emily", 30)],
    ),
    'print d = dynamic({"Name": "John", "Age":20, "Address": "x"}) '
    "| evaluate bag_unpack(d, ignoredProperties=dynamic(['Address', 'Age']))": (
        [("Name", "string")],
        [("John",)],
    ),
    'datatable(d:dynamic, Description:string)[dynamic({"Name": "John", "Age":20, "height":180}), '
    '"Student"] | evaluate bag_unpack(d) : (*, Name:string, Age:long)': (
        [("Description", "string"), ("Name", "string"), ("Age", "long")],
        [("Student", "John", 20)],
    ),
    # types of slots that differ, null values, values that are no bags
    f"{MIXED} | evaluate bag_unpack(d, ignoredProperties=dynamic(['g/h']))": (
        [("a", "dynamic"), ("c", "dynamic"), ("e", "bool"), ("f", "dynamic")],
        [
            ("1", None, None, None),
            ("1.5", "[1]", True, '{"x":1}'),
            (None, None, None, None),
            (None, None, None, None),
        ],
    ),
    'print d = dynamic({"t":"2020-01-01", "g":"74be27de-1e4e-49d9-b579-fe0b331d3642", '
    '"s":"1.00:00:00", "x":1, "i":3}) | evaluate bag_unpack(d) : '
    "(t:datetime, s:timespan, x:decimal, i:int, r:real, n:string)": (
        [("t", "datetime"), ("s", "timespan"), ("x", "decimal"), ("i", "int"), ("r", "real"),
         ("n", "string")],
        [(dt.datetime(2020, 1, 1), dt.timedelta(days=1), decimal.Decimal(1), 3, None, "")],
    ),
    # several places, each asked for in its turn
    'print d = dynamic({"a":{"b":1}}) | evaluate bag_unpack(d) | evaluate bag_unpack(a)': (
        [("b", "long")],
        [(1,)],
    ),
    'let X = print k = 1, d = dynamic({"a":2}) | evaluate bag_unpack(d); X '
    '| join kind=inner (print k = 1, d = dynamic({"z":3}) | evaluate bag_unpack(d)) on k '
    "| project a, z": ([("a", "long"), ("z", "long")], [(2, 3)]),
    # pivot-plugin.md
    STATES.format("s, sum(v)"): (
        [("e", "string"), ("A", "long"), ("B", "long")],
        [("w", 5, 4), ("x", 1, 0)],
    ),
    STATES.format("s, count(), e"): (
        [("e", "string"), ("A", "long"), ("B", "long")],
        [("w", 1, 1), ("x", 1, 0)],
    ),
    STATES.format("s, stdev(v), e"): (
        [("e", "string"), ("A", "real"), ("B", "real")],
        [("w", 0.0, 0.0), ("x", 0.0, 0.0)],
    ),
    STATES.format("s, max(v)"): (
        [("e", "string"), ("A", "long"), ("B", "long")],
        [("w", 5, 4), ("x", 1, None)],
    ),
    STATES.format("s, make_list(v)"): (
        [("e", "string"), ("A", "dynamic"), ("B", "dynamic")],
        [("w", "[5]", "[4]"), ("x", "[1]", "[]")],
    ),
    STATES.replace("pivot({})", "pivot(s, dcount(v), e) : (e:string, A:long, C:long)"): (
        [("e", "string"), ("A", "long"), ("C", "long")],
        [("w", 1, 0), ("x", 1, 0)],
    ),
    "datatable(s:string)['w', 'x', 'w'] | evaluate pivot(s)": (
        [("w", "long"), ("x", "long")],
        [(2, 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kql", ANSWERS)
async def test_columns_and_rows(answer, snapshot, kql):
    columns, rows = ANSWERS[kql]
    result = await answer.engine.run(kql, snapshot)
    assert [(c.name, c.type.value) for c in result.columns] == columns
    assert [tuple(row.values()) for row in result.table.to_pylist()] == rows


UNANSWERED = {
    f"{PEOPLE} | evaluate bag_unpack(d)": (SemanticError, "'Name' exists already"),
    f"{PEOPLE} | evaluate bag_unpack(d) : (*, Name:string)": (SemanticError, "exists already"),
    f"{PEOPLE} | evaluate bag_unpack(d) : (*, Name:long)": (SemanticError, "'Name' is string"),
    f"{PEOPLE} | evaluate bag_unpack(d) : (Age:string)": (SemanticError, "'Age'.*type string"),
    f"{MIXED} | evaluate bag_unpack(d)": (SemanticError, "'g/h' is not a valid name"),
    "print d = dynamic({'a':1,'A':2})| evaluate bag_unpack(d)": (NotSupportedError, "in case"),
    "T | evaluate bag_unpack(j) : (a:long, *)": (SyntaxRefusedError, "SYN0002"),
    "T | evaluate bag_unpack(j) : (, a:long)": (SyntaxRefusedError, "SYN0002"),
    "print d = dynamic({'a':1}) | evaluate bag_unpack(d) : (a:long, a:int)": (SemanticError, "SEM"),
    "print d = dynamic({'a':'x'}) | evaluate bag_unpack(d) : (a:datetime)": (SemanticError, "type"),
    "print d = dynamic({}) | evaluate bag_unpack(d)": (SemanticError, "no columns"),
    "T | evaluate bag_unpack(l)": (SemanticError, "must be dynamic"),
    "T | evaluate bag_unpack(j.a)": (SemanticError, "must be a column"),
    "T | evaluate bag_unpack(nosuch)": (SemanticError, "SEM0100"),
    "T | evaluate bag_unpack()": (SemanticError, "must be a column"),
    "T | evaluate bag_unpack(j, nosuch='x')": (SemanticError, "SEM0219"),
    "T | evaluate bag_unpack(j, s)": (SemanticError, "constant string"),
    "T | evaluate bag_unpack(j, columnsConflict='x')": (SemanticError, "one of error"),
    "T | evaluate bag_unpack(j, ignoredProperties='x')": (SemanticError, "list of strings"),
    "print a = dynamic([{}]) | mv-apply a on (evaluate bag_unpack(a))": (
        NotSupportedError, "within mv-apply",
    ),
    "range i from 1 to 3 step 1 | extend d = bag_pack(strcat('k', rand()), i) "
    "| evaluate bag_unpack(d)": (NotSupportedError, "not the same"),
    "range i from 1 to 3 step 1 | extend s = strcat('k', rand()) | evaluate pivot(s)": (
        NotSupportedError, "not the same",
    ),
    "T | evaluate nosuch()": (SemanticError, "'nosuch'"),
    "T | evaluate pivot(s, l)": (NotSupportedError, "aggregate"),
    "T | evaluate pivot(j, count(), s)": (NotSupportedError, "type dynamic"),
    "T | evaluate pivot(s, count(), s)": (SemanticError, "twice"),
    "T | evaluate pivot(s, count(), j)": (SemanticError, "'j' is dynamic"),
    "T | evaluate pivot(s)": (SemanticError, "dynamic"),
    "T | evaluate pivot(s, count(), b)": (SemanticError, "'' cannot be the name"),
    "T | evaluate pivot(s, count(), b) : (x:long)": (SemanticError, "no column 'b'"),
    "T | evaluate pivot(s, count(), b) : (b:bool, x:real)": (SemanticError, "'x' is long"),
    "T | evaluate hint.nosuch=1 pivot(s)": (SyntaxRefusedError, "SYN0002"),
    **{f"T | evaluate {name}()": (NotSupportedError, f"'evaluate {name}'") for name in REFUSED},
}  # fmt: skip


@pytest.mark.parametrize("kql", UNANSWERED)
async def test_refusals(answer, snapshot, kql):
    kind, message = UNANSWERED[kql]
    with pytest.raises(kind, match=message):
        await answer.engine.run(kql, snapshot)


async def test_every_refused_plugin_says_what_to_write_instead(answer, snapshot):
    for name in REFUSED:
        with pytest.raises(NotSupportedError) as refused:
            await answer.engine.run(f"T | evaluate {name}()", snapshot)
        assert refused.value.remedy == REFUSED[name]


@pytest.mark.parametrize("plugin", ["bag_unpack(d)", "pivot(s)"])
async def test_columns_made_are_bounded(engine_with, limits, snapshot, plugin):
    """At the limit, below it and above it; the error comes from the first pass."""
    rows = "range i from 1 to {} step 1 | extend s = strcat('k', i)"
    if plugin == "bag_unpack(d)":
        rows += " | project d = bag_pack(s, i)"
    else:
        rows += " | project s"
    async with engine_with(limits(query_made_columns=5)) as engine:
        for count in (4, 5):
            result = await engine.run(f"{rows.format(count)} | evaluate {plugin}", snapshot)
            assert len(result.columns) == count
        with pytest.raises(LimitExceededError, match="more than 5 columns") as refused:
            await engine.run(f"{rows.format(6)} | evaluate {plugin}", snapshot)
    assert refused.value.metadata == {"limit": "query_made_columns", "limit_value": "5"}


async def test_a_first_pass_is_not_bound_by_the_size_of_the_answer(answer, snapshot):
    """truncationmaxrecords=1 is for the rows that are sent, not for the columns found."""
    text = "set truncationmaxrecords=1; print d = dynamic({'a':1,'b':2,'c':3}) "
    assert await answer(f"{text} | evaluate bag_unpack(d)", snapshot) == [(1, 2, 3)]


async def test_extents_and_streamed_rows_are_one_snapshot_for_both_passes(world):
    """Also with a function of extents behind it, whose hidden column passes through."""
    await world.seal((1, "x"))
    world.stream((2, "y"), first_us=7)
    rows = await world.ask(
        "T | extend d = bag_pack(s, a) | evaluate bag_unpack(d) | sort by a asc "
        "| extend t = tolong(ingestion_time() - datetime(1970-01-01)) | project a, x, y"
    )
    assert rows == [(1, 1, None), (2, None, 2)]


def test_a_translation_says_that_it_is_a_first_pass():
    query = "T | evaluate bag_unpack(j)"
    schemas = {"T": (("l", "long"), ("j", "dynamic"))}
    first = translate(Query(query, "Home", schemas))
    assert first.discovers == "bag_unpack"
    second = translate(Query(query, "Home", schemas, discovered=((("a", "long"),),)))
    assert second.discovers == ""
    assert json.dumps(second.sql).count("json_keys") == 1
    assert Discovery()._found == []
