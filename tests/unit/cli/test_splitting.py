from __future__ import annotations

import contextlib
import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.cli.splitting import ArraySplitter, Splitter
from cluster.errors import MalformedPayloadError, PayloadTooLargeError


def split(splitter, data, chunk=7):
    payloads = []
    for start in range(0, len(data), chunk):
        payloads += splitter.feed(data[start : start + chunk])
    return [*payloads, *splitter.finish()]


def splitter(data_format, target=20, record=60):
    return Splitter(data_format, target_bytes=target, record_bytes=record)


@pytest.mark.parametrize(
    "data_format", ["csv", "tsv", "scsv", "psv", "sohsv", "tsve", "txt", "json"]
)
def test_lines_are_kept_whole(data_format):
    data = b"".join(b"line %d\n" % number for number in range(10))
    payloads = split(splitter(data_format), data)
    assert b"".join(payloads) == data
    assert payloads[0] == b"line 0\nline 1\n"
    assert all(payload.endswith(b"\n") and len(payload) <= 20 for payload in payloads)


def test_the_cuts_do_not_depend_on_how_the_input_arrives():
    data = b'1,"a\n""b",c\n' * 20 + b"2,x"
    expected = split(splitter("csv"), data, len(data))
    assert len(expected) > 5
    for chunk in range(1, 40):
        assert split(splitter("csv"), data, chunk) == expected


def test_a_line_end_inside_quotes_ends_no_record():
    data = b'a,"x\ny\nz",b\nc,"",d\n'
    assert split(splitter("csv", target=14), data) == [b'a,"x\ny\nz",b\n', b'c,"",d\n']
    data = b'5" pipe,1\n6" pipe,2\n'
    assert split(splitter("csv", target=12), data) == [b'5" pipe,1\n', b'6" pipe,2\n']


def test_tabs_separate_fields_of_tsv_and_commas_do_not():
    data = b'a,"b\tc\n"d\n\te"\tf\n'
    assert split(splitter("tsv", target=10), data) == [b'a,"b\tc\n', b'"d\n\te"\tf\n']


@pytest.mark.parametrize(
    ("data_format", "separator"), [("psv", "|"), ("scsv", ";"), ("sohsv", "\1")]
)
def test_other_separators_open_quotes_behind_them(data_format, separator):
    data = f'a{separator}"b\nc"{separator}d\n,"e\nf\n'.encode()
    assert split(splitter(data_format, target=12), data) == [
        f'a{separator}"b\nc"{separator}d\n'.encode(),
        b',"e\nf\n',
    ]


def test_a_backslash_hides_a_line_end_of_tsve():
    data = b"a\\\n b\tc\nd\\\\\ne\n"
    assert split(splitter("tsve", target=9), data) == [b"a\\\n b\tc\n", b"d\\\\\ne\n"]


@pytest.mark.parametrize("data_format", ["raw", "singlejson", "avro"])
def test_some_formats_are_one_payload_whatever_is_in_them(data_format):
    data = b"line\n" * 12
    assert split(splitter(data_format, target=10), data) == [data]
    with pytest.raises(PayloadTooLargeError):
        split(splitter(data_format, target=10), data + b"x")


def test_carriage_returns_end_records_too():
    assert split(splitter("csv", target=8), b'1,a\r2,b\r3,c\r"4\r",d\r') == [
        b"1,a\r",
        b"2,b\r",
        b"3,c\r",
        b'"4\r",d\r',
    ]
    assert split(splitter("csv", target=6), b"1,a\r\n2,b\r\n") == [b"1,a\r\n", b"2,b\r\n"]


