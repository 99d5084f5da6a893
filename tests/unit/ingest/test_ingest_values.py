"""Every type in every format: the forms taken, their values, the extremes, and what is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from ingest_tables import ALL_TYPES, GOOD_TEXTS, decoder, delimited, raw_values, rows_of

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import Column, ScalarType
from cluster.errors import MalformedPayloadError
from cluster.ingest.request import DataFormat

GUID = bytes.fromhex("0123456789abcdef0123456789abcdef")
DAY_US = 86_400_000_000
MAY_US = 1_714_979_289_000_000  # 2024-05-06 07:08:09 UTC

FORMS: dict[ScalarType, list[tuple[str, Any]]] = {
    ScalarType.BOOL: [
        ("true", True),
        ("TRUE", True),
        ("tRue", True),
        ("1", True),
        ("false", False),
        ("False", False),
        ("0", False),
        (" true\t", True),
    ],
    ScalarType.INT: [
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("007", 7),
        (" 7 ", 7),
        ("2147483647", 2**31 - 1),
        ("-2147483648", -(2**31)),
        ("0x1F", 31),
        ("0xFFFFFFFF", -1),
        ("0x80000000", -(2**31)),
    ],
    ScalarType.LONG: [
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("0" * 5000 + "5", 5),
        ("0xFFFFFFFFFFFFFFFF", -1),
        ("0X10", 16),
    ],
    ScalarType.REAL: [
        ("1", 1.0),
        ("-1.5e3", -1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+1E-2", 0.01),
        ("-0", -0.0),
        ("1e400", float("inf")),
        ("-Infinity", float("-inf")),
        ("inf", float("inf")),
        ("NaN", "NaN"),
        ("nan", "NaN"),
        ("4.9e-324", 5e-324),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("0.1000000000000000055511151231257827", 0.1),
    ],
    ScalarType.DECIMAL: [
        ("0", Decimal(0)),
        ("-0.00", Decimal(0)),
        ("12.5", Decimal("12.5")),
        ("+.5", Decimal("0.5")),
        ("5.", Decimal(5)),
        (
            "99999999999999999999.999999999999999999",
            Decimal("99999999999999999999.999999999999999999"),
        ),
        ("-99999999999999999999", Decimal(-99999999999999999999)),
        ("0.000000000000000001", Decimal("0.000000000000000001")),
        ("1.50000000000000000000000", Decimal("1.5")),
        ("1e19", Decimal(10**19)),
        ("1.5E-17", Decimal("0.000000000000000015")),
        ("0e999999999", Decimal(0)),
    ],
    ScalarType.DATETIME: [
        ("2024-05-06", MAY_US - (7 * 3600 + 8 * 60 + 9) * 1_000_000),
        ("2024-05-06T07", MAY_US - (8 * 60 + 9) * 1_000_000),
        ("2024-05-06 07:08", MAY_US - 9_000_000),
        ("2024-05-06T07:08:09", MAY_US),
        ("2024-05-06t07:08:09z", MAY_US),
        ("2024-05-06T07:08:09Z", MAY_US),
        ("2024-05-06T09:08:09+02:00", MAY_US),
        ("2024-05-06T09:08:09+0200", MAY_US),
        ("2024-05-05T23:08:09-08", MAY_US),
        ("2024-05-06T07:08:09.1", MAY_US + 100_000),
        ("2024-05-06T07:08:09.123456Z", MAY_US + 123_456),
        ("2024-05-06T07:08:09.1234569Z", MAY_US + 123_456),
        ("1969-12-31T23:59:59.9999999", -1),
        ("1970-01-01", 0),
        ("0001-01-01", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.9999999", 253_402_300_799_999_999),
        ("9999-12-31T23:59:59.9999999Z", 253_402_300_799_999_999),
        ("0001-01-01T05:00:00+05:00", -62_135_596_800_000_000),
        ("2024-02-29", 1_709_164_800_000_000),
    ],
    ScalarType.TIMESPAN: [
        ("00:00:00", 0),
        ("01:02:03", 3_723_000_000),
        ("1:02:03", 3_723_000_000),
        ("01:02", 3_720_000_000),
        ("01:02:03.1234567", 3_723_123_456),
        ("-01:02:03.1234567", -3_723_123_456),
        ("-00:00:00.0000009", 0),
        ("3.04:05:06", 3 * DAY_US + 14_706_000_000),
        ("-1.00:00:00", -DAY_US),
        ("23:59:59.9999999", DAY_US - 1),
        ("10675199.02:48:05.4775807", 922_337_203_685_477_580),
        ("1d", DAY_US),
        ("1d 2h 3m 4s 5ms 6microsecond 7tick", DAY_US + 7_384_005_006),
        ("1d2h", DAY_US + 7_200_000_000),
        ("1.5h", 5_400_000_000),
        ("-100ms", -100_000),
        ("10microseconds", 10),
        ("9tick", 0),
        ("-19ticks", -1),
    ],
    ScalarType.GUID: [
        ("01234567-89ab-cdef-0123-456789abcdef", GUID),
        ("01234567-89AB-CDEF-0123-456789ABCDEF", GUID),
        ("0123456789abcdef0123456789abcdef", GUID),
        ("{01234567-89ab-cdef-0123-456789abcdef}", GUID),
        ("{0123456789abcdef0123456789abcdef}", GUID),
        ("00000000-0000-0000-0000-000000000000", bytes(16)),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", b"\xff" * 16),
    ],
    ScalarType.STRING: [
        ("text", "text"),
        ("  kept  ", "  kept  "),
        ("null", "null"),
        ("a\nb\r\nc", "a\nb\r\nc"),
        ('say "hi", now', 'say "hi", now'),
        ("\t", "\t"),
        ("żółć 🦈", "żółć 🦈"),
        ("\x00\x01", "\x00\x01"),
        ("{}", "{}"),
    ],
}

DYNAMIC_IN_CSV = [
    ('{"a": [1, 2.50]}', '{"a": [1, 2.50]}'),
    ("  [1]  ", "[1]"),
    ("1.50", "1.50"),
    ("true", "true"),
    ('"text"', '"text"'),
    ("null", None),
    (" null ", None),
    ("plain text", '"plain text"'),
    ('{"a":', '"{\\"a\\":"'),
    ("NaN", '"NaN"'),
    ("[1] [2]", '"[1] [2]"'),
    ("żółć", '"żółć"'),
]

REFUSED: dict[ScalarType, list[str]] = {
    ScalarType.BOOL: ["yes", "2", "t", "10", "-1", " "],
    ScalarType.INT: [
        "1.0",
        "1e3",
        "2147483648",
        "-2147483649",
        "1_0",
        "0x",
        "0x100000000",
        "-0x1",
        "٣",
        "x",
        "--1",
    ],
    ScalarType.LONG: [
        "9223372036854775808",
        "-9223372036854775809",
        "9" * 5000,
        "0x10000000000000000",
        "1,5",
    ],
    ScalarType.REAL: ["1e", "1_0", "0x10", "infin", "1,5", "e5", ".", "1.2.3", "1d"],
    ScalarType.DECIMAL: [
        "100000000000000000000",
        "0.0000000000000000001",
        "1e20",
        "1.5e22",
        "1e999999999",
        "1e-999999999",
        "1e9999999999",
        "nan",
        "1_0",
        ".",
    ],
    ScalarType.DATETIME: [
        "2024-13-01",
        "2023-02-29",
        "2024-05-06T24:00:00",
        "2024-05-06T07:60",
        "2024-05-06T07:08:60",
        "0000-12-31",
        "10000-01-01",
        "2024-5-6",
        "20240506",
        "06/05/2024",
        "2024-05-06Z",
        "2024-05-06T07:08:09+24:00",
        "2024-05-06T07:08:09+01:60",
        "2024-05-06T07:08:09.",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "1714979289",
        "now",
    ],
    ScalarType.TIMESPAN: [
        "5",
        "24:00:00",
        "01:60:00",
        "01:02:60",
        "1x",
        "1d-2h",
        "x",
        "10675199.02:48:05.4775817",
        "+01:00:00",
        "1 02:03:04",
    ],
    ScalarType.GUID: [
        "x" * 36,
        "01234567-89ab-cdef-0123-456789abcde",
        "{01234567-89ab-cdef-0123-456789abcdef",
        "0123456-789ab-cdef-0123-456789abcdef",
        "01234567-89abcdef-0123-456789abcdef",
    ],
}

MISSING = {kind: "" if kind is ScalarType.STRING else None for kind in ScalarType}
DELIMITERS = {DataFormat.CSV: ",", DataFormat.TSV: "\t"}


def one_column(kind: ScalarType) -> tuple[Column, ...]:
    """A table whose second column is of the type."""
    return (Column("before", ScalarType.STRING), Column("value", kind))


def decoded(data_format: DataFormat, payload: bytes, kind: ScalarType) -> Any:
    """The comparable value of the first row's second column."""
    result = decoder(one_column(kind)).decode_group(data_format, [payload])
    assert result.errors == (None,), str(result.errors[0])
    assert result.batch is not None
    assert result.batch.schema == arrow_schema(one_column(kind))
    value = rows_of(result)[0][1]
    return value[0] if isinstance(value, tuple) else value


