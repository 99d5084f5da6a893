"""What is refused before DuckDB sees it: unknown names, files, wrong answers, wild text."""

from __future__ import annotations

import json
import re

import pytest

from cluster.errors import (
    InvalidRequestError,
    LimitExceededError,
    NotSupportedError,
    SemanticError,
    SyntaxRefusedError,
)
from cluster.query.messages import Query
from cluster.query.translate import translate

SCHEMAS = {
    "T": (("a", "long"), ("s", "string"), ("t", "datetime"), ("d", "decimal"), ("i", "int")),
    "U": (("a", "long"), ("z", "string")),
    "Texts": (("a", "string"),),
    "Sorted": (("Description", "string"), ("x", "long")),
}


def sql_of(kql: str, **kwargs) -> str:
    return translate(Query(kql, "Home", SCHEMAS), **kwargs).sql


UNRESOLVED = {
    "X | take 1": "SEM0100: 'take' operator: Failed to resolve table or column expression "
    "named 'X'",
    "X": "SEM0100: Failed to resolve table or column expression named 'X'",
    "T | where q == 1": "SEM0100: 'where' operator: Failed to resolve column or scalar "
    "expression named 'q'",
    "T | where A == 1": "named 'A'",
    "T | extend n = 1, m = n": "named 'n'",
    "T | summarize sum(q)": "named 'q'",
    "T | summarize count() by q": "named 'q'",
    "T | join kind=inner U on z": "named 'z'",
    "T | join kind=inner U on s": "named 's'",
    "T | project-away q": "'project-away' operator",
    "T | project-rename n = q": "named 'q'",
    "T | sort by q": "named 'q'",
    "T | mv-expand q": "named 'q'",
    "T | project a | where s == ''": "named 's'",
    "T | where a in (Nope)": "named 'Nope'",
    "T | where a == toscalar(Nope | count)": "named 'Nope'",
    "let V = Nope; V": "named 'Nope'",
    "union T, Nope": "named 'Nope'",
    "union Nope*": "named 'Nope*'",
    "t | count": "named 't'",
    "database('other').T": 'database("other")',
    "database('Home').Nope": "named 'Nope'",
    "print q": "named 'q'",
    "T | where foo(a)": "SEM0260: Unknown function: 'foo'",
    "print STRLEN('a')": "SEM0260: Unknown function: 'STRLEN'",
    "T | where sum(a) > 1": "cannot be invoked in current context",
    "T | summarize sum(sum(a))": "cannot be invoked in current context",
    "T | summarize a": "contains no aggregation",
    "T | join kind=inner Texts on a": "cannot be compared",
}


@pytest.mark.parametrize("kql", UNRESOLVED)
def test_unresolved_names_are_semantic_errors_in_kustos_words(kql):
    with pytest.raises(SemanticError, match=re.escape(UNRESOLVED[kql])) as refused:
        sql_of(kql)
    assert refused.value.message.startswith("Semantic error:")


PROBES = [
    "['/etc/passwd'] | take 1",
    '["/etc/passwd"]',
    "['data.csv'] | count",
    "['s3://bucket/x.parquet']",
    "secret_df | take 1",
    "['read_csv(\\'/etc/passwd\\')']",
    "read_csv('/etc/passwd')",
    "read_text('/etc/passwd') | take 1",
    "print read_text('/etc/passwd')",
    "print getenv('HOME')",
    "print getvariable('x')",
    "duckdb_settings() | take 1",
    "duckdb_tables",
    "sqlite_master",
    "['information_schema.tables']",
    "['main.T']",
    "database('system').duckdb_tables",
    "database('main').T",
    "['\"$0\"']",
    "['$0'] | count",
    "union duckdb_*",
    "T | join kind=inner (['/etc/passwd']) on a",
    "T | where a in (['/etc/passwd'])",
    "let V = ['/etc/passwd']; V",
    "T | extend x = toscalar(['/etc/passwd'])",
    "print glob('/*')",
    "print ['$bounded']('x', 1)",
    "print error('x')",
]


@pytest.mark.parametrize("kql", PROBES)
def test_nothing_outside_the_catalog_can_be_named(kql):
    with pytest.raises((SemanticError, NotSupportedError, SyntaxRefusedError)):
        sql_of(kql)