@pytest.mark.parametrize(("length", "taken"), [(59, True), (60, True), (61, False)])
@pytest.mark.parametrize("data_format", ["csv", "json", "multijson"])
def test_a_record_may_be_longer_than_the_target_but_not_than_the_limit(data_format, length, taken):
    bag = b"{'a':'" if data_format == "csv" else b'{"a":"'
    end = bag[-1:] + b"}"
    ending = b"" if data_format == "multijson" else b"\n"
    record = bag + b"x" * (length - len(bag + end + ending)) + end + ending
    assert len(record) == length
    data = record + b"{}\n" * 30
    if taken:
        assert split(splitter(data_format), data)[0] == record
    else:
        with pytest.raises(PayloadTooLargeError, match="a record is longer than 60 bytes"):
            split(splitter(data_format), data)


def test_an_unclosed_quote_does_not_collect_for_ever():
    with pytest.raises(PayloadTooLargeError, match="a record is longer than 60 bytes"):
        split(splitter("csv"), b'"' + b"a\n" * 40)


@pytest.mark.parametrize("piece", [b'""', b"x\n", b',"', b'",', b"\r", b'"\n'])
def test_hostile_quotes_cost_linear_time(piece):
    """Quadratic time would be minutes here."""
    made = Splitter("csv", target_bytes=100_000, record_bytes=200_000)
    data = b'a,"' + piece * 160_000
    taken = []
    with contextlib.suppress(PayloadTooLargeError):
        for start in range(0, len(data), 80_000):
            taken += made.feed(data[start : start + 80_000])
    assert data.startswith(b"".join(taken))


def test_property_bags_may_span_lines_and_contain_brackets():
    bags = [{"a": "}{" * number, "b": [{"c": number}]} for number in range(4)]
    data = " ".join(json.dumps(bag, indent=1) for bag in bags).encode()
    payloads = split(splitter("multijson", target=60, record=200), data)
    assert b"".join(payloads) == data
    for payload in payloads:
        assert payload.strip().startswith(b"{")
        assert payload.count(b'"c"') >= 1
    assert len(payloads) > 1


def test_a_string_that_is_cut_off_hides_its_brackets():
    for cut in range(1, 14):
        made = splitter("multijson", target=1)
        assert list(made.feed(b'{"a": "x}{\\"}"}'[:cut])) == []


values = st.dictionaries(
    st.text(max_size=4),
    st.one_of(st.text(max_size=8), st.lists(st.integers(), max_size=2)),
    max_size=3,
)
fields = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)
records = st.lists(fields, min_size=2, max_size=3)


@given(st.lists(values, min_size=1, max_size=12), st.integers(1, 30), st.booleans())
def test_an_array_gives_back_its_bags_in_order(bags, chunk, indented):
    data = json.dumps(bags, indent=1 if indented else None).encode()
    made = ArraySplitter(target_bytes=20, record_bytes=1000)
    payloads = split(made, data, chunk)
    lines = []
    decoder = json.JSONDecoder()
    for payload in payloads:
        text, at = payload.decode(), 0
        while at < len(text):
            bag, at = decoder.raw_decode(text, at)
            at += 1
            lines.append(bag)
    assert lines == bags


@given(st.lists(records, min_size=1, max_size=12), st.integers(1, 30))
def test_payloads_of_csv_read_one_by_one_are_the_whole_file(rows, chunk):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    payloads = split(splitter("csv", target=16, record=1000), text.getvalue().encode(), chunk)
    read = [row for p in payloads for row in csv.reader(io.StringIO(p.decode(), newline=""))]
    assert read == rows


@pytest.mark.parametrize(
    "text",
    ["[", "[{}", "[{},]", "[{} {}]", "[,{}]", "[[{}]]", "[1,{}]", "[{}]]", "[{}] x", '["{}"]'],
)
def test_what_is_no_array_of_bags_is_refused(text):
    made = ArraySplitter(target_bytes=20, record_bytes=60)
    with pytest.raises(MalformedPayloadError, match="not a JSON array of property bags"):
        split(made, text.encode())


def test_a_bag_longer_than_a_record_may_be_is_refused():
    made = ArraySplitter(target_bytes=20, record_bytes=60)
    with pytest.raises(PayloadTooLargeError):
        split(made, b'[{"a": "' + b"x" * 80)
