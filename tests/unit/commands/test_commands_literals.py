"""Literals of commands: timespans, datetimes, typed properties, guids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.commands.interpreter import Matcher
from cluster.commands.lexer import TokenKind, lex
from cluster.commands.literals import read_datetime, read_timespan, string_text
from cluster.commands.values import KINDS

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.fidelity("scalar-data-types/timespan.md", "Timespans are read in each of their forms")
@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("2d", timedelta(days=2)),
        ("1.5h", timedelta(hours=1.5)),
        ("30m", timedelta(minutes=30)),
        ("10s", timedelta(seconds=10)),
        ("100ms", timedelta(milliseconds=100)),
        ("10microsecond", timedelta(microseconds=10)),
        ("20tick", timedelta(microseconds=2)),
        ("01:02:03", timedelta(hours=1, minutes=2, seconds=3)),
        ("10.00:00:00.5000001", timedelta(days=10, seconds=0.5)),
        ("-1.00:00", -timedelta(days=1)),
        ("time(7)", timedelta(days=7)),
        ("timespan(7d)", timedelta(days=7)),
        ("time(1.02:03:04)", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("24:00:00", None),
        ("00:60:00", None),
        ("7x", None),
        ("time()", None),
        ("99999999999999d", None),
    ],
)
def test_timespans(text, span):
    assert read_timespan(text) == span


@pytest.mark.fidelity("scalar-data-types/datetime.md", "Datetimes are read in ISO and RFC forms")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-31", datetime(2024, 1, 31, tzinfo=UTC)),
        ("2024-1-3 04:05", datetime(2024, 1, 3, 4, 5, tzinfo=UTC)),
        ("datetime(2024-01-31T10:00:00.1234567Z)",
         datetime(2024, 1, 31, 10, 0, 0, 123456, tzinfo=UTC)),
        ("datetime(2024-01-31T10:00:00+02:00)", datetime(2024, 1, 31, 8, tzinfo=UTC)),
        ("datetime(2024-02-30)", None),
        ("datetime(now)", None),
        ("0000-01-01", None),
    ],
)  # fmt: skip
def test_datetimes(text, moment):
    assert read_datetime(text) == moment


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'x'", "x"),
        ("x", "x"),
        ("true", True),
        ("FALSE", False),
        ("-5", -5),
        ("2.5", 2.5),
        ("7d", timedelta(days=7)),
        ("01:00:00", timedelta(hours=1)),
        ("datetime(2024-01-31)", datetime(2024, 1, 31, tzinfo=UTC)),
        ("2024-01-31", datetime(2024, 1, 31, tzinfo=UTC)),
        (GUID, GUID),
        ("0000000d-d9cb-469f-a165-70867728950e", "0000000d-d9cb-469f-a165-70867728950e"),
    ],
)
def test_values_of_properties_are_typed(text, value):
    source = f"(a = {text} , b = 'y')"
    found, end = KINDS["properties"](Matcher(source), 0, "properties")
    assert found == (("a", value), ("b", "y"))
    assert type(found[0][1]) is type(value)
    assert end == len(source)


@pytest.mark.parametrize("text", [GUID, f"'{GUID.upper()}'", f"guid({GUID})", f"guid( {GUID} )"])
def test_guids(text):
    found, end = KINDS["guids"](Matcher(f"({text}, {GUID})"), 0, "extents")
    assert found == (GUID, GUID)
    assert KINDS["guid"](Matcher("nope"), 0, "extent") is None
    assert end > 0


def test_the_rest_is_raw():
    text = " a,b // not a comment\n'never closed | ;"
    assert KINDS["rest"](Matcher(text), 0, "data") == (text, len(text))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_survives_as_a_literal(text):
    (token, _) = lex(string_text(text))
    assert (token.kind, token.value) == (TokenKind.STRING, text)
