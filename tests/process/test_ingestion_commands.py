"""Batch ingestion on real processes: every format, real object stores, SIGKILL at any moment."""

from __future__ import annotations

import gzip
import io
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import fastavro
import pyarrow as pa
import pyarrow.orc as pa_orc
import pyarrow.parquet as pq
import pytest
import trio
from storage_services import ACCOUNT, KEY, Azurite, Moto

from cluster.batch.download import Downloads
from cluster.batch.sources import parse_source
from cluster.errors import (
    LimitExceededError,
    RemoraError,
    SourceForbiddenError,
    SourceNotFoundError,
)
from cluster.extents.opening import open_root
from cluster.limits import LIMITS, Limits

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.client import Client
    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

FEW_ROUNDS, ROUNDS = 1, 8
ROWS_A_FILE = 60_000
TABLE = pa.table({"n": pa.array([1, 2, 3], pa.int64()), "name": ["a", "b", "c"]})
LINES = "".join(f"{n}{{0}}{name}\n" for n, name in ((1, "a"), (2, "b"), (3, "c")))
JSON = [f'{{"n":{n},"name":"{name}"}}' for n, name in ((1, "a"), (2, "b"), (3, "c"))]


def columnar(write) -> bytes:
    sink = io.BytesIO()
    write(TABLE, sink)
    return sink.getvalue()


def avro() -> bytes:
    sink = io.BytesIO()
    fields = [{"name": "n", "type": "long"}, {"name": "name", "type": "string"}]
    schema = {"type": "record", "name": "Row", "fields": fields}
    fastavro.writer(sink, fastavro.parse_schema(schema), TABLE.to_pylist())
    return sink.getvalue()


FILES = {
    "csv": LINES.format(",").encode(),
    "tsv": LINES.format("\t").encode(),
    "scsv": LINES.format(";").encode(),
    "sohsv": LINES.format("\x01").encode(),
    "psv": LINES.format("|").encode(),
    "tsve": LINES.format("\t").encode(),
    "json": "\n".join(JSON).encode(),
    "multijson": f"[{','.join(JSON)}]".encode(),
    "singlejson": JSON[0].encode(),
    "avro": avro(),
    "apacheavro": avro(),
    "parquet": columnar(pq.write_table),
    "orc": columnar(lambda table, sink: pa_orc.write_table(table, sink)),
}
"""Three rows each; ``singlejson`` is one."""


@pytest.fixture
def ingest_folder(processes: tuple[Launcher, Setup]) -> Path:
    """The setup's folder for files to ingest."""
    return processes[1].folder / "ingest"


async def until_rows(client: Client, database: str, query: str, count: int) -> None:
    """Returns once a query counts so many rows."""
    with trio.fail_after(30):
        while True:
            try:
                if (await client.query(database, f"{query} | count")).scalar() == count:
                    return
            except RemoraError:
                pass  # not followed yet
            await trio.sleep(0.02)


async def test_every_format_reaches_the_follower(local_setup, ingest_folder):
    leader, database = local_setup.client("leader"), local_setup.database
    await leader.command("", f".create database {database}")
    await leader.command(database, ".create table T (n:long, name:string)")
    await leader.command(database, ".create table Lines (text:string)")
    await local_setup.attach("follower1")
    expected = 0
    for kind, content in FILES.items():
        for ending, data in (("", content), (".gz", gzip.compress(content))):
            name = f"{database}.{kind}{ending}"
            (ingest_folder / name).write_bytes(data)
            answer = await leader.command(
                database, f".ingest into table T ('{name}') with (format='{kind}')"
            )
            assert answer.table["ItemLoaded"].to_pylist() == [name]
            expected += 1 if kind == "singlejson" else 3
    for kind, count in (("txt", 3), ("raw", 1)):
        name = f"{database}.{kind}"
        (ingest_folder / name).write_text("one\ntwo\nthree")
        await leader.command(
            database, f".ingest into table Lines ('{name}') with (format='{kind}')"
        )
        await until_rows(leader, database, f"Lines | where text startswith 'one' or {count} == 3",
                         3 if kind == "txt" else 2)  # fmt: skip
    log = "#Version: 1.0\n#Fields: n name\n1 a\n2 b\n"
    await leader.command(
        database, f".ingest inline into table T with (format='w3clogfile') <|\n{log}"
    )
    expected += 2
    for client in (leader, local_setup.client("follower1")):
        await until_rows(client, database, "T", expected)
        await until_rows(client, database, "T | where name == 'a'", 2 * len(FILES) + 1)
        await until_rows(client, database, "T | where isnotnull(ingestion_time())", expected)
    with pytest.raises(RemoraError, match=r"(?i)read-only|follow"):
        await local_setup.client("follower1").command(
            database, ".ingest inline into table T <| 1,a"
        )


async def test_through_the_program(local_setup, processes):
    database = local_setup.database
    await local_setup.client("leader").command("", f".create database {database}")

    home = processes[1].folder.parent / "home"

    def remora(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "cluster.cli.main", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "REMORA_HOME": str(home)},
        )

    for text in (
        ".set-or-append T <| range n from 1 to 1000000 step 1 | extend name = tostring(n)",
        ".ingest inline into table T <|\n0,zero\n",
    ):
        done = await trio.to_thread.run_sync(
            remora, "command", "leader", database, text, "--name", "local"
        )
        assert done.returncode == 0, done.stderr
    await until_rows(local_setup.client("leader"), database, "T", 1_000_001)


