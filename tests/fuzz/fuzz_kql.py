"""KQL over REST to a real node: operators put together at random, mistakes in them."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from fuzz_calls import aggregate_calls, scalar_calls, window_calls
from fuzz_mutations import mutated_texts
from fuzz_rest import judge
from fuzz_values import COLUMNS, KINDS, SETUP, values
from fuzzing import HANG_SECONDS, Target
from hypothesis import strategies as st

from cluster.query.plugins import REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["SETUP", "Asked", "kql_target", "queries"]

PLAIN = (
    "A", "B", "C", "D", "E", "F", "G", "D.x", "D[0]", "['A']", "A + 1", "A / 0", "A % 2",
    "B contains 'x'",
    "B has 'x'", "B matches regex '('", "A in (1, 2)", "A == B", "A between (1 .. 2)", "-A",
    "A - C", "C - C",
    "F * A", "F / F", "A !in (S | project A)", "B has_any (dynamic(['x']))", "D has_all ('x', 'y')",
    "C + F",
    "toscalar(S | count)", "9223372036854775807 + 1", "1e308 * 10", "unknown(A)", "Missing",
    "B in~ ('X')", "A * A",
    "B startswith_cs 'x'", "D == D", "G and A", "E > real(nan)", "bin(C, F)", "B !hasprefix ''",
    "A in ((T | project A))",
)  # fmt: skip
TYPES = (
    "long",
    "int",
    "string",
    "real",
    "bool",
    "datetime",
    "timespan",
    "guid",
    "decimal",
    "dynamic",
    "boolean",
    "xml",
)
NAMES = ("a", "b", "A", "B", "X", "['c d']", "['']", "x", "hll", "['a\"b']")
COUNTS = (
    "0",
    "1",
    "2",
    "5",
    "-1",
    "1000000000",
    "long(null)",
    "A",
    "1.5",
    "9223372036854775807",
    "toscalar(S | count)",
)
DELIMITERS = ("','", "';'", "'='", "' '", "':'", "''", "'::'", "'é'", "'\\u0000'", "'\"'")
PATTERNS = (
    "@'(\\w+)=(\\w+)'",
    "@'(.)(.)'",
    "'('",
    "@'(.*)=(.*)=(.*)'",
    "''",
    "@'()()'",
    "@'(?P<a>.)(?i)(.)'",
)
LETTERS: Final = tuple("ABCDEFG")
OPERATORS = ("+", "-", "*", "/", "%", "==", "<", "!=", "and", "contains", "has", "=~", "in")


USUAL = (
    "| where {one}", "| where {one} == {other}", "| extend X = {one}",
    "| extend X = {one}, {other}", "| extend X = {one}",
    "| project X = {one}", "| count", "| project {one}, Y = {other}",
    "| summarize {aggregate} by {one}",
    "| summarize {aggregate}", "| summarize N = {aggregate}, count()",
    "| summarize {aggregate} by bin({column}, {span})",
    "| take {count}", "| order by {one} {order}, {column}", "| top {count} by {one} {order}",
    "| distinct {column}, {one}",
    "| distinct *", "| top-hitters {count} of {column}", "| top-hitters 2 of {column} by {one}",
    "| count as N",
    "| sort by {column} {order} | extend W = {window}", "| serialize W = {window}",
    "| serialize | extend W = {window}, X = {one}", "| project-away A", "| project-away A*, *",
    "| project-keep B, *D",
    "| getschema", "| project-rename Z = A", "| project-reorder B, * asc", "| mv-expand {column}",
    "| mv-expand X = {one} to typeof(long) limit 3", "| mv-expand with_itemindex=I D, X = {other}",
    "| as X",
    "| as hint.materialized=true X | where {one}", "| render timechart",
    "| render piechart with (title='x', xcolumn=A)",
    "| sample {count}", "| sample-distinct {count} of {column}", "| lookup S on A", "| join S on A",
    "| union S", "| union T, S",
    "| parse {column} with 'a' X:long {one}", "| parse-where B with * '=' X:long ',' *",
    "| parse kind=regex flags=Ui B with @'(.)' X", "| search 'x'", "| search B: 'x' and A > 1",
    "| search in (S) *",
    "| facet by B, G", "| facet by {column}", "| consume", "| reduce by B", "| invoke f()",
    "| extend {column} = {one}",
    "| scan declare (q: long = 0) with (step s: true => q = {one};)",
    "| make-series X = {aggregate}{default} on {axis} {by}",
    "| make-series X = {aggregate} on {axis}",
    "| evaluate {hint}bag_unpack({bag}) {schema}", "| evaluate bag_unpack(D){schema}",
    "| evaluate {hint}pivot({column}, {aggregate}, {column2}) {schema}",
    "| evaluate pivot({column}, {aggregate})",
    "| evaluate pivot({column}){schema}", "| evaluate {plugin}({one}, {column})",
    "| parse-kv B as {keys} with (pair_delimiter=',', kv_delimiter='={setting}')",
    "| parse-kv {text} as {keys} with ({settings})",
    "| parse-kv B as {keys} with (pair_delimiter={delimiter}, kv_delimiter={delimiter2})",
    "| parse-kv B as {keys} with (pair_delimiter=',', kv_delimiter='=', quote={delimiter})",
    "| parse-kv B as {keys} with (regex={pattern})", "| {level}", "| {level}, {level2}",
    "| {level}, {level2}, {level3}",
)  # fmt: skip
"""Operators without queries inside: what is in braces is drawn from :data:`PARTS`."""

HOLDING = (
    "| join kind={join} (T {inner}) on {key}", "| lookup kind={join} (S {inner}) on {key}",
    "| union kind=outer withsource=W (T {inner}), S", "| union kind=inner (T {inner})",
    "| mv-apply D on ({bare})",
    "| mv-apply X = D to typeof({type}) limit 2 on ({bare})", "| fork ({bare}) (count)",
    "| where A in ((T {inner}))",
    "| extend X = toscalar(T {inner})", "| facet by {column}, B with ({bare})", "| invoke f({one})",
    "| partition {strategy}by {column} ({bare})",
    "| partition {strategy}by {column} {{ T {inner} }}",
    "| partition by {column} {{ S | where A == 1 }}",
)  # fmt: skip
"""Operators with queries inside."""

SOURCES = (
    "print X = {call}", "print {call}, {call2}", "print A = {call}, B = {call2}",
    "range A from {from_to_step} | take 5",
    "range A from 1 to 5 step 1 | extend B = tostring(A)", "datatable{table}", "Missing", "(T)",
    "['T']",
    "database('NetDefaultDB').T", "S", "cluster('x').database('y').T", "", "union withsource=X *",
    "union T, S",
    "union isfuzzy=true T, Missing", "externaldata(a: long) ['http://127.0.0.1:1/x']",
    "materialize(T)", "search *",
    "search in (T, S) 'x'", "cluster(current_cluster_endpoint()).database(current_database()).S",
    "table('T')", "find 'x'",
    # What is wrong is so late that an answer's first rows have gone.
    "range A from 1 to 200000 step 1 | extend X = iff(A == 190000, {call}, {call2})",
)  # fmt: skip

PREFIXES = (
    "", "", "", "", "let x = 5; ", "let f = (a: long) { T | where A == a }; ", "set notruncation; ",
    "T | count; ",
    "let f = (t: (*), a: long) { t | extend Z = a }; ", "declare query_parameters(p: long = 1); ",
    "let S = T; ", "// x\n",
    "set query_now = datetime(0001-01-01); ", "set query_take_max_records = 1; ",
    "let D = materialize(S); ",
)  # fmt: skip

AXES = (
    "C from datetime(2026-01-01) to datetime(2026-01-05) step 1d",
    "C from datetime(null) to now() step 1s",
    "C from datetime(0001-01-01) to datetime(9999-12-31) step 3650d", "A from 0 to 10 step 1",
    "A from 10 to 0 step 3",
    "A from -9223372036854775807 to 9223372036854775807 step 1", "E from 0.0 to 1.0 step 0.1",
    "F from 0d to 1d step 1h",
    "A from 0 to 9223372036854775807 step 9223372036854775807", "C step 1d",
    "A from -1 to 5 step 2", "A from 0 to 9 step 0",
)  # fmt: skip
SETTINGS = (
    "greedy=true", "greedy=x", "x=1", "regex=1", *(f"{name}={delimiter}" for delimiter in DELIMITERS
    for name in ("pair_delimiter", "kv_delimiter", "quote", "escape")),
    *(f"regex={pattern}" for pattern in PATTERNS),
)  # fmt: skip
BAGS = (
    "D", "D, 'p_'", "D, '', 'replace_source'", "D, 'A', columnsConflict='keep_source'", "D.a", "A",
    "Missing", "D, 1", "",
    "D, 'p', 'x'", "D, columnsConflict='replace_source', ignoredProperties=dynamic(['a'])",
    "D, ignoredProperties=dynamic(1)",
)  # fmt: skip


@st.composite
def scalars(draw: DrawFn) -> str:
    """An expression over the columns of T."""
    which = draw(st.integers(0, 9))
    if which < 3:
        return draw(st.sampled_from(PLAIN))
    if which < 8:
        return draw(scalar_calls())
    if which == 8:
        return draw(values(draw(st.sampled_from(KINDS))))
    operator = draw(st.sampled_from(OPERATORS))
    left, right = draw(scalar_calls()), draw(values(draw(st.sampled_from(KINDS))))
    return f"{left} {operator} ({right})"


@st.composite
def declared(draw: DrawFn) -> str:
    """Names and types in parentheses."""
    given = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(TYPES)), max_size=4))
    return f"({', '.join(f'{name}: {kind}' for name, kind in given)})"


@st.composite
def levels(draw: DrawFn) -> str:
    """One level of ``top-nested``."""
    count = draw(st.sampled_from(("", "1 ", "2 ", "0 ", "A ", "-1 ")))
    others = draw(st.sampled_from(("", "", "with others = 'rest' ", "with others = 1 ")))
    of = draw(
        st.one_of(
            st.sampled_from(LETTERS), st.sampled_from(LETTERS), scalars().map("N = {}".format)
        )
    )
    order = draw(st.sampled_from(("", " asc", " desc", " nulls last")))
    return f"top-nested {count}of {of} {others}by {draw(aggregate_calls())}{order}"


@st.composite
def tables(draw: DrawFn) -> str:
    """What stands behind ``datatable``."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    typed = ", ".join(f"{COLUMNS[kind][0][0]}{i}: {kind}" for i, kind in enumerate(kinds))
    rows = ", ".join(draw(values(kind)) for _ in range(draw(st.integers(0, 2))) for kind in kinds)
    return f"({typed}) [{rows}]"


