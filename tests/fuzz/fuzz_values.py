"""Values of KQL that functions and operators trip over, as literals, by their types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from fuzz_mutations import ODD_TEXTS
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypothesis.strategies import DrawFn


def quoted(text: str) -> str:
    """``text`` as a string literal; what has no spelling in one is escaped."""
    escaped = "".join(
        f"\\u{ord(one):04x}" if one < " " or one in "\x7f\x85\u2028" else one
        for one in text.replace("\\", "\\\\").replace("'", "\\'")
    )
    return f"'{escaped}'"


_DEEP: Final = 200
_TEXTS = (
    "", " ", "x", "a", "é", "漢\U0001f600", "a\u0301", "\u00a0", "\0", "a\nb", "a'b\"c\\d", "(",
    "[", "(a+)+$", "(.)",
    "a,b,c", 'a,"b', '"a""b",c', "a=1,b='c d';e=", "%zz%e9+%20", "http://u:p@[::1]:99999/p?q=1&q=%#f",
    "file:///C:/a/b.tar.gz:s", "C:\\a\\b", "cmd.exe \"a b\" \\\\\"", "windows", "1.2.3.4",
    "1.2.3.4/33",
    "255.255.255.255/0", "10.0.0.1 and 1.2.3.4,", "::ffff:1.2.3.4/120", "fe80::1%eth0", "$", "$.a",
    "$.a[0]",
    "$['a'].b", "$..a", "{}", "[]", "null", '{"a":{"b":[1,null]}}', "[1,", '{"a":NaN}', "[1e999]",
    "[-0]",
    "yyyy-MM-dd HH:mm:ss.fffffff", "ddd", "tt", "day", "Year", "nanosecond", "fortnight", "UTC",
    "Europe/Berlin",
    "Nowhere/City", "xn--mnchen-3ya.de", "xn--\x7f", "a..b", "eJwDAAAAAAE=", "H4sIAAAAAAAA/w==",
    "AAEC/w==",
    "1e400", "-9223372036854775809", "0x7fffffffffffffff", "1.02:03:04.5", "Bytes", "KB", "true",
    "9" * 400,
    "\\1\\2", "$1", "error", "keep_source", *ODD_TEXTS,
)  # fmt: skip
_NUMBER_TEXT: Final = "9" * 400

VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "long": (
        "0", "1", "-1", "2", "3", "7", "31", "32", "63", "64", "-64", "100", "128", "1023", "1025",
        "65536",
        "1048576", "1048577", "2147483648", "9007199254740993", "9223372036854775807",
        "-9223372036854775807",
        "long(-9223372036854775808)", "long(null)", "0xff", "int(null)", "int(0)",
        "int(2147483647)",
        "int(-2147483648)", "tolong('x')",
    ),
    "real": (
        "0.0", "-0.0", "0.5", "1.5", "-2.5", "1e308", "-1e308", "5e-324", "1e15",
        "9223372036854775808.0",
        "real(nan)", "real(+inf)", "real(-inf)", "real(null)", "toreal('x')",
    ),
    "decimal": (
        "decimal(1.5)", "decimal(null)", "decimal(99999999999999999999.999999999999999999)",
        "decimal(-0.000000000000000001)", "decimal(1e33)",
    ),
    "string": (
        *map(quoted, _TEXTS), "strrep('ab', 1000)", "strrep(strrep('é,', 1000), 20)",
        "strcat_array(range(1, 500), ' ')",
        "tostring(dynamic(null))", "@'\\d+'", "strrep('(', 500)", "strrep('[', 1000)",
    ),
    "bool": ("true", "false", "bool(null)", "tobool('x')"),
    "datetime": (
        "datetime(2026-01-01)", "datetime(null)", "datetime(0001-01-01)", "datetime(1582-10-14)",
        "datetime(1969-12-31 23:59:59.9999999)", "datetime(2024-02-29 23:59:59)", "now()",
        "ago(1h)",
        "datetime(9999-12-31 23:59:59.9999999)", "datetime(2026-03-29 02:30)", "todatetime('x')",
    ),
    "timespan": (
        "0s", "1d", "-1d", "1tick", "1microsecond", "-1ms", "365d", "106751991d", "time(null)",
        "10675199d",
        "time(10675199.02:48:05.4775807)", "timespan(-00:00:00.0000001)", "totimespan('x')",
        "9999999d",
    ),
    "guid": (
        "guid(01234567-89ab-cdef-0123-456789abcdef)", "guid(null)", "toguid('x')", "new_guid()",
    ),
    "dynamic": (
        "dynamic(null)", "dynamic([])", "dynamic({})", "dynamic([1,2,3])",
        "dynamic([3.5,null,-1e308,1e308])",
        "dynamic([0,0,0])", "dynamic([1e308,1e308,1e308])", "dynamic([-1,-2,null])",
        "dynamic([\"a\",\"b\",\"\"])",
        "dynamic([true,false,null])", "dynamic([[1],[2,[3]],{}])",
        "dynamic([9223372036854775807,-9223372036854775808])",
        "dynamic([18446744073709551616])", "dynamic({\"a\":1,\"b\":{\"c\":[null,{\"d\":1e308}]}})",
        "dynamic({\"\":0,\"a'b\":1,\"$.a\":2,\"A\":3,\"a\":4})",
        "dynamic({\"hll\":[1,null,\"x\"]})",
        "dynamic(\"text\")", "dynamic(1.5)", "dynamic([\"1.2.3.4\",\"::1/128\"])",
        "dynamic([1114111,55296,-1,0])",
        "dynamic([1.5,2.5,\"x\"])", "dynamic([datetime(2026-01-01),1d])", "range(1, 1000)",
        "repeat(1.5, 500)",
        "range(0, 1, 0.25)", "pack_array(real(nan), real(+inf))", "bag_pack('a', real(-inf))",
        "split('a,b', ',')",
        f"dynamic({'[' * _DEEP}{']' * _DEEP})", f"parse_json('[{_NUMBER_TEXT}, 1, 2]')",
        "parse_json('[1e999,1,2]')",
        f"parse_json(strcat(strrep('[', {_DEEP * 5}), strrep(']', {_DEEP * 5})))",
        "parse_json('{\"a\":1,\"a\":2}')",
        f"parse_json(strcat('[', strrep({quoted('9' * 100)}, 60), ',1,2]'))",
        "parse_json('[-0.0,1E-400]')",
        "parse_json(@'\"\\ud800\"')", "parse_json(@'[\"\\ud800\",\"\\u0000\"]')",
        "set_union(range(1, 9), range(5, 20))",
        "repeat(dynamic(null), 5)", "array_concat(range(1, 3), dynamic([\"x\"]))",
    ),
}  # fmt: skip
"""Literals, and calls that make values which have none."""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "long": ("A",), "string": ("B",), "datetime": ("C",), "dynamic": ("D", "D.a", "D[0]", "D[-1]"),
    "real": ("E",), "timespan": ("F",), "bool": ("G",), "decimal": ("todecimal(A)",),
    "guid": ("toguid(B)",),
}  # fmt: skip
"""Of table T, whose every row is nasty."""

KINDS: Final = tuple(VALUES)

_NESTED: Final = "[" * _DEEP + "]" * _DEEP
_ROWS = (
    (1, "x", "2026-01-01", {"a": 1}, 1.5, "1.00:00:00", "true"),
    ("", "", "", "", "", "", ""),
    (9223372036854775807, "a=1,b='c d'", "9999-12-31T23:59:59.9999999Z", [1, None, "x", {}], "NaN",
    "106751991.00:00:00", "false"),
    (-9223372036854775808, "1.2.3.4/24", "0001-01-01", _NESTED, "Infinity", "-106751991.00:00:00",
    "true"),
    (0, "é漢\U0001f600", "1969-12-31T23:59:59.999999Z", {"": 0, "a b": [1e308, -1e308],
    "A": None}, "-Infinity", "00:00:00", ""),
    (-1, '{"a":{"b":[1,null]}}', "2026-03-29T02:30:00", [9223372036854775807, 1e308, -1e308], 1e308,
    "-00:00:00.000001", "false"),
    (2, "x" * 5000, "2026-01-02", [3, 1, 2], 5e-324, "00:01:00", "true"),
    (2, "y", "2026-01-02", {"a": "x", "b": [True, {}]}, -0.0, "00:01:00", "true"),
)  # fmt: skip


def _field(value: object) -> str:

    if isinstance(value, dict | list):
        value = json.dumps(value)
    return '"' + str(value).replace('"', '""') + '"'


SETUP: Final = (
    ".create table T (A: long, B: string, C: datetime, D: dynamic, E: real, F: timespan, G: bool)",
    ".create table S (A: long, B: string)",
    '.ingest inline into table S <| 1,x\n2,"y"',
    ".ingest inline into table T <| " + "\n".join(",".join(map(_field, row)) for row in _ROWS),
)
"""The tables that generated queries are about."""


@st.composite
def values(draw: DrawFn, kind: str) -> str:
    """A value of a type; one in eight is of another one, some are columns of T."""
    if not draw(st.integers(0, 7)):
        kind = draw(st.sampled_from(KINDS))
    pool = COLUMNS if not draw(st.integers(0, 3)) else VALUES
    return draw(st.sampled_from(pool[kind]))