def payloads_of(data_format: DataFormat, text: str) -> bytes:
    """The text as the second column of one record."""
    if data_format in DELIMITERS:
        return delimited([["x", text]], DELIMITERS[data_format])
    bag = json.dumps({"before": "x", "value": text}).encode()
    return b"[" + bag + b"]" if data_format is DataFormat.MULTIJSON else bag


@pytest.mark.parametrize("data_format", list(DataFormat)[:4], ids=lambda f: f.value)
@pytest.mark.parametrize("kind", FORMS, ids=lambda kind: kind.value)
def test_a_form_has_its_value(data_format: DataFormat, kind: ScalarType) -> None:
    for text, value in FORMS[kind]:
        found = decoded(data_format, payloads_of(data_format, text), kind)
        assert found == value, text
        assert repr(found) == repr(value) or kind is ScalarType.DECIMAL  # -0.0 is not 0.0


@pytest.mark.parametrize("data_format", list(DataFormat)[:4], ids=lambda f: f.value)
@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.value)
def test_other_text_is_refused(data_format: DataFormat, kind: ScalarType) -> None:
    for text in REFUSED[kind]:
        payload = payloads_of(data_format, text)
        result = decoder(one_column(kind)).decode_group(data_format, [payload])
        error = result.errors[0]
        assert isinstance(error, MalformedPayloadError), text
        assert error.message.startswith(f"record 1, column 'value' ({kind.value}): ")
        assert error.metadata["column"] == "value"
        assert len(error.message) < 250
        assert result.batch is None


