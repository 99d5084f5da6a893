"""Rows of Python values come out of CSV and JSON as they went in."""

from __future__ import annotations

import csv
import datetime
import io
import json
from decimal import Decimal
from uuid import UUID

import pytest

from cluster.testing.plugin_rows import payload_of

NOON = datetime.datetime(2026, 11, 21, 12, 0, 0, 5)
EAST = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (5, "5"),
        (2.5, "2.5"),
        ('a,b\n"c"', 'a,b\n"c"'),
        ({"a": [1, UUID(int=1)]}, '{"a": [1, "00000000-0000-0000-0000-000000000001"]}'),
        ([1], "[1]"),
        (NOON, "2026-11-21T12:00:00.000005Z"),
        (NOON.replace(tzinfo=EAST), "2026-11-21T10:00:00.000005Z"),
        (NOON.date(), "2026-11-21"),
        (datetime.timedelta(days=1, hours=2, seconds=3, microseconds=4), "1.02:00:03.000004"),
        (-datetime.timedelta(seconds=1), "-0.00:00:01.000000"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=2), "00000000-0000-0000-0000-000000000002"),
    ],
)
def test_a_value_is_what_kusto_reads(value: object, text: str) -> None:
    payload, data_format = payload_of([(value, 1)], None)
    assert data_format == "csv"
    assert list(csv.reader(io.StringIO(payload.decode(), newline=""))) == [[text, "1"]]


def test_mappings_are_lines_of_json() -> None:
    payload, data_format = payload_of(({"A": number, "B": NOON} for number in range(2)), None)
    assert data_format == "json"
    rows = [json.loads(line) for line in payload.splitlines()]
    assert rows == [{"A": number, "B": "2026-11-21T12:00:00.000005Z"} for number in range(2)]


@pytest.mark.parametrize(("data", "payload"), [(b"1\n", b"1\n"), ("ü\n", "ü\n".encode())])
def test_a_payload_goes_as_it_is(data: bytes | str, payload: bytes) -> None:
    assert payload_of(data, None) == (payload, "csv")
    assert payload_of(data, "tsv") == (payload, "tsv")


@pytest.mark.parametrize(
    ("data", "data_format", "words"),
    [
        ([(1,), {"A": 1}], None, "all sequences or all mappings"),
        (["text"], None, "one is str"),
        ([5], None, "one is int"),
        ([(object(),)], None, "no Kusto value for a object"),
        ([{"A": b""}], None, "no Kusto value for a bytes"),
        ([(1,)], "json", "sent as csv"),
        ([{"A": 1}], "csv", "sent as json"),
    ],
)
def test_what_is_no_row_is_refused(data: list[object], data_format: str | None, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        payload_of(data, data_format)  # type: ignore[arg-type]


def test_no_rows_are_an_empty_payload() -> None:
    assert payload_of([], None) == (b"", "csv")
