"""What tells that a streaming request is a retry of another one."""

from __future__ import annotations

import gzip

import pytest

from cluster.gateway.rest.ingest import source_id
from cluster.ingest.request import DataFormat

SOURCE = "5a3b6e0c-7f5e-4c53-8d19-3d2f1f6d0a11"
MANAGED = f"KPC.executeManagedStreamingIngest;{SOURCE}"


def source_of(request_id, body=b"1\n", mapping="M", data_format=DataFormat.CSV):
    return source_id(request_id, data_format, mapping, body)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (f"{MANAGED};0", f"{MANAGED};12"),
        (
            f"KNC.executeManagedStreamingIngestFromStream;{SOURCE};1",
            f"KNC.executeManagedStreamingIngestFromStream;{SOURCE};2",
        ),
        ("KJC.executeManagedStreaming;my;own;id;1", "KJC.executeManagedStreaming;my;own;id;2"),
        (f"KGC.executeStreaming;{SOURCE}", f"KGC.executeStreaming;{SOURCE}"),
        (f"KGC.execute;{SOURCE}", f"KGC.execute;{SOURCE}"),
    ],
)
def test_attempts_of_one_source_have_one_source_id(first, again):
    assert source_of(first) == source_of(again) != ""


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (f"{MANAGED};0", "KPC.executeManagedStreamingIngest;another;0"),
        ("KPC.executeManagedStreamingIngest;s;1;0", "KPC.executeManagedStreamingIngest;s;2;0"),
        # Only managed clients count attempts: elsewhere a number at the end is part of the name.
        ("KPC.executeStreamingIngest;batch;1", "KPC.executeStreamingIngest;batch;2"),
    ],
)
def test_sources_of_other_names_are_others(first, other):
    assert source_of(first) != source_of(other)


@pytest.mark.parametrize("request_id", ["", "mine", "mine;1", "KPC.executeStreamingIngest;"])
def test_ids_that_no_sdk_makes_tell_no_retries(request_id):
    assert source_of(request_id) == ""


def test_one_source_with_other_data_is_no_retry():
    """A descriptor used twice: its second data must not be taken for what is stored already."""
    seen = {
        source_of(f"{MANAGED};0"),
        source_of(f"{MANAGED};0", body=b"2\n"),
        source_of(f"{MANAGED};0", body=b""),
        source_of(f"{MANAGED};0", mapping="N"),
        source_of(f"{MANAGED};0", data_format=DataFormat.TSV),
        source_of(f"{MANAGED};0", data_format=None),
        source_of(f"{MANAGED};0", body=gzip.compress(b"1\n", mtime=0)),
        source_of(f"{MANAGED};0", body=gzip.compress(b"2\n", mtime=0)),
    }
    assert len(seen) == 8


def test_data_compressed_again_for_the_next_attempt_is_the_same():
    first, again = (gzip.compress(b"1\n", mtime=time) for time in (1, 2))
    assert first != again
    assert source_of(f"{MANAGED};0", body=first) == source_of(f"{MANAGED};1", body=again)