@pytest.mark.parametrize("data_format", DELIMITERS, ids=lambda f: f.value)
@pytest.mark.parametrize(("text", "value"), DYNAMIC_IN_CSV)
def test_dynamic_in_delimited_text(data_format: DataFormat, text: str, value: str | None) -> None:
    assert decoded(data_format, payloads_of(data_format, text), ScalarType.DYNAMIC) == value


@pytest.mark.parametrize(
    "text", ['{"a": [1, 2.50]}', "[]", "1.50", "true", '"text"', '""', '"null"', '{"a":{"b":{}}}']
)
def test_dynamic_in_json_stays_as_written(text: str) -> None:
    payload = b'{"value": ' + text.encode() + b" }"
    assert decoded(DataFormat.JSON, payload, ScalarType.DYNAMIC) == text


@pytest.mark.fidelity("scalar-data-types/null-values.md", "A missing string is empty, never null")
@pytest.mark.parametrize("kind", ScalarType, ids=lambda kind: kind.value)
def test_empty_and_missing_are_null_or_the_empty_string(kind: ScalarType) -> None:
    for payload in (b"x,\n", b'x,""\n'):
        assert decoded(DataFormat.CSV, payload, kind) == MISSING[kind]
    assert decoded(DataFormat.TSV, b"x\t", kind) == MISSING[kind]
    for payload in (b"{}", b'{"value":null}', b'{"VALUE":5}'):
        assert decoded(DataFormat.JSON, payload, kind) == MISSING[kind]
        assert decoded(DataFormat.MULTIJSON, payload, kind) == MISSING[kind]
    if kind is not ScalarType.DYNAMIC:
        assert decoded(DataFormat.JSON, b'{"value":""}', kind) == MISSING[kind]


