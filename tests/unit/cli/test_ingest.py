from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
import trio
from rich.progress import Progress

from cluster.cli.ingest import PATIENCE_SECONDS, send_input
from cluster.cli.input import Input, guess_format
from cluster.errors import (
    EmptyPayloadError,
    InvalidArchiveError,
    MalformedPayloadError,
    UnavailableError,
)
from cluster.rpc.v1 import ingestion_pb2


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("a.csv", "csv"),
        ("a.CSV.gz", "csv"),
        ("a.tsv", "tsv"),
        ("a.jsonl", "json"),
        ("a.ndjson", "json"),
        ("a.json", "multijson"),
        ("a.json.gz", "multijson"),
        ("a.parquet", None),
        ("csv", None),
        ("-", None),
    ],
)
def test_the_format_follows_from_the_extension(file, expected):
    assert guess_format(file) == expected


def test_a_file_is_stored_and_counted(world, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("1,a\n2,b\n")
    result = world.run("ingest", "leader", "D", "T", str(file), "--mapping", "m")
    assert (result.exit_code, result.stdout) == (0, "2 rows are stored in D.T\n")
    (payload,) = world.payloads
    assert (payload.database, payload.table, payload.mapping) == ("D", "T", "m")
    assert payload.format == ingestion_pb2.DATA_FORMAT_CSV
    assert payload.payload == b"1,a\n2,b\n"


def test_a_repetition_has_the_same_source_ids_until_the_file_changes(world, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes(b"1,a\n" * 1_000_000)
    for _ in range(2):
        assert world.run("ingest", "leader", "D", "T", str(file)).exit_code == 0
    first, second = world.payloads[:4], world.payloads[4:]
    assert [len(item.payload) for item in first] == [
        1 << 20,
        1 << 20,
        1 << 20,
        4_000_000 - 3 * 2**20,
    ]
    assert [item.source_id for item in first] == [item.source_id for item in second]
    assert len({item.source_id for item in first}) == 4
    assert all(len(item.source_id) <= 128 for item in first)
    os.utime(file, ns=(1, 1))
    world.run("ingest", "leader", "D", "T", str(file))
    assert world.payloads[8].source_id != first[0].source_id


def test_standard_input_is_new_each_time_unless_it_has_a_name(world):
    ids = []
    for extra in ([], [], ["--source", "x"], ["--source", "x"]):
        arguments = ["ingest", "leader", "D", "T", "-", "--format", "CSV", *extra]
        assert world.run(*arguments, stdin=b"1\n").exit_code == 0
        ids.append(world.payloads[-1].source_id)
    assert ids[0] != ids[1]
    assert ids[2] == ids[3]


def test_several_files_are_told_apart_under_one_name(world, tmp_path):
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for file in files:
        file.write_text("1\n")
    result = world.run("ingest", "leader", "D", "T", *map(str, files), "--source", "x", "--json")
    assert json.loads(result.stdout) == {"files": 2, "payloads": 2, "rows": 2}
    assert len({item.source_id for item in world.payloads}) == 2


def test_gzip_is_recognised_by_its_bytes(world, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes(gzip.compress(b"1\n2\n") + gzip.compress(b"3\n"))
    assert world.run("ingest", "leader", "D", "T", str(file)).stdout.startswith("3 rows")
    assert world.payloads[0].payload == b"1\n2\n3\n"


@pytest.mark.parametrize(
    "damage", [lambda z: z[:-3], lambda z: z[:4] + b"\xff" * 40, lambda z: z + b"x"]
)
def test_damaged_gzip_stores_nothing(world, tmp_path, damage):
    file = tmp_path / "rows.csv"
    file.write_bytes(damage(gzip.compress(b"1\n2\n" * 100)))
    result = world.run("ingest", "leader", "D", "T", str(file))
    assert result.exit_code == 1
    assert f"error: {InvalidArchiveError.code}" in result.stderr
    assert world.payloads == []


def test_an_array_in_a_json_file_is_sent_as_property_bags(world, tmp_path):
    file = tmp_path / "rows.json"
    file.write_text('\n [ {"a": "]}"} , {"a": [1]}\n]\n')
    assert world.run("ingest", "leader", "D", "T", str(file)).exit_code == 0
    (payload,) = world.payloads
    assert payload.format == ingestion_pb2.DATA_FORMAT_MULTIJSON
    assert payload.payload == b'{"a": "]}"}\n{"a": [1]}\n'


@pytest.mark.parametrize("text", ["", "\n\n", " \n[]", "  "])
def test_input_without_records_is_refused(world, tmp_path, text):
    file = tmp_path / "rows.json"
    file.write_text(text)
    result = world.run("ingest", "leader", "D", "T", str(file))
    assert result.exit_code == 1
    assert EmptyPayloadError.code in result.stderr
    assert world.payloads == []


def test_the_first_refusal_ends_the_command_with_its_own_error(world, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes(b"1,a\n" * 1_000_000)
    world.refuse_payload = 1
    result = world.run("ingest", "leader", "D", "T", str(file))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "error: BadRequest_TableNotExist: no table 'T' (in " in result.stderr


@pytest.mark.parametrize(("value", "seen"), [("At", True), ("AT", True), ("tomorrow", False)])
def test_a_line_of_column_names_is_recognised(world, tmp_path, value, seen):
    file = tmp_path / "rows.csv"
    file.write_bytes(b"At,Name\n")
    world.refuse_payload = 0
    world.refusal = MalformedPayloadError(
        f"record 1, column 'At' (datetime): '{value}' is not an ISO 8601 datetime"
    )
    result = world.run("ingest", "leader", "D", "T", str(file))
    assert result.exit_code == 1
    assert ("remedy: The first record seems to be a line of column names" in result.stderr) is seen


async def test_what_trickles_in_is_sent_as_it_comes():
    reading, writing = os.pipe()
    source = Input("pipe", Path(f"/dev/fd/{reading}"), "csv", "id", None, is_live=True)
    payloads = source.payloads()
    os.write(writing, b"1,a\n2,")
    assert await anext(payloads) == (b"1,a\n", 6)
    os.write(writing, b"b\n")
    assert await anext(payloads) == (b"2,b\n", 8)
    os.write(writing, b"3")
    os.close(writing)
    assert await anext(payloads) == (b"3", 9)
    with pytest.raises(StopAsyncIteration):
        await anext(payloads)
    os.close(reading)


class Stuck:
    """A channel whose streams break at once."""

    def stream_stream(self, *args, **kwargs):
        def call():
            raise trio.BrokenResourceError

        return call

    unary_unary = unary_stream = stream_stream


async def test_a_node_that_decides_nothing_is_given_up(tmp_path, autojump_clock):
    file = tmp_path / "rows.csv"
    file.write_text("1\n")
    source = Input.described(str(file), "csv", "")
    started = trio.current_time()
    with pytest.raises(ExceptionGroup) as caught:
        await send_input(Stuck(), "D", "T", source, "", Progress(disable=True))
    assert caught.group_contains(UnavailableError, match="has decided nothing for 30 s")
    # Not less. It may be more here: the clock jumps while a thread reads the file.
    assert trio.current_time() - started >= PATIENCE_SECONDS
