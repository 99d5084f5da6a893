"""Segment files: names, headers, and the difference between torn and corrupt."""

from __future__ import annotations

import pytest

from cluster.catalog.model import RowStoreKey
from cluster.errors import CorruptionError
from cluster.rowstore.record import (
    FLAG_DURABLE_BEFORE,
    HEADER_BYTES,
    DamageKind,
    RecordDamageError,
    RecordHeader,
    RequestSpan,
    encode_record,
    parse_record,
)
from cluster.rowstore.segment import (
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    encode_segment_header,
    is_torn,
    parse_segment_header,
    segment_name,
    start_lsns,
)

START = 4096
HEADER = encode_segment_header(SegmentHeader(store_id=3, start_lsn=START))


def record(lsn: int, body: bytes, flags: int = 0) -> bytes:
    fields = RecordHeader(lsn, RowStoreKey(1), 0, 0, 0, 0, 1, 0, 1, flags)
    return bytes(encode_record(fields, [RequestSpan(b"\xff" * 16, 1)], body))


def segment(*records: tuple[bytes, int]) -> bytes:
    """A file with these (body, flags) as records at their right LSNs."""
    data = HEADER
    for body, flags in records:
        data += record(START + len(data) - SEGMENT_HEADER_BYTES, body, flags)
    return data


def damage_of(data: bytes, offset: int = SEGMENT_HEADER_BYTES) -> RecordDamageError:
    while True:
        try:
            offset += parse_record(memoryview(data), offset).header.length
        except RecordDamageError as damage:
            return damage


def torn(data: bytes) -> bool:
    return is_torn(data, damage_of(data), START)


FULL = bytes(range(1, 256)) * 8 + b"\xff" * 8  # 2048 bytes, none of them zero


def test_names_are_lsns_and_sort() -> None:
    names = [segment_name(lsn) for lsn in (0, 9, 10, 2**63)]
    assert names == sorted(names)
    assert start_lsns([*reversed(names), "LOCK", "notes.txt"]) == [0, 9, 10, 2**63]


@pytest.mark.parametrize("name", ["1.wal", "x" * 20 + ".wal", "٣" * 20 + ".wal", ".wal"])
def test_a_segment_with_a_name_that_is_no_lsn_is_refused(name) -> None:
    with pytest.raises(CorruptionError) as caught:
        start_lsns([name])
    assert caught.value.metadata == {"file": name, "offset": "0"}


def test_the_header_comes_back_and_every_flipped_bit_is_found() -> None:
    assert len(HEADER) == SEGMENT_HEADER_BYTES
    assert parse_segment_header(memoryview(HEADER)) == SegmentHeader(3, START)
    for at in range(len(HEADER)):
        damaged = bytearray(HEADER)
        damaged[at] ^= 1
        with pytest.raises(RecordDamageError):
            parse_segment_header(memoryview(damaged))
    for size in range(len(HEADER)):
        with pytest.raises(RecordDamageError) as caught:
            parse_segment_header(memoryview(HEADER)[:size])
        assert caught.value.kind is DamageKind.INCOMPLETE


def test_a_short_file_is_torn_at_every_length() -> None:
    whole = segment((FULL, FLAG_DURABLE_BEFORE))
    for size in range(SEGMENT_HEADER_BYTES + 1, len(whole)):
        assert torn(whole[:size])


def test_zeros_after_the_last_record_are_torn() -> None:
    assert torn(segment((FULL, 0)) + bytes(5000))
    assert torn(segment((FULL, 0)) + bytes(10))


def test_changed_bytes_are_corrupt_even_in_the_last_record() -> None:
    whole = segment((FULL, FLAG_DURABLE_BEFORE))
    for at in range(SEGMENT_HEADER_BYTES, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 4
        assert not torn(bytes(damaged))


@pytest.mark.parametrize("sector", range(5))
def test_a_sector_never_written_back_is_torn(sector) -> None:
    whole = bytearray(segment((FULL, FLAG_DURABLE_BEFORE)))
    start = max(SEGMENT_HEADER_BYTES, sector * 512)
    end = min(len(whole), sector * 512 + 512)
    whole[start:end] = bytes(end - start)
    assert torn(bytes(whole))


def test_a_lost_sector_before_more_of_the_same_write_is_torn() -> None:
    whole = bytearray(segment((FULL, FLAG_DURABLE_BEFORE), (FULL, 0)))
    whole[512:1024] = bytes(512)
    assert torn(bytes(whole))


def test_a_lost_sector_before_a_later_write_is_corrupt() -> None:
    whole = bytearray(segment((FULL, FLAG_DURABLE_BEFORE), (FULL, 0), (FULL, FLAG_DURABLE_BEFORE)))
    whole[512:1024] = bytes(512)
    assert not torn(bytes(whole))


def test_a_cut_inside_what_a_later_write_follows_is_corrupt() -> None:
    # The header of the first record claims more than there is, and yet a later write is there.
    later = segment((FULL, FLAG_DURABLE_BEFORE), (FULL, FLAG_DURABLE_BEFORE))
    claims_more = record(START, FULL * 9, FLAG_DURABLE_BEFORE)[: HEADER_BYTES + 32]
    start = SEGMENT_HEADER_BYTES
    assert not torn(later[:start] + claims_more + later[start + len(claims_more) :])


def test_rows_that_look_like_a_record_prove_nothing() -> None:
    """A client may send the bytes of a log as a value; their LSN is not their place."""
    inner = record(START, FULL[:504], FLAG_DURABLE_BEFORE)
    body = inner + b"\xff" * (-len(inner) % 8)
    whole = bytearray(segment((body + FULL * 2, FLAG_DURABLE_BEFORE)))
    assert torn(bytes(whole[:-700]))


def test_a_damaged_header_alone_is_judged_by_its_own_bytes() -> None:
    whole = bytearray(segment((FULL, FLAG_DURABLE_BEFORE)))
    whole[SEGMENT_HEADER_BYTES + 56] ^= 1  # the length: nothing after it can be believed
    damage = damage_of(bytes(whole))
    assert damage.extent == HEADER_BYTES
    assert not is_torn(bytes(whole), damage, START)