@pytest.mark.parametrize(
    "kql",
    ["COPY T TO '/tmp/x'", "ATTACH '/tmp/x.db'", "INSTALL httpfs", "PRAGMA threads=1"],
)
def test_sql_is_not_kql(kql):
    with pytest.raises(SyntaxRefusedError, match="SYN0002"):
        sql_of(kql)


@pytest.mark.parametrize("kql", ["set threads = 4; print 1", "set memory_limit = '1TB'; print 1"])
def test_settings_of_duckdb_are_not_options_of_kusto(kql):
    with pytest.raises(NotSupportedError, match="set "):
        sql_of(kql)


def test_strings_and_names_with_quotes_stay_strings_and_names():
    attack = "x'); COPY T TO '/tmp/x'; --"
    sql = sql_of(f'print a = "{attack}"')
    assert sql == "SELECT 'x''); COPY T TO ''/tmp/x''; --' AS \"a\""
    sql = sql_of("print ['a\"; DROP TABLE T; --'] = 1")
    assert sql == 'SELECT CAST(1 AS BIGINT) AS "a""; DROP TABLE T; --"'


@pytest.mark.parametrize("depth", [5, 31, 46, 79])
def test_a_text_that_is_wrong_and_nests_deeply_behind_a_prefix_is_refused(depth):
    """It is parsed again without the prefix, to tell the place: that may go deeper."""
    query = Query("  table" + "(" * depth + "'T')", "Home", SCHEMAS, prefix="let p = 1;")
    with pytest.raises((SyntaxRefusedError, LimitExceededError)):
        translate(query)


def test_every_table_is_bound_to_an_input():
    translation = translate(Query("T | join kind=inner (database('home').U) on a", "Home", SCHEMAS))
    assert [(use.database, use.table) for use in translation.tables] == [
        ("home", "T"),
        ("home", "U"),
    ]
    assert '"T" AS NOT MATERIALIZED (FROM "$0")' in translation.sql
    assert '"U" AS NOT MATERIALIZED (FROM "$1")' in translation.sql


NOT_SUPPORTED = {
    "cluster('c').database('d').T": "across clusters",
    "externaldata(a:string)['http://x']": "not supported",
    "external_table('x')": "not supported|Unknown function",
    "T | make-series count() on t step 1h": "make-series is supported",
    "T | evaluate autocluster()": "'evaluate autocluster'",
    "T; U": "multi-statement",
    "set notruncation; T": "notruncation",
    "T | make-graph a --> s | graph-to-table nodes": "not supported",
}


@pytest.mark.parametrize("kql", NOT_SUPPORTED)
def test_what_is_missing_is_said_to_be_missing(kql):
    with pytest.raises((NotSupportedError, SemanticError), match=NOT_SUPPORTED[kql]) as refused:
        sql_of(kql)
    assert "wave" not in refused.value.message
    assert "duckdb" not in refused.value.message.lower()


def test_a_control_command_is_not_a_query():
    with pytest.raises(InvalidRequestError, match="control command"):
        sql_of("// tables\n.show tables")


@pytest.mark.parametrize(
    ("kql", "line", "column"),
    [
        ("T | where a = = 1", 1, 15),
        ("T\n| where a >\n| count", 3, 1),
        ("", 1, 1),
        ("print 'x", 1, 7),
    ],
)
def test_a_syntax_error_names_its_place(kql, line, column):
    with pytest.raises(SyntaxRefusedError, match="SYN0002") as refused:
        sql_of(kql)
    where = refused.value.metadata
    assert (where["line"], where["column"]) == (str(line), str(column))


def test_a_syntax_error_after_a_rewritten_literal_names_the_callers_place():
    with pytest.raises(SyntaxRefusedError) as refused:
        sql_of("print h'secret' ) 1")
    assert refused.value.metadata["column"] == "17"


# The silent wrong answers of reference/kql.md 4.2, each fixed or refused, and those found since.


def test_1_unicode_escapes_are_decoded():
    assert sql_of(r'print x = "\u0041\x42\U00000043\104\\"') == "SELECT 'ABCD\\' AS \"x\""


def test_1_an_unknown_escape_is_a_syntax_error():
    with pytest.raises(SyntaxRefusedError):
        sql_of(r'print "\q"')


