"""The record format: everything written comes back, every changed bit is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from cluster.catalog.model import RowStoreKey
from cluster.rowstore.record import (
    FLAG_RESET,
    HEADER_BYTES,
    NO_SOURCE,
    DamageKind,
    RecordDamageError,
    RecordHeader,
    RequestSpan,
    encode_record,
    encode_reset,
    iter_records,
    next_checksum,
    parse_record,
    record_length,
    source_digest,
)

KEY = RowStoreKey(77)
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)


def header(rows: int, **fields: int) -> RecordHeader:
    values = {
        "lsn": 5,
        "key": KEY,
        "first_ordinal": 10,
        "checksum": 11,
        "ingest_time_ns": 12,
        "length": 0,
        "row_count": rows,
        "schema_version": 1,
        "request_count": 0,
        "flags": 0,
    }
    return RecordHeader(**{**values, **fields})


SMALL = encode_record(
    header(3), [RequestSpan(bytes(range(16)), 1), RequestSpan(b"", 2)], b"8 bytes!"
)


@given(
    lsn=U64,
    key=U64,
    first=U64,
    checksum=U64,
    time=st.integers(-(2**63), 2**63 - 1),
    version=U32,
    flags=st.integers(0, 255),
    spans=st.lists(
        st.tuples(st.binary(min_size=16, max_size=16), st.integers(1, 1000)), max_size=5
    ),
    body=st.binary(max_size=64).map(lambda b: b[: len(b) // 8 * 8]),
)
def test_what_is_encoded_is_parsed(
    lsn, key, first, checksum, time, version, flags, spans, body
) -> None:
    requests = [RequestSpan(*span) for span in spans]
    rows = sum(span.rows for span in requests)
    fields = RecordHeader(lsn, key, first, checksum, time, 0, rows, version, 0, flags)
    raw = encode_record(fields, requests, body)
    record = parse_record(memoryview(raw), 0)
    length = record_length(len(requests), len(body))
    assert record.header == fields._replace(length=length, request_count=len(requests))
    assert record.header.end_ordinal == first + rows
    assert len(raw) == length
    assert record.spans == tuple(requests)
    assert record.body == body
    assert record.raw == raw


def test_every_flipped_bit_is_found() -> None:
    for at in range(len(SMALL)):
        for bit in range(8):
            damaged = bytearray(SMALL)
            damaged[at] ^= 1 << bit
            with pytest.raises(RecordDamageError) as caught:
                parse_record(memoryview(damaged), 0)
            assert caught.value.kind is DamageKind.CHANGED
            assert caught.value.extent == (HEADER_BYTES if at < HEADER_BYTES else len(SMALL))


def test_every_cut_is_incomplete() -> None:
    for size in range(len(SMALL)):
        with pytest.raises(RecordDamageError) as caught:
            parse_record(memoryview(SMALL)[:size], 0)
        assert caught.value.kind is DamageKind.INCOMPLETE
        assert caught.value.extent == size


def test_iteration_stops_at_the_first_bad_byte() -> None:
    records = iter_records(
        SMALL + SMALL + b"garbage that is longer than one whole record header, so parsed"
    )
    assert next(records).start == 0
    assert next(records).start == len(SMALL)
    with pytest.raises(RecordDamageError, match=f"at offset {2 * len(SMALL)}"):
        next(records)


@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_never_a_record(data) -> None:
    with pytest.raises(RecordDamageError):
        parse_record(memoryview(data), 0)


def test_a_forged_length_is_refused_although_its_checks_match() -> None:
    # One request more than there is room for: the table would reach into the next record.
    raw = bytearray(encode_record(header(0), [], b""))
    raw[68] = 1
    raw[8:16] = xxh3_64_intdigest(bytes(raw[16:])).to_bytes(8, "little")
    raw[4:8] = (xxh3_64_intdigest(bytes(raw[8:72])) & 0xFFFFFFFF).to_bytes(4, "little")
    with pytest.raises(RecordDamageError, match="a record of 72 bytes"):
        parse_record(memoryview(raw), 0)


@pytest.mark.parametrize(
    ("spans", "body", "words"),
    [
        ([RequestSpan(b"", 2)], b"", "requests hold 2 rows, the record 3"),
        ([RequestSpan(b"", 0), RequestSpan(b"", 3)], b"", "a request has rows"),
        ([RequestSpan(b"short", 3)], b"", "digest of 16 bytes"),
        ([RequestSpan(b"", 3)], b"seven!!", "multiple of 8"),
        ([RequestSpan(b"", 1)] * 65536, b"", "at most 65535 requests, not 65536"),
    ],
)
def test_bounds_of_the_format(spans, body, words) -> None:
    with pytest.raises(ValueError, match=words):
        encode_record(header(3), spans, body)


def test_a_record_holds_65535_requests() -> None:
    raw = encode_record(header(65535), [RequestSpan(b"", 1)] * 65535, b"")
    assert len(parse_record(memoryview(raw), 0).spans) == 65535


def test_the_layout_is_pinned() -> None:
    """A change here breaks every log on disk: raise the version in MAGIC instead."""
    fields = [
        "524d5201",  # magic and format version
        "ae01cc39",  # header check
        "2943de997e1beb51",  # record check
        "0500000000000000",  # LSN
        "4d00000000000000",  # key
        "0a00000000000000",  # first ordinal
        "0b00000000000000",  # rolling checksum
        "0c00000000000000",  # ingest time
        "78000000",  # length
        "03000000",  # rows
        "01000000",  # schema version
        "0200",  # requests
        "00",  # flags
        "00",  # unused
        "000102030405060708090a0b0c0d0e0f" + "01000000",
        "00000000000000000000000000000000" + "02000000",
        b"8 bytes!".hex(),
    ]
    assert SMALL.hex() == "".join(fields)


def test_a_reset_mark_is_a_record_without_rows() -> None:
    record = parse_record(memoryview(encode_reset(9, KEY, 1)), 0)
    assert record.header.flags == FLAG_RESET
    assert (record.header.lsn, record.header.key, record.header.row_count) == (9, KEY, 0)
    assert record.spans == ()


def test_source_digests_depend_on_the_table_and_the_id() -> None:
    digest = source_digest(KEY, "a")
    assert len(digest) == 16
    assert digest == source_digest(KEY, b"a")
    assert digest not in {source_digest(KEY, "b"), source_digest(RowStoreKey(78), "a"), NO_SOURCE}


def test_the_rolling_checksum_depends_on_order() -> None:
    assert next_checksum(next_checksum(0, b"a"), b"b") != next_checksum(
        next_checksum(0, b"b"), b"a"
    )
