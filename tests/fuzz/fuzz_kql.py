"""KQL over REST to a real node: operators put together at random, mistakes in them."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fuzz_mutations import mutated_texts
from fuzz_rest import judge
from fuzzing import HANG_SECONDS, Target
from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

SETUP = (
    ".create table T (A: long, B: string, C: datetime, D: dynamic, E: real, F: timespan, G: bool)",
    ".create table S (A: long, B: string)",
    '.ingest inline into table S <| 1,x\n2,"y"',
)
SCALARS = (
    "A", "B", "C", "D", "E", "F", "G", "D.x", "D[0]", "['A']", "1", "-1", "1.5", "'x'", '"é"',
    "true",
    "null", "long(null)", "datetime(2026-01-01)", "1d", "dynamic({\"a\":[1]})", "now()", "ago(1h)",
    "A + 1", "A / 0", "A % 2", "B contains 'x'", "B has 'x'", "B matches regex '('", "A in (1, 2)",
    "A == B", "not(G)", "iff(G, A, 1)", "case(A > 1, 'a', 'b')", "strcat(B, A)", "tolong(B)",
    "bin(C, 1d)", "extract('(.)', 1, B)", "split(B, ',')", "parse_json(B)", "array_length(D)",
    "A between (1 .. 2)", "substring(B, 1)", "-A", "tostring(D)", "format_datetime(C, 'yyyy')",
    "prev(A)", "row_number()", "toscalar(S | count)", "A !in (S | project A)", "isnotempty(B)",
    "9223372036854775807 + 1", "1e308 * 10", "datetime_add('day', A, C)", "unknown(A)", "Missing",
)  # fmt: skip
AGGREGATES = (
    "count()", "sum(A)", "avg(E)", "min(C)", "max(B)", "dcount(B)", "make_list(A)", "make_set(B)",
    "arg_max(C, *)", "percentile(A, 50)", "countif(G)", "stdev(A)", "take_any(B)", "any(B)",
    "make_bag(D)", "sum(B)", "percentiles(E, 5, 95)", "hll(A)",
)  # fmt: skip


@st.composite
def operators(draw: DrawFn) -> str:
    """One operator with its pipe."""
    one, other = draw(st.sampled_from(SCALARS)), draw(st.sampled_from(SCALARS))
    aggregate = draw(st.sampled_from(AGGREGATES))
    return draw(
        st.sampled_from(
            (
                f"| where {one}",
                f"| where {one} == {other}",
                f"| extend X = {one}",
                "| count",
                f"| project {one}, Y = {other}",
                f"| summarize {aggregate} by {one}",
                "| take 2",
                f"| summarize N = {aggregate}",
                f"| order by {one} desc",
                f"| top 2 by {one}",
                f"| distinct {draw(st.sampled_from('ABCDE'))}",
                "| project-away A",
                "| getschema",
                "| project-rename Z = A",
                "| join kind=inner S on A",
                "| join kind=leftouter (S) on B",
                "| union S",
                "| mv-expand D",
                f"| mv-apply D on (where {one})",
                "| serialize",
                f"| parse B with 'a' X:long {one}",
                "| as X",
                "| render timechart",
                "| sample 1",
                f"| make-series {aggregate} on C step 1d by B",
                "| evaluate bag_unpack(D)",
                "| lookup S on A",
                "| search 'x'",
                "| invoke f()",
                "| limit -1",
                "| consume",
                f"| top-nested 2 of B by {aggregate}",
                "| project-reorder B",
                "| partition by B (count)",
                f"| scan declare (q: long = 0) with (step s: true => q = {one};)",
                "| reduce by B",
            )
        )
    )


SOURCES = (
    "T", "S", "T", "union T, S", "print X = 1", "range A from 1 to 5 step 1",
    "datatable(A: long) [1]",
    "Missing", "(T)", "['T']", "database('NetDefaultDB').T", "cluster('x').database('y').T", "",
    "union withsource=X *", "externaldata(a: long) ['http://127.0.0.1:1/x']", "materialize(T)",
)  # fmt: skip
PREFIXES = (
    "", "", "", "let x = 5; ", "let f = (a: long) { T | where A == a }; ", "set notruncation; ",
    "declare query_parameters(p: long = 1); ", "let S = T; ", "// x\n",
)  # fmt: skip


@st.composite
def queries(draw: DrawFn) -> str:
    """A query; most of them make sense."""
    piped = draw(st.lists(operators(), max_size=4))
    return " ".join((draw(st.sampled_from(PREFIXES)) + draw(st.sampled_from(SOURCES)), *piped))


DEEP = (
    ("print ", "(", "1", ")"), ("print ", "-", "1", ""), ("print ", "not(", "true", ")"),
    ("print ", "1 + ", "1", ""), ("print ", "strcat('a', ", "'b'", ")"), ("", "(", "T", ")"),
    ("T ", "| where A > 1 ", "", ""), ("T ", "| extend X = A ", "", ""),
    ("", "let a = 1; ", "T", ""),
    ("T | where A in (", "1, ", "1", ""), ("print dynamic(", "[", "", "]"),
    ("union ", "T, ", "T", ""),
    ("T ", "| join (T ", "", ") on A"), ("print '", "x", "", ""), ("print ", "{", "", "}"),
)  # fmt: skip


@st.composite
def deep(draw: DrawFn) -> str:
    """One thing inside itself, or after itself, many times."""
    before, opening, middle, closing = draw(st.sampled_from(DEEP))
    times = draw(st.sampled_from((10, 100, 400)))
    return before + opening * times + middle + closing * times


class Asked:
    """A connection to the node, made anew when it was closed."""

    def __init__(self, url: str, database: str) -> None:
        self._address = urlsplit(url).netloc
        self._database = database

    def __call__(self, text: str) -> str:
        """The status and code of the answer."""
        connection = http.client.HTTPConnection(self._address, timeout=HANG_SECONDS)
        try:
            body = json.dumps({"db": self._database, "csl": text})
            connection.request("POST", "/v2/rest/query", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return judge(response.status, response.read())
        finally:
            connection.close()


def kql_target(url: str, database: str) -> Target:
    """Queries to a database in which :data:`SETUP` was run."""
    texts = st.one_of(queries(), queries(), mutated_texts(queries()), deep())
    return Target("kql", texts, Asked(url, database))
