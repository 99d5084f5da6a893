"""Whatever path decodes a value, it is the same value; whatever path refuses it, the same words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_tables import ALL_TYPES, GOOD_TEXTS, batch_rows, decoder, delimited, rows_of

from cluster.catalog.model import Column, ScalarType
from cluster.errors import RequestError
from cluster.ingest.bags import JsonFormat
from cluster.ingest.delimited import SMALL_RECORDS, DelimitedFormat
from cluster.ingest.plan import TablePlan
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.request import DataFormat
from cluster.ingest.vector import VectorReader
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from cluster.ingest.decode import GroupResult

DIGITS = st.text("0123456789", min_size=1, max_size=24)
SIGN = st.sampled_from(["", "", "", "-", "+"])
BLANK = st.sampled_from(["", "", "", "", " ", "\t", "  "])


def joined(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    """The parts one after the other."""
    strategies = [st.just(part) if isinstance(part, str) else part for part in parts]
    return st.tuples(*strategies).map("".join)


def maybe(part: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    """The part, or nothing."""
    return st.just("") | (st.just(part) if isinstance(part, str) else part)


def number_near(*edges: int) -> st.SearchStrategy[str]:
    """Whole numbers, often close to where something changes."""
    near = st.sampled_from(edges).flatmap(lambda edge: st.integers(edge - 2, edge + 2))
    return (near | st.integers()).map(str)


FRACTION = maybe(joined(".", st.text("0123456789", max_size=20)))
EXPONENT = maybe(joined(st.sampled_from("eE"), SIGN, st.text("0123456789", min_size=1, max_size=3)))
WHOLE = (
    number_near(0, 2**31, -(2**31), 2**63, -(2**63), 2**64, 10**20)
    | joined(SIGN, DIGITS)
    | joined(SIGN, st.sampled_from(["0x", "0X"]), st.text("0123456789abcdefABCDEF", max_size=18))
)
FLOATING = (
    joined(SIGN, DIGITS, FRACTION, EXPONENT)
    | joined(SIGN, ".", DIGITS, EXPONENT)
    | st.floats().map(repr)
    | joined(SIGN, st.sampled_from(["nan", "NaN", "inf", "Infinity", "INF", "nan(1)", "infin"]))
)
TWO = st.integers(0, 62).map("{:02d}".format)
DAY = joined(
    st.sampled_from(["0000", "0001", "1677", "1969", "1970", "2024", "2262", "9999"]),
    "-",
    st.sampled_from(["01", "02", "09", "12", "13"]),
    "-",
    st.sampled_from(["01", "11", "21", "29", "30", "31"]),
)
HOURS = st.sampled_from(["00", "01", "12", "23", "24"])
PARTS = st.text("0123456789", max_size=11)
CLOCK = joined(HOURS, maybe(joined(":", TWO, maybe(joined(":", TWO, maybe(joined(".", PARTS)))))))
ZONE = maybe(st.sampled_from(["Z", "z", "+00:00", "+05:30", "-23:59", "+0130", "-08", "+24:00"]))
MOMENT = joined(DAY, maybe(joined(st.sampled_from("T t"), CLOCK, ZONE)))
PLAIN_MOMENT = st.datetimes().map(lambda moment: moment.isoformat())
UNIT = st.sampled_from(["d", "h", "m", "s", "ms", "microsecond", "tick", "w"])
SPAN = (
    CLOCK
    | joined(SIGN, maybe(joined(DIGITS, ".")), CLOCK)
    | joined(SIGN, joined(DIGITS, maybe(joined(".", DIGITS)), maybe(" "), UNIT, maybe(" 3s")))
)
HEX = st.text("0123456789abcdefABCDEF", min_size=12, max_size=12)
GUID = (
    st.uuids().map(str) | st.uuids().map(lambda guid: "{" + guid.hex + "}") | joined(HEX, "-", HEX)
)
JSON_VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)

TEXTS: dict[ScalarType, st.SearchStrategy[str]] = {
    ScalarType.BOOL: st.sampled_from(
        ["true", "True", "TRUE", "tRuE", "1", "0", "false", "yes", "2"]
    ),
    ScalarType.DATETIME: MOMENT | PLAIN_MOMENT,
    ScalarType.DECIMAL: FLOATING | WHOLE,
    ScalarType.DYNAMIC: JSON_VALUE.map(json.dumps) | st.sampled_from(["null", " 1 ", "[1", "NaN"]),
    ScalarType.GUID: GUID,
    ScalarType.INT: WHOLE,
    ScalarType.LONG: WHOLE,
    ScalarType.REAL: FLOATING | WHOLE,
    ScalarType.STRING: ANY_TEXT,
    ScalarType.TIMESPAN: SPAN,
}


def field(kind: ScalarType) -> st.SearchStrategy[str]:
    """Text for a field: mostly of the type, often odd, sometimes nothing to do with it."""
    of_type = joined(BLANK, TEXTS[kind], BLANK)
    return st.just("") | of_type | of_type | of_type | of_type | ANY_TEXT


def exactly(codec: Any, payload: bytes) -> list[tuple[Any, ...]] | tuple[type, str]:
    """Rows or error of the exact path."""
    try:
        return batch_rows(codec.decode_exactly(codec.prepare(payload)))
    except RequestError as error:
        return type(error), str(error)


def fate(result: GroupResult, place: int) -> list[tuple[Any, ...]] | tuple[type, str]:
    """Rows or error of one payload of a group."""
    error = result.errors[place]
    if error is not None:
        assert result.row_counts[place] == 0
        return type(error), str(error)
    first = sum(result.row_counts[:place])
    return rows_of(result)[first : first + result.row_counts[place]]


@pytest.mark.parametrize("kind", ScalarType, ids=lambda kind: kind.value)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_pyarrow_answers_like_the_converters_or_not_at_all(
    kind: ScalarType, data: st.DataObject
) -> None:
    # Two columns, so that an empty field is no empty line.
    columns = (Column("first", ScalarType.STRING), Column("value", kind))
    plan = TablePlan(columns, LIMITS, "db", "T")
    codec = DelimitedFormat(",", plan)
    texts = data.draw(st.lists(field(kind), min_size=1, max_size=4))
    payload = delimited([["x", text] for text in texts])
    expected = exactly(codec, payload)
    try:
        found: Any = batch_rows(VectorReader(",", plan).read(codec.prepare(payload).data))
    except (DeclinedError, RequestError):
        return
    assert found == expected


@pytest.mark.parametrize("kind", ScalarType, ids=lambda kind: kind.value)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_alone_or_among_others_a_payload_has_the_same_fate(
    kind: ScalarType, data: st.DataObject
) -> None:
    columns = (Column("first", ScalarType.STRING), Column("value", kind))
    decode = decoder(columns)
    codec = DelimitedFormat(",", TablePlan(columns, LIMITS, "db", "T"))
    texts = data.draw(st.lists(field(kind), min_size=1, max_size=3))
    payload = delimited([["x", text] for text in texts])
    expected = exactly(codec, payload)
    many = delimited([["good", GOOD_TEXTS[kind]]] * (SMALL_RECORDS + 1))
    few = delimited([["good", GOOD_TEXTS[kind]]])
    for group in ([payload], [few, payload, few], [payload, many], [many, payload, few]):
        result = decode.decode_group(DataFormat.CSV, group)
        assert fate(result, group.index(payload)) == expected
        assert all(
            error is None
            for error, member in zip(result.errors, group, strict=True)
            if member is not payload
        )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.text('ab,"\n\r\t ', max_size=4), min_size=3, max_size=3), min_size=1))
def test_every_text_survives_quoting_in_csv_and_tsv(rows: list[list[str]]) -> None:
    columns = tuple(Column(name, ScalarType.STRING) for name in "abc")
    for data_format, delimiter in ((DataFormat.CSV, ","), (DataFormat.TSV, "\t")):
        payload = delimited(rows, delimiter)
        for group in ([payload], [payload, delimited([["1", "2", "3"]] * 50, delimiter)]):
            result = decoder(columns).decode_group(data_format, group)
            assert result.errors[0] is None
            assert result.row_counts[0] == len(rows)
            assert rows_of(result)[: len(rows)] == [tuple(row) for row in rows]


@settings(max_examples=40, deadline=None)
@given(st.text('a,"\n\r', max_size=12), st.text('a,"\n\r', max_size=12))
def test_no_payload_reaches_into_its_neighbour(first: str, second: str) -> None:
    columns = tuple(Column(name, ScalarType.STRING) for name in "ab")
    decode = decoder(columns)
    alone = [decode.decode_group(DataFormat.CSV, [text.encode()]) for text in (first, second)]
    many = delimited([["good", "good"]] * 50)
    for place, group in (
        (0, [first.encode(), second.encode()]),
        (1, [many, first.encode(), second.encode()]),
    ):
        result = decode.decode_group(DataFormat.CSV, group)
        assert fate(result, place) == fate(alone[0], 0)
        assert fate(result, place + 1) == fate(alone[1], 0)


JSON_TEXTS = {kind: texts.map(json.dumps) for kind, texts in TEXTS.items()}


@pytest.mark.parametrize("kind", ScalarType, ids=lambda kind: kind.value)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_json_has_the_same_fate_on_every_path(kind: ScalarType, data: st.DataObject) -> None:
    columns = (Column("a b", ScalarType.STRING), Column("value", kind))
    plan = TablePlan(columns, LIMITS, "db", "T")
    number = joined(
        maybe("-"), st.sampled_from(["0", "1", "12", "2147483648", "1" * 25]), FRACTION, EXPONENT
    )
    value = JSON_TEXTS[kind] | JSON_VALUE.map(json.dumps) | number
    values = data.draw(st.lists(value, min_size=1, max_size=3))
    payload = "\n".join('{"value":' + text + "}" for text in values).encode()
    expected = exactly(JsonFormat(plan, lines=True), payload)
    decode = decoder(columns)
    good = b'{"value":null}'
    for group in ([payload], [good, payload, good]):
        result = decode.decode_group(DataFormat.JSON, group)
        assert fate(result, group.index(payload)) == expected
    as_array = b"[" + payload.replace(b"\n", b",\n") + b"]"
    for data_format, variant in (
        (DataFormat.MULTIJSON, as_array),
        (DataFormat.MULTIJSON, payload),
        (DataFormat.MULTIJSON, payload.replace(b"\n", b" ")),
    ):
        found = fate(decode.decode_group(data_format, [variant]), 0)
        if isinstance(expected, list):
            assert found == expected
        else:
            assert found[0] is expected[0]


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_string_means_the_same_in_json_and_csv(data: st.DataObject) -> None:
    """Where a value is text in both, it is the same value in both."""
    kind = data.draw(st.sampled_from([k for k in ScalarType if k is not ScalarType.DYNAMIC]))
    columns = (Column("first", ScalarType.STRING), Column("value", kind))
    text = data.draw(field(kind))
    in_csv = fate(decoder(columns).decode_group(DataFormat.CSV, [delimited([["", text]])]), 0)
    bag = json.dumps({"value": text}).encode()
    in_json = fate(decoder(columns).decode_group(DataFormat.JSON, [bag]), 0)
    if isinstance(in_csv, list):
        assert in_json == in_csv
    else:
        assert in_json[0] is in_csv[0]


def test_all_types_side_by_side_make_the_same_batch_on_every_path() -> None:
    row = [GOOD_TEXTS[column.type] for column in ALL_TYPES]
    payload = delimited([row])
    decode = decoder()
    alone = decode.decode_group(DataFormat.CSV, [payload])
    among = decode.decode_group(DataFormat.CSV, [payload] * 64)
    assert alone.batch is not None
    assert among.batch is not None
    assert among.batch.schema == alone.batch.schema
    assert set(rows_of(among)) == set(rows_of(alone))
    assert among.row_counts == (1,) * 64
