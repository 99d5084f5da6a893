"""Storage roots against real services: the same promises in Azure Blob, in S3 and in a folder."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import replace

import pyarrow as pa
import pytest
import trio
from storage_services import Azurite, Moto

from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
)
from cluster.errors import (
    ConflictError,
    CorruptionError,
    FileMissingError,
    StorageRefusedError,
    StorageUnavailableError,
)
from cluster.extents.copies import Place
from cluster.extents.files import ExtentFiles
from cluster.extents.opening import open_root
from cluster.extents.parquet import read_extent
from cluster.extents.writer import ExtentWriter
from cluster.limits import Limits

pytestmark = pytest.mark.process

LIMITS = Limits(storage_upload_bytes=6 << 20, storage_retry_first_seconds=0.05)
"""S3 takes no block below 5 MB but the last."""

TABLE = Table(
    "T",
    "22222222-2222-4222-8222-222222222222",
    (RowStoreReference(0, RowStoreKey(1)),),
    ((Column("x", ScalarType.LONG), Column("g", ScalarType.GUID)),),
    ((0, 1),),
)
DATABASE = Database("db", "11111111-1111-4111-8111-111111111111")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory):
    service = Azurite(tmp_path_factory.mktemp("azurite"))
    service.make_container()
    yield service
    service.end()


@pytest.fixture(scope="session")
def moto():
    service = Moto()
    yield service
    service.end()


def opened(service, *, limits=LIMITS, url=None):
    return open_root(
        url or service.url, options=service.options, rng=random.Random(1), limits=limits
    )


@pytest.fixture(params=["azurite", "moto", "folder"])
async def root(request, tmp_path):
    if request.param == "folder":
        root = open_root(str(tmp_path / "root"), rng=random.Random(1), limits=LIMITS)
    else:
        root = opened(request.getfixturevalue(request.param))
    yield root
    await root.delete([found.name for found in await root.list()])


async def test_an_object_is_made_once_and_read_back(root):
    await root.put("a/one", b"12345")
    with pytest.raises(ConflictError):
        await root.put("a/one", b"other")
    assert await root.get("a/one") == b"12345"
    assert await root.get_range("a/one", 3, 10) == b"45"
    assert await root.get_range("a/one", 5, 10) == b""
    assert await root.size_of("a/one") == 5


async def test_what_is_not_there_is_missing(root):
    with pytest.raises(FileMissingError):
        await root.get("a/none")
    with pytest.raises(FileMissingError):
        await root.size_of("a/none")


@pytest.mark.parametrize("size", [0, 1, LIMITS.storage_upload_bytes, 13 << 20])
async def test_a_file_goes_and_comes_in_blocks(root, tmp_path, size):
    content = os.urandom(size)
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(content)
    await root.put_file("b/file", sent)
    with pytest.raises(ConflictError):
        await root.put_file("b/file", sent)
    await root.download("b/file", got)
    assert got.read_bytes() == content


async def test_a_download_of_nothing_leaves_no_file(root, tmp_path):
    with pytest.raises(FileMissingError):
        await root.download("a/none", tmp_path / "got")
    assert not (tmp_path / "got").exists()


async def test_objects_are_listed_by_folder_and_deleted_for_good(root):
    for name in ("a/2", "a/1", "ab/3", "top"):
        await root.put(name, name.encode())
    assert [(found.name, found.size_bytes) for found in await root.list("a/")] == [
        ("a/1", 3),
        ("a/2", 3),
    ]
    await root.delete(["a/1", "a/never", "ab/3"])
    assert [found.name for found in await root.list()] == ["a/2", "top"]


async def test_extents_are_written_there_and_read_from_copies(root, tmp_path):
    writer = ExtentWriter(root_of=lambda _: root, work=tmp_path / "work", rng=random.Random(2))
    rows = pa.record_batch(
        [pa.array(range(1000), pa.int64()), pa.array([bytes(16)] * 1000, pa.binary(16))], ["x", "g"]
    )
    extents = await writer.write(
        DATABASE, TABLE, 0, [rows], created_us=(1, 1), original_bytes=1, max_rows=600
    )
    files = ExtentFiles(place_of=lambda _: Place(root), cache=tmp_path / "cache")
    statistics = await files.statistics_of(DATABASE, extents)
    assert [statistics[extent.file].columns[0].maximum for extent in extents] == [599, 999]
    assert files.statistics().cached_files == 0
    async with files.acquire(DATABASE, extents) as paths:
        read = [batch for e in extents for batch in read_extent(paths[e.file], e, TABLE)]
    assert pa.Table.from_batches(read).equals(pa.Table.from_batches([rows]))
    wrong = replace(extents[0], file_checksum=1)
    with pytest.raises(CorruptionError):
        async with files.acquire(DATABASE, [wrong]):
            pass


@pytest.mark.parametrize("name", ["azurite", "moto"])
async def test_no_container_and_no_rights_are_refused_at_once(request, name):
    service = request.getfixturevalue(name)
    scheme = service.url.partition(":")[0]
    elsewhere = opened(service, url=f"{scheme}://nowhere")
    with pytest.raises(StorageRefusedError, match="no such container or bucket"):
        await elsewhere.put("a", b"1")
    with pytest.raises(StorageRefusedError):
        await elsewhere.list()
    assert elsewhere.statistics().retries == 0


async def test_a_wrong_key_is_refused_without_showing_it(azurite):
    text = azurite.options["AZURE_STORAGE_CONNECTION_STRING"].replace(
        "AccountKey=E", "AccountKey=F"
    )
    options = {"AZURE_STORAGE_CONNECTION_STRING": text}
    root = open_root(azurite.url, options=options, rng=random.Random(1), limits=LIMITS)
    with pytest.raises(StorageRefusedError) as caught:
        await root.put("a", b"1")
    assert "Fby8" not in str(caught.value)


@pytest.fixture
def own_azurite(tmp_path):
    service = Azurite(tmp_path / "blobs")
    service.make_container()
    services = [service]
    yield services
    services[-1].end()


async def test_a_service_that_is_gone_is_unavailable_after_so_many_tries(own_azurite):
    root = opened(own_azurite[0], limits=replace(LIMITS, storage_attempts=3))
    own_azurite[0].end()
    with pytest.raises(StorageUnavailableError, match="after 3 tries"):
        await root.put("a", b"1")
    assert root.statistics().retries == 2


async def test_a_put_survives_a_restart_of_the_service(own_azurite, tmp_path):
    root = opened(own_azurite[0], limits=replace(LIMITS, storage_attempts=60))
    port = own_azurite[0].port
    own_azurite[0].stop()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.put, "a", b"1")
        own_azurite.append(
            await trio.to_thread.run_sync(lambda: Azurite(tmp_path / "blobs", port=port))
        )
    assert await root.get("a") == b"1"
    assert root.statistics().retries > 0


async def wait_for_retries(root, count):
    with trio.fail_after(30):
        while root.statistics().retries < count:  # noqa: ASYNC110 - it is the service that does not answer
            await trio.sleep(0.01)


async def test_a_put_whose_answer_was_lost_is_no_conflict(own_azurite):
    limits = replace(LIMITS, storage_call_seconds=0.3, storage_attempts=60)
    root = opened(own_azurite[0], limits=limits)
    await root.put("before", b"0")
    own_azurite[0].send(signal.SIGSTOP)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.put, "a", b"1")
        await wait_for_retries(root, 2)  # the service has the request, and does not answer
        own_azurite[0].send(signal.SIGCONT)
    assert await root.get("a") == b"1"
