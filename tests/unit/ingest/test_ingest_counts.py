"""Records of text with delimiters are counted as they are read: a quote in a field is a letter."""

from __future__ import annotations

import pytest
from ingest_tables import decoder

from cluster.catalog.model import Column, ScalarType
from cluster.ingest.request import DataFormat

CSV = DataFormat.CSV


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"a\n", 1),
        (b"\n\na", 1),
        (b'"\n\n"\n', 1),
        (b'"a\n\n"\r\n\r\nb\rc\n', 3),
        (b'""\n', 1),
        (b'5" pipe\n\n6" pipe\n', 2),
        (b'a"\r"b\n"\nc\n', 3),
        (b'\r{""a"": 1}"\n\r{""a"": 2}"\n', 2),
    ],
)
@pytest.mark.parametrize("copies", [1, 50])
def test_records_are_counted_outside_quoted_fields(data: bytes, count: int, copies: int) -> None:
    """A quote within a field that does not begin with one quotes nothing."""
    result = decoder((Column("s", ScalarType.STRING),)).decode_group(CSV, [data * copies, b"x"])
    assert result.errors == (None, None)
    assert result.row_counts == (count * copies, 1)


def test_the_record_of_an_error_is_counted_outside_quoted_fields() -> None:
    columns = (Column("s", ScalarType.STRING),)
    error = decoder(columns).decode_group(CSV, [b'5" pipe\n\n6" pipe\n"x"y\n']).errors[0]
    assert "record 3" in str(error)
