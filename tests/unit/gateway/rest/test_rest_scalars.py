"""Each type as JSON: ordinary values, nulls, extremes, as text, for text is what clients parse."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_values import result_of

from cluster.gateway.rest.rows import rows_in_pieces, rows_of
from cluster.query.binding import QueryResult

MILLENNIA_AWAY_US = 2**62

GOLDEN = {
    "bool": [(True, "true"), (False, "false"), (None, "null")],
    "int": [(0, "0"), (2**31 - 1, "2147483647"), (-(2**31), "-2147483648"), (None, "null")],
    "long": [
        (2**63 - 1, "9223372036854775807"),
        (-(2**63), "-9223372036854775808"),
        (None, "null"),
    ],
    "real": [
        (0.1, "0.1"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (9_999_999_999.0, "9999999999.0"),
        (-9_999_999_999.0, "-9999999999.0"),
        (10_000_000_000.0, "1e+10"),
        (12_345_678_901.0, "1.2345678901e+10"),
        (9_999_999_999.5, "9999999999.5"),
        (1e-7, "1e-7"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.nan, '"NaN"'),
        (math.inf, '"Infinity"'),
        (-math.inf, '"-Infinity"'),
        (None, "null"),
    ],
    "decimal": [
        (Decimal("1.25"), '"1.25"'),
        (Decimal("-100.10"), '"-100.1"'),
        (Decimal(100), '"100"'),
        (Decimal(0), '"0"'),
        (Decimal("0.000000000000000001"), '"0.000000000000000001"'),
        (Decimal("9" * 20 + "." + "9" * 18), f'"{"9" * 20}.{"9" * 18}"'),
        (None, "null"),
    ],
    "datetime": [
        (dt.datetime(2026, 1, 2, 3, 4, 5, 123456), '"2026-01-02T03:04:05.1234560Z"'),
        (dt.datetime(2026, 1, 2), '"2026-01-02T00:00:00.0000000Z"'),
        (dt.datetime(1969, 12, 31, 23, 59, 59, 999999), '"1969-12-31T23:59:59.9999990Z"'),
        (dt.datetime(1, 1, 1), '"0001-01-01T00:00:00.0000000Z"'),
        (dt.datetime(9999, 12, 31, 23, 59, 59, 999999), '"9999-12-31T23:59:59.9999990Z"'),
        (None, "null"),
        (MILLENNIA_AWAY_US, "null"),
        (-MILLENNIA_AWAY_US, "null"),
    ],
    "timespan": [
        (0, '"00:00:00"'),
        (1, '"00:00:00.0000010"'),
        (-1, '"-00:00:00.0000010"'),
        (86_399_999_999, '"23:59:59.9999990"'),
        (86_400_000_000, '"1.00:00:00"'),
        (-86_400_000_000 - 1_500_000, '"-1.00:00:01.5000000"'),
        (2**63 - 1, '"106751991.04:00:54.7758070"'),
        (-(2**63) + 1, '"-106751991.04:00:54.7758070"'),
        (None, "null"),
    ],
    "guid": [
        ("8A7E2F10-0000-4000-8000-00000000000D", '"8a7e2f10-0000-4000-8000-00000000000d"'),
        (None, "null"),
    ],
    "dynamic": [
        ('{"a":[1,{"b":null}],"c":"x"}', '{"a":[1,{"b":null}],"c":"x"}'),
        ('"text"', '"text"'),
        ("5", "5"),
        ("null", "null"),
        ('{\n "a":\r\n 1}', '{  "a":   1}'),
        ('{"a":NaN,"b":[-Infinity,inf],"c":"NaN, inf"}',
         '{"a":"NaN","b":["-Infinity","Infinity"],"c":"NaN, inf"}'),
        ("nan", '"NaN"'),
        ('{"information":true}', '{"information":true}'),
        ("", "null"),
        (None, "null"),
    ],
    "string": [
        ("plain", '"plain"'),
        ('a"b\\c/d', '"a\\"b\\\\c/d"'),
        ("\n\r\t", '"\\n\\r\\t"'),
        ("\x00\x08\x0c\x1f\x7f", '"\\u0000\\u0008\\u000c\\u001f\x7f"'),
        ("日本 😀 \u2028", '"日本 😀 \u2028"'),
        ("", '""'),
        (None, '""'),
    ],
}  # fmt: skip


def text_of(result: QueryResult) -> str:
    return b"".join(rows_of(result)).decode()


@pytest.mark.fidelity("rest/response.md", "Each type has its encoding in JSON")
@pytest.mark.parametrize("kind", GOLDEN)
def test_every_type_is_text_exactly_so(kind):
    values, texts = zip(*GOLDEN[kind], strict=True)
    text = text_of(result_of(x=(kind, values)))
    assert text == ",".join(f"[{cell}]" for cell in texts)
    json.loads(f"[{text}]", parse_constant=pytest.fail)


@pytest.mark.parametrize("kind", GOLDEN)
def test_a_column_without_nulls_is_text_exactly_so(kind):
    """Without nulls quotes are joined with the commas between the columns."""
    known = [(value, text) for value, text in GOLDEN[kind] if text != "null"]
    values, texts = zip(*known, strict=True)
    text = text_of(result_of(x=(kind, values), y=(kind, values)))
    assert text == ",".join(f"[{cell},{cell}]" for cell in texts)


def test_all_types_lie_side_by_side_and_a_row_of_nulls_below():
    columns = {kind: (kind, [GOLDEN[kind][0][0], None]) for kind in GOLDEN}
    one, nulls = json.loads(f"[{text_of(result_of(**columns))}]")
    assert one == [json.loads(GOLDEN[kind][0][1]) for kind in GOLDEN]
    assert nulls == ["" if kind == "string" else None for kind in GOLDEN]


@pytest.mark.parametrize("kind", GOLDEN)
def test_no_rows_are_no_text(kind):
    assert rows_of(result_of(x=(kind, []))) == []


def test_a_slice_has_only_its_own_rows():
    whole = result_of(x=("string", ["a", "b", "c", "d"]), y=("long", [1, 2, 3, 4]))
    middle = QueryResult(whole.columns, whole.table.slice(1, 2))
    assert text_of(middle) == '["b",2],["c",3]'


def test_chunks_follow_each_other():
    one = result_of(x=("long", [1, 2]))
    both = QueryResult(one.columns, pa.concat_tables([one.table, one.table]))
    assert [count for count, _ in rows_in_pieces(both)] == [2, 2]
    assert text_of(both) == "[1],[2],[1],[2]"


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=30))
def test_any_text_is_read_back_as_it_was(texts):
    rows = json.loads(f"[{text_of(result_of(x=('string', texts)))}]")
    assert rows == [[text] for text in texts]


@given(st.lists(st.floats(width=64), min_size=1, max_size=30))
def test_any_number_is_read_back_as_it_was(numbers):
    rows = json.loads(f"[{text_of(result_of(x=('real', numbers)))}]")
    for (cell,), number in zip(rows, numbers, strict=True):
        assert isinstance(cell, float if math.isfinite(number) else str)
        assert math.isnan(number) == (cell == "NaN")
        assert math.isnan(number) or float(cell) == number


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), max_size=30))
def test_any_timespan_is_read_back_as_it_was(spans):
    rows = json.loads(f"[{text_of(result_of(x=('timespan', spans)))}]")
    for (cell,), span in zip(rows, spans, strict=True):
        sign, days, hours, minutes, seconds, fraction = re.fullmatch(
            r"(-?)(?:([1-9]\d*)\.)?(\d\d):(\d\d):(\d\d)(?:\.(\d{6})0)?", cell
        ).groups("0")
        whole = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
        assert (whole * 10**6 + int(fraction)) * (-1 if sign == "-" else 1) == span
        assert int(hours) < 24
        assert max(int(minutes), int(seconds)) < 60


@given(st.lists(st.decimals(min_value=-(10**19), max_value=10**19, places=18), max_size=20))
def test_any_decimal_is_read_back_as_it_was(decimals):
    rows = json.loads(f"[{text_of(result_of(x=('decimal', decimals)))}]")
    assert [Decimal(cell) for (cell,) in rows] == decimals
    assert not any("e" in cell.lower() for (cell,) in rows)