def test_2_multi_line_strings_lose_their_fences():
    assert sql_of('print x = ```one\n"two"```') == 'SELECT \'one\n"two"\' AS "x"'
    assert sql_of("print x = ~~~it's~~~") == "SELECT 'it''s' AS \"x\""


@pytest.mark.parametrize("kql", ["print strlen(text='a')", "T | extend x = iff(a > 1, b=1, c=2)"])
def test_3_named_arguments_are_refused(kql):
    with pytest.raises(NotSupportedError, match="Named arguments"):
        sql_of(kql)


def test_3_names_outside_calls_are_not_arguments():
    assert sql_of("T | join kind=inner (print a=1, b=2) on a | project c=a, d=b")


async def test_4_bounds_of_make_list_and_make_set_hold(answer):
    kql = "range x from 1 to 9 step 1 | summarize make_list(x, 2), array_length(make_set(x, 3))"
    ((collected, size),) = await answer(kql)
    assert (json.loads(collected), size) == ([1, 2], 3)


@pytest.mark.parametrize("bound", ["0", "a", "-1"])
def test_4_a_bound_that_is_not_a_positive_literal_is_refused(bound):
    with pytest.raises((NotSupportedError, SemanticError)):
        sql_of(f"T | summarize make_list(a, {bound})")


@pytest.mark.parametrize(
    "bounds",
    [
     "0 to toscalar(T | count) step 1"],
)  # fmt: skip
def test_5_a_range_that_is_not_over_whole_numbers_or_times_is_refused(bounds):
    with pytest.raises(NotSupportedError, match="range"):
        sql_of(f"range x from {bounds}")


@pytest.mark.parametrize(
    "kql",
    ["print decimal(0.1) / 2", "T | extend d / 2", "T | summarize avg(d)"],
)  # fmt: skip
def test_6_decimals_never_compute_as_real(kql):
    with pytest.raises(NotSupportedError):
        sql_of(kql)


@pytest.mark.parametrize(
    "kql",
    ["union T, Texts", "union (T | project x = a), (T | project x = i)",
     "union (T | project x = strlen(s)), (T | project x = tostring(a))"],
)  # fmt: skip
def test_7_a_union_of_one_name_with_two_types_is_refused(kql):
    with pytest.raises(NotSupportedError, match="'union' operator: column"):
        sql_of(kql)


async def test_7_types_not_known_to_the_translator_are_compared_by_the_engine(answer):
    unknown = "extend q = case(l > 1, j, dynamic(1))"
    with pytest.raises(NotSupportedError, match=r"column 'q' is dynamic .* and string"):
        await answer(f"union (T | {unknown} | project q = min_of(q, q)), (T | project q = s)")


OUTER = {
    "T | join kind=leftouter U on l | where l == 3 | project z, z == '', isnull(z)": [
        ("", True, False)
    ],
    "T | lookup U on l | where z == '' | count": [(2,)],
    "union U, Sorted | where z == '' | count": [(3,)],
    "U | join kind=fullouter (T | project l, s) on l | where l == 5 | project s == ''": [(True,)],
    "U | join kind=rightouter (T | project l, k = s) on l | where z == '' | count": [(2,)],
}


@pytest.mark.parametrize("kql", OUTER)
async def test_8_strings_without_a_match_are_empty(answer, kql):
    assert await answer(kql) == OUTER[kql]


@pytest.mark.parametrize(
    ("literal", "refused"),
    [("2024-01-01T00:00:00.1234567Z", True), ("2024-01-01T00:00:00.1234560Z", False),
     ("2024-01-01T00:00:00.123456", False), ("2024-01-01 10:00:00.0000001", True)],
)  # fmt: skip
def test_9_a_datetime_finer_than_a_microsecond_is_refused(literal, refused):
    if refused:
        with pytest.raises(NotSupportedError, match="finer than a microsecond"):
            sql_of(f"print datetime({literal})")
    else:
        assert sql_of(f"print datetime({literal})")


async def test_10_collected_dynamics_are_values_not_texts(answer):
    ((collected,),) = await answer("T | where l == 1 | summarize make_list(j)")
    assert collected == '[{"a":{"b":1},"x":[1,2]}]'