@pytest.mark.parametrize("count", [1, 100], ids=["few", "many"])
def test_a_whole_row_of_nulls(count: int) -> None:
    empty = b"," * (len(ALL_TYPES) - 1) + b"\n"
    expected = tuple(MISSING[column.type] for column in ALL_TYPES)
    assert rows_of(decoder().decode_group(DataFormat.CSV, [empty * count])) == [expected] * count
    assert rows_of(decoder().decode_group(DataFormat.JSON, [b"{}\n" * count])) == [expected] * count


JSON_SCALARS: list[tuple[ScalarType, str, Any]] = [
    (ScalarType.BOOL, "true", True),
    (ScalarType.BOOL, "1", True),
    (ScalarType.BOOL, "0", False),
    (ScalarType.INT, "-5", -5),
    (ScalarType.LONG, "9223372036854775807", 2**63 - 1),
    (ScalarType.REAL, "5", 5.0),
    (ScalarType.REAL, "1e400", float("inf")),
    (
        ScalarType.DECIMAL,
        "12345678901234567890.123456789012345678",
        Decimal("12345678901234567890.123456789012345678"),
    ),
    (ScalarType.DECIMAL, "1e2", Decimal(100)),
    (ScalarType.STRING, "1.50", "1.50"),
    (ScalarType.STRING, "true", "true"),
    (ScalarType.STRING, '{"a" : [1]}', '{"a" : [1]}'),
    (ScalarType.STRING, "[1, 2]", "[1, 2]"),
    (ScalarType.STRING, '"\\u0041\\n"', "A\n"),
]


@pytest.mark.parametrize(("kind", "text", "value"), JSON_SCALARS)
def test_json_scalars_are_taken_as_their_text(kind: ScalarType, text: str, value: Any) -> None:
    payload = b'{"value":' + text.encode() + b"}"
    assert decoded(DataFormat.JSON, payload, kind) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ScalarType.BOOL, "2"),
        (ScalarType.INT, "1.0"),
        (ScalarType.INT, "true"),
        (ScalarType.INT, "2147483648"),
        (ScalarType.LONG, "1e3"),
        (ScalarType.LONG, "9223372036854775808"),
        (ScalarType.REAL, "true"),
        (ScalarType.REAL, "[1]"),
        (ScalarType.DATETIME, "1714979289"),
        (ScalarType.TIMESPAN, "5"),
        (ScalarType.GUID, "1" * 32),
        (ScalarType.GUID, '{"a":1}'),
        (ScalarType.DECIMAL, "1e20"),
    ],
)
def test_json_values_of_another_type_are_refused(kind: ScalarType, text: str) -> None:
    payload = b'{}\n{"value":' + text.encode() + b"}"
    error = decoder(one_column(kind)).decode_group(DataFormat.JSON, [payload]).errors[0]
    assert isinstance(error, MalformedPayloadError)
    assert error.message.startswith(f"record 2, column 'value' ({kind.value}): ")


@pytest.mark.parametrize("data_format", [DataFormat.JSON, DataFormat.MULTIJSON])
def test_properties_are_mapped_by_exact_name(data_format: DataFormat) -> None:
    columns = (
        Column("a b", ScalarType.INT),
        Column("class", ScalarType.STRING),
        Column("A", ScalarType.INT),
    )
    payload = b'{"A":1,"a b":2,"class":"c","extra":[{"x":1}],"a":9,"A":3}'
    assert rows_of(decoder(columns).decode_group(data_format, [payload])) == [(2, "c", 3)]


def test_stored_types_are_those_of_the_table() -> None:
    payload = delimited([[GOOD_TEXTS[column.type] for column in ALL_TYPES]])
    result = decoder().decode_group(DataFormat.CSV, [payload])
    assert result.batch is not None
    assert result.batch.schema == arrow_schema(ALL_TYPES)
    by_name = {
        name: raw_values(c)[0]
        for name, c in zip(result.batch.schema.names, result.batch.columns, strict=True)
    }
    assert by_name["c_datetime"] == MAY_US + 123_456
    assert by_name["c_guid"] == GUID
    assert by_name["c_dynamic"] == '{"a": [1, 2]}'