@st.composite
def ranges(draw: DrawFn) -> str:
    """What stands behind ``range A from``."""
    kind = draw(st.sampled_from(("long", "real", "datetime", "timespan")))
    low, high = draw(values(kind)), draw(values(kind))
    return f"{low} to {high} step {draw(values('timespan' if kind == 'datetime' else kind))}"


PARTS: Final[Mapping[str, SearchStrategy[str]]] = {
    "one": scalars(), "other": scalars(), "call": scalar_calls(), "aggregate": aggregate_calls(),
    "column": st.sampled_from(LETTERS), "count": st.sampled_from(COUNTS),
    "span": values("timespan"),
    "order": st.sampled_from(("", "desc", "asc nulls first", "desc nulls last")),
    "window": window_calls(),
    "default": st.sampled_from(("", "", " default=0", " default=real(nan)", " default='x'")),
    "axis": st.sampled_from(AXES),
    "by": st.sampled_from(("", "by B", "by G, B", "by D")), "bag": st.sampled_from(BAGS),
    "keys": declared(),
    "hint": st.sampled_from(("", "", "", "hint.distribution=single ", "hint.x=1 ")),
    "schema": st.one_of(st.just(""), st.just(""), declared().map(" : {}".format),
    st.just(" : (*, a: long)")),
    "plugin": st.sampled_from((*sorted(REFUSED), "unknown")),
    "delimiter": st.sampled_from(DELIMITERS),
    "setting": st.sampled_from(("", "", "', escape='x", "', quote='\"",
    "', greedy=true, quote='(")),
    "settings": st.lists(st.sampled_from(SETTINGS), max_size=4).map(", ".join),
    "text": st.sampled_from(("B", "tostring(D)", "A", "strcat(B, ',', B)", "'a=1,b=x'",
    "strrep(B, 3, ';')")),
    "pattern": st.sampled_from(PATTERNS), "level": levels(), "type": st.sampled_from(TYPES),
    "from_to_step": ranges(),
    "join": st.sampled_from(("inner", "leftouter", "fullouter", "leftanti", "rightsemi",
    "innerunique", "cross", "x")),
    "key": st.sampled_from(("A", "B", "C", "D", "$left.A == $right.A", "$left.A == $right.B", "X")),
    "table": tables(),
    "strategy": st.sampled_from(("", "", "hint.strategy=native ", "hint.strategy=shuffle ",
    "hint.strategy=x ")),
}  # fmt: skip
"""What is put in the place of a name in braces; a number behind the name makes it another one."""