@pytest.mark.timeout(170)
@pytest.mark.parametrize("rounds", [FEW_ROUNDS, pytest.param(ROUNDS, marks=pytest.mark.slow)])
async def test_killed_at_any_moment_it_is_all_or_nothing(
    local_setup: LocalSetup, ingest_folder: Path, rounds: int
) -> None:
    chance = random.Random(7)
    leader, database = local_setup.client("leader"), local_setup.database
    await leader.command("", f".create database {database}")
    await leader.command(database, ".create table T (n:long, name:string)")
    await leader.command(database, ".create table Even (n:long, name:string)")
    policy = (
        '[{"IsEnabled":true,"Source":"T","Query":"T | where n % 2 == 0","IsTransactional":true}]'
    )
    await leader.command(database, f".alter table Even policy update '{policy}'")
    await local_setup.attach("follower1")
    rows = "".join(f"{n},row {n}\n" for n in range(ROWS_A_FILE))
    (ingest_folder / f"{database}.csv").write_text(rows)
    sources = f"('{database}.csv', '{database}.csv')"
    a_round = 2 * ROWS_A_FILE
    stored = 0
    for number in range(rounds):
        tag = f"tags='[\"ingest-by:{number}\"]', ingestIfNotExists='[\"{number}\"]'"
        text = f".ingest into table T {sources} with ({tag})"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(quietly, leader, database, text)
            await trio.sleep(chance.random() * 0.6)
            await local_setup.kill("leader/0")
            await local_setup.start("leader/0")
            nursery.cancel_scope.cancel()
        await until_rows(leader, database, "print 1", 1)
        found = (await leader.query(database, "T | count")).scalar()
        assert found in (stored, stored + a_round)
        assert (await leader.query(database, "Even | count")).scalar() == found // 2
        await leader.command(database, text)  # again, whatever became of it
        stored += a_round
        assert (await leader.query(database, "T | count")).scalar() == stored
    for client in (leader, local_setup.client("follower1")):
        await until_rows(client, database, "T", stored)
        await until_rows(client, database, "Even", stored // 2)


async def quietly(client: Client, database: str, text: str) -> None:
    """Sends a command whose node may die."""
    try:
        await client.command(database, text)
    except RemoraError:
        return


# Object stores


@pytest.fixture(scope="module")
def moto():
    service = Moto()
    yield service
    service.end()


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    service = Azurite(tmp_path_factory.mktemp("azurite"))
    service.make_container()
    yield service
    service.end()


@pytest.fixture(params=["moto", "azurite"])
def store(request):
    """A service, and how the address of one of its objects begins and ends."""
    service = request.getfixturevalue(request.param)
    if request.param == "moto":
        return service, f"http://127.0.0.1:{service.port}/extents", ";AwsCredentials=id,{}"
    return service, f"http://127.0.0.1:{service.port}/{ACCOUNT}/extents", ";{}"


def secret_of(store) -> str:
    return "secret" if isinstance(store[0], Moto) else KEY


async def put(store, name: str, content: bytes) -> str:
    """Stores an object; returns its address with credentials."""
    service, start, end = store
    root = open_root(service.url, options=service.options, rng=random.Random(1))
    await root.delete([name])
    await root.put(name, content)
    return f"{start}/data/{name}{end.format(secret_of(store))}"


def downloads(folder: Path, limits: Limits = LIMITS) -> Downloads:
    (folder / "files").mkdir()
    return Downloads(folder=folder / "files", work=folder / "work", limits=limits)


async def test_an_object_comes_whole(store, tmp_path):
    content = random.Random(1).randbytes(20 << 20)
    address = await put(store, "folder/a-b.csv", content)
    got = await downloads(tmp_path).get(parse_source(address), 0)
    assert (got.name, got.size_bytes, got.is_copy) == ("a-b.csv", len(content), True)
    assert got.path.read_bytes() == content
    assert secret_of(store) not in got.shown


async def test_an_object_that_is_not_there(store, tmp_path):
    address = await put(store, "some", b"1")
    with pytest.raises(SourceNotFoundError) as caught:
        await downloads(tmp_path).get(parse_source(address.replace("some", "none")), 0)
    assert secret_of(store) not in str(caught.value)
    assert not list((tmp_path / "work").iterdir())


async def test_an_account_key_that_is_wrong(azurite, tmp_path):
    store = azurite, f"http://127.0.0.1:{azurite.port}/{ACCOUNT}/extents", ";{}"
    address = await put(store, "some", b"1")
    wrong = "A" * 86 + "=="
    with pytest.raises(SourceForbiddenError):
        await downloads(tmp_path).get(parse_source(address.replace(KEY, wrong)), 0)


@pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False)])
async def test_limit_of_an_object(store, tmp_path, size, fits):
    address = await put(store, "sized", b"x" * size)
    limited = downloads(tmp_path, Limits(ingest_source_bytes=1000))
    if fits:
        assert (await limited.get(parse_source(address), 0)).size_bytes == size
    else:
        with pytest.raises(LimitExceededError):
            await limited.get(parse_source(address), 0)
        assert not list((tmp_path / "work").iterdir())


async def test_a_node_ingests_objects(local_setup, store):
    leader, database = local_setup.client("leader"), local_setup.database
    await leader.command("", f".create database {database}")
    await leader.command(database, ".create table T (n:long, name:string)")
    first = await put(store, "first.csv.gz", gzip.compress(b"1,a\n2,b\n"))
    second = await put(store, "second.csv", b"3,c\n")
    await leader.command(database, f".ingest into table T (h'{first}', h'{second}')")
    await until_rows(leader, database, "T", 3)
    missing = first.replace("first", "none")
    with pytest.raises(SourceNotFoundError):
        await leader.command(database, f".ingest into table T (h'{second}', h'{missing}')")
    await until_rows(leader, database, "T", 3)
    failures = await leader.command(database, ".show ingestion failures")
    text = str(failures.table.to_pylist())
    assert "Download_SourceNotFound" in text
    assert secret_of(store) not in text