def test_obfuscated_strings_are_strings():
    assert sql_of("""print x = h'a', y = H"b", z = h@'c\\'""") == (
        "SELECT 'a' AS \"x\", 'b' AS \"y\", 'c\\' AS \"z\""
    )


@pytest.mark.parametrize(
    ("order", "expected"),
    [("Description asc", "ASC NULLS FIRST"), ("Description", "DESC NULLS LAST"),
     ("Description desc", "DESC NULLS LAST"), ("Description asc nulls last", "ASC NULLS LAST"),
     ("strcat(Description, 'asc')", "DESC NULLS LAST")],
)  # fmt: skip
def test_sort_directions_are_those_written(order, expected):
    assert f" {expected})" in sql_of(f"Sorted | sort by {order}")


async def test_sort_by_a_name_with_a_direction_in_it(answer):
    assert await answer("Sorted | sort by Description asc | project Description") == [
        ("a",), ("b",), ("c",),
    ]  # fmt: skip
    assert await answer("Sorted | top 1 by desc_no asc | project desc_no") == [(1,)]


def test_two_directions_for_one_misleading_key_are_refused():
    with pytest.raises(NotSupportedError, match="direction"):
        sql_of("Sorted | sort by Description asc | take 1 | sort by Description desc")


# Text that costs.


@pytest.mark.parametrize(
    "kql",
    ["print " + "(" * 300 + "1" + ")" * 300, "T | where " + " and ".join(["a > 1"] * 2000)],
)
def test_text_that_nests_too_deeply_is_a_limit_not_a_crash(kql):
    with pytest.raises(LimitExceededError, match="too complex"):
        sql_of(kql)


def test_sql_size_is_bounded_exactly(limits):
    size = len(sql_of("print 1"))
    for limit, fits in ((size - 1, False), (size, True), (size + 1, True)):
        if fits:
            assert sql_of("print 1", limits=limits(query_sql_bytes=limit))
        else:
            with pytest.raises(LimitExceededError, match=f"limit is {limit}"):
                sql_of("print 1", limits=limits(query_sql_bytes=limit))


@pytest.mark.parametrize(("extra", "fits"), [(-1, True), (0, True), (1, False)])
async def test_values_cannot_grow_beyond_the_limit(engine_with, snapshot, limits, extra, fits):
    kql = f"U | where l == 1 | project s = strcat(z, strrep('x', {97 + extra}))"
    async with engine_with(limits(string_value_bytes=100)) as engine:
        if fits:
            result = await engine.run(kql, snapshot)
            assert len(result.table["s"][0].as_py()) == 100 + extra
        else:
            with pytest.raises(LimitExceededError, match="longer than 100 bytes"):
                await engine.run(kql, snapshot)


@pytest.mark.parametrize(
    "step",
    ["strcat(s, s)", "replace_string(s, 'a', s)", "strrep(s, 1000)", "strcat_delim('-', s, s)",
     "tostring(pack_array(s, s))", "replace_regex(s, 'a', 'aaaaaaaaaaaaaaaaaa')"],
)  # fmt: skip
async def test_no_function_doubles_a_value_for_ever(engine_with, snapshot, limits, step):
    kql = "print s = strrep('a', 50)" + f" | extend s = {step}" * 4
    async with engine_with(limits(string_value_bytes=400)) as engine:
        with pytest.raises(LimitExceededError, match="E_VALUE_TOO_LONG"):
            await engine.run(kql, snapshot)


async def test_strrep_repeats_at_most_1024_times_as_in_kusto(answer):
    assert await answer("print strlen(strrep('a', 4000000000))") == [(1024,)]
    assert await answer("range n from 5000 to 5000 step 1 | project strlen(strrep('a', n))") == [
        (1024,)
    ]


async def test_a_long_range_streams(answer):
    assert await answer("range x from 1 to 20000000 step 1 | count") == [(20_000_000,)]


@pytest.mark.parametrize("forged", ["$E_REMORA no_code x", "$E_REMORA pairs_ x"])
async def test_a_value_that_is_quoted_cannot_pass_for_a_refusal_of_ours(answer, forged):
    with pytest.raises(NotSupportedError, match="JSON path"):
        await answer(f"print bag_has_key(dynamic({{}}), '{forged}')")