class _Drawn(dict[str, str]):
    """The parts of one text, drawn when it asks for them."""

    def __init__(self, draw: DrawFn) -> None:
        super().__init__()
        self._draw = draw

    def __missing__(self, name: str) -> str:
        if name in ("inner", "bare"):
            piped = st.lists(operators(holds=False), min_size=1, max_size=2)
            text = " ".join(self._draw(piped))
            return text.removeprefix("| ") if name == "bare" else text
        return self._draw(PARTS[name.rstrip("0123456789")])


@st.composite
def operators(draw: DrawFn, *, holds: bool = True) -> str:
    """One operator with its pipe."""
    templates = HOLDING if holds and not draw(st.integers(0, 4)) else USUAL
    return draw(st.sampled_from(templates)).format_map(_Drawn(draw))


@st.composite
def queries(draw: DrawFn) -> str:
    """A query; most of them make sense."""
    piped = draw(st.lists(operators(), max_size=3))
    source = "T"
    if not draw(st.integers(0, 2)):
        source = draw(st.sampled_from(SOURCES)).format_map(_Drawn(draw))
    return " ".join((draw(st.sampled_from(PREFIXES)) + source, *piped))


@st.composite
def single_calls(draw: DrawFn) -> str:
    """One call over constants, or over every row of T: nothing else is wrong with the query."""
    call = draw(scalar_calls())
    return draw(
        st.sampled_from(
            (f"print {call}", f"T | extend X = {call}", f"T | where isnull({call}) | count")
        )
    )


DEEP = (
    ("print ", "(", "1", ")"), ("print ", "-", "1", ""), ("print ", "not(", "true", ")"),
    ("print ", "1 + ", "1", ""), ("print ", "strcat('a', ", "'b'", ")"), ("", "(", "T", ")"),
    ("T ", "| where A > 1 ", "", ""), ("T ", "| extend X = A ", "", ""),
    ("", "let a = 1; ", "T", ""),
    ("T | where A in (", "1, ", "1", ""), ("print dynamic(", "[", "", "]"),
    ("union ", "T, ", "T", ""),
    ("T ", "| join (T ", "", ") on A"), ("print '", "x", "", ""), ("print ", "{", "", "}"),
    ("T ", "| evaluate bag_unpack(D) ", "", ""), ("T ", "| partition by A (", "count", ")"),
    ("T | top-nested of A by count()", ", top-nested of A by count()", "", ""),
    ("T ", "| mv-apply D on (", "count", ")"), ("print ", "array_reverse(", "dynamic([1])", ")"),
    ("T ", "| parse-kv B as (", "a: string", ") with (pair_delimiter=',', kv_delimiter='=')"),
    ("T | facet by A", ", A", "", ""), ("T | fork ", "(count) ", "", ""), ("", "T | count; ", "T",
    ""),
)  # fmt: skip


@st.composite
def deep(draw: DrawFn) -> str:
    """One thing inside itself, or after itself, many times."""
    before, opening, middle, closing = draw(st.sampled_from(DEEP))
    times = draw(st.sampled_from((10, 100, 400)))
    return before + opening * times + middle + closing * times


QUERY_SECONDS: Final = 20
"""What each query may take; a node that takes until :data:`HANG_SECONDS` has not kept to it."""


class Asked:
    """A connection to the node, made anew when it was closed."""

    def __init__(self, url: str, database: str) -> None:
        self._address = urlsplit(url).netloc
        self._database = database

    def __call__(self, text: str) -> str:
        """The status and code of the answer."""
        connection = http.client.HTTPConnection(self._address, timeout=HANG_SECONDS)
        options = {"servertimeout": f"00:00:{QUERY_SECONDS}"}
        asked = {"db": self._database, "csl": text, "properties": {"Options": options}}
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v2/rest/query", json.dumps(asked), headers)
            response = connection.getresponse()
            return judge(response.status, response.read())
        finally:
            connection.close()


def kql_target(url: str, database: str) -> Target:
    """Queries to a database in which :data:`SETUP` was run."""
    made = queries()
    texts = st.one_of(made, made, single_calls(), single_calls(), mutated_texts(made), deep())
    return Target("kql", texts, Asked(url, database))
