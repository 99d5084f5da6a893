"""A root across the network when calls fail: tries, delays, lost answers, typed errors, URLs."""

from __future__ import annotations

import random

import obstore
import pytest
import trio
from obstore.exceptions import GenericError, PermissionDeniedError
from obstore.store import MemoryStore

from cluster.errors import (
    ConflictError,
    FileMissingError,
    InvalidRequestError,
    StorageRefusedError,
    StorageUnavailableError,
)
from cluster.extents.disk import LocalRoot
from cluster.extents.link import RemoteRoot
from cluster.extents.opening import StorageRoots, azure_options, open_root
from cluster.extents.retry import retry_delays
from cluster.limits import Limits
from cluster.testing.root import FakeRoot

LIMITS = Limits(storage_attempts=3, storage_upload_bytes=5 << 20)


class Network:
    """Makes calls of obstore fail; with ``after`` they are carried out and the answer is lost."""

    def __init__(self, monkeypatch):
        self.calls = []
        self.failures = []
        for name in ("put", "get_range", "head", "delete", "list"):
            monkeypatch.setattr(obstore, name, self._wrapped(name, getattr(obstore, name)))

    def fail(self, name, *, times=1, error=None, after=False):
        self.failures += [(name, error or GenericError("connection reset"), after)] * times

    def _wrapped(self, name, real):
        def call(*args, **options):
            self.calls.append(name)
            found = next((item for item in self.failures if item[0] == name), None)
            if found is None:
                return real(*args, **options)
            self.failures.remove(found)
            if found[2]:
                real(*args, **options)
            raise found[1]

        return call


@pytest.fixture
def network(monkeypatch):
    return Network(monkeypatch)


@pytest.fixture
def root():
    return RemoteRoot("az://c/p", MemoryStore(), limits=LIMITS, rng=random.Random(1))


async def test_failures_that_pass_are_tried_again(root, network, autojump_clock):
    network.fail("put", times=2)
    await root.put("a", b"1")
    network.fail("get_range", times=2)
    network.fail("head", times=2)
    assert await root.get("a") == b"1"
    network.fail("list", times=2)
    assert len(await root.list()) == 1
    network.fail("delete", times=2)
    await root.delete(["a"])
    assert root.statistics().retries == 10
    assert root.statistics().failures == 0


@pytest.mark.parametrize("failures", [2, 3])
async def test_tries_are_bounded(root, network, autojump_clock, failures):
    network.fail("put", times=failures)
    if failures < LIMITS.storage_attempts:
        await root.put("a", b"1")
        return
    with pytest.raises(StorageUnavailableError, match="after 3 tries: connection reset") as caught:
        await root.put("a", b"1")
    assert caught.value.metadata == {"storage_root": "az://c/p"}
    assert network.calls == ["put"] * 3
    assert root.statistics().failures == 1


async def test_a_put_whose_answer_was_lost_has_succeeded(root, network, autojump_clock, tmp_path):
    network.fail("put", after=True)
    await root.put("a", b"1")
    assert await root.get("a") == b"1"
    local = tmp_path / "file"
    for name, size in (("short", 10), ("long", 11 << 20)):
        local.write_bytes(bytes(size))
        network.fail("put", after=True)
        await root.put_file(name, local)
        assert await root.size_of(name) == size


async def test_a_lost_answer_does_not_hide_a_conflict(root, network, autojump_clock, tmp_path):
    await root.put("a", b"theirs")
    local = tmp_path / "file"
    local.write_bytes(b"ours!!")
    network.fail("put")
    with pytest.raises(ConflictError):
        await root.put("a", b"ours!!")
    network.fail("put")
    with pytest.raises(ConflictError):
        await root.put_file("a", local)
    assert await root.get("a") == b"theirs"


async def test_a_download_goes_on_where_it_failed(root, network, autojump_clock, tmp_path):
    local = tmp_path / "file"
    local.write_bytes(random.Random(1).randbytes(12 << 20))
    await root.put_file("a", local)
    network.calls.clear()
    network.fail("get_range", times=2)
    await root.download("a", tmp_path / "got")
    assert network.calls.count("get_range") == 5
    assert (tmp_path / "got").read_bytes() == local.read_bytes()


async def test_a_download_that_fails_leaves_nothing(root, network, autojump_clock, tmp_path):
    await root.put("a", b"1")
    network.fail("get_range", times=3)
    with pytest.raises(StorageUnavailableError):
        await root.download("a", tmp_path / "got")
    assert not (tmp_path / "got").exists()


async def test_a_deletion_goes_on_where_it_failed(root, network, autojump_clock):
    for name in "abc":
        await root.put(name, b"1")
    network.fail("delete", after=True)
    await root.delete(["a", "b", "c", "none"])
    assert await root.list() == []


@pytest.mark.parametrize(
    "error",
    [
        PermissionDeniedError("no"),
        GenericError("Server returned non-2xx status code: 400 Bad Request: <xml>"),
        GenericError("GET http://h/c?sig=secret status code: 404 Not Found"),
    ],
)
async def test_refusals_are_not_tried_again(root, network, error):
    network.fail("put", error=error)
    with pytest.raises(StorageRefusedError) as caught:
        await root.put("a", b"1")
    assert network.calls == ["put"]
    assert "secret" not in caught.value.message
    assert "<xml>" not in caught.value.message


@pytest.mark.parametrize("status", ["408", "429", "500", "503"])
async def test_statuses_that_pass_are_tried_again(root, network, autojump_clock, status):
    network.fail("put", error=GenericError(f"Server returned non-2xx status code: {status}"))
    await root.put("a", b"1")


async def test_a_file_that_is_not_there_cannot_be_put(root, tmp_path):
    with pytest.raises(StorageUnavailableError, match="cannot read the file to be written as a"):
        await root.put_file("a", tmp_path / "none")


async def test_a_cancelled_call_returns_at_once(root, network, autojump_clock):
    network.fail("put", times=3)
    with trio.move_on_after(0.01) as scope:
        await root.put("a", b"1")
    assert scope.cancelled_caught
    with pytest.raises(FileMissingError):
        await root.get("a")


def test_delays_double_up_to_a_bound_and_differ():
    limits = Limits(
        storage_attempts=6, storage_retry_first_seconds=1.0, storage_retry_longest_seconds=4.0
    )
    for delay, longest in zip(retry_delays(limits, random.Random(1)), [1, 2, 4, 4, 4], strict=True):
        assert longest / 2 <= delay <= longest
    assert list(retry_delays(limits, random.Random(1))) != list(
        retry_delays(limits, random.Random(2))
    )
    assert list(retry_delays(Limits(storage_attempts=1), random.Random(1))) == []


def opened(url, **options):
    return open_root(url, rng=random.Random(1), options=options)


def test_urls_and_paths_are_opened(tmp_path):
    assert opened(str(tmp_path)).url == tmp_path.as_uri()
    assert opened(f"{tmp_path.as_uri()}/a%20b").local_path("x") == tmp_path / "a b/x"
    azure = opened(
        "az://cont/a/b/", AZURE_STORAGE_ACCOUNT_NAME="n", AZURE_STORAGE_ACCOUNT_KEY="YQ=="
    )
    assert azure.url == "az://cont/a/b"
    assert azure.local_path("x") is None
    assert opened("s3://bucket", AWS_REGION="r").url == "s3://bucket"


@pytest.mark.parametrize(
    "url",
    [
        "gs://b",
        "http://user:secret@h/c?sig=secret",
        "az://",
        "az:///x",
        "az://c/../d",
        "az://user:secret@c/p",
        "az://c/p?sig=secret",
        "s3://b//x",
        "file://elsewhere/x",
        "file://",
    ],
)
def test_other_urls_are_refused_without_repeating_secrets(url):
    with pytest.raises(InvalidRequestError) as caught:
        opened(url)
    assert "secret" not in caught.value.message


def test_connection_strings_are_read():
    string = "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=a==;EndpointSuffix=x.net"
    assert azure_options(string) == {
        "account_name": "n",
        "account_key": "a==",
        "endpoint": "https://n.blob.x.net",
    }
    shared = "BlobEndpoint=https://n.blob.x.net/;SharedAccessSignature=sv=1&sig=2"
    assert azure_options(shared) == {
        "account_name": "n",
        "sas_key": "sv=1&sig=2",
        "endpoint": "https://n.blob.x.net",
    }
    emulator = azure_options("UseDevelopmentStorage=true")
    assert emulator["endpoint"] == "http://127.0.0.1:10000/devstoreaccount1"


@pytest.mark.parametrize(
    "string", ["x", "AccountName=n", "AccountKey=secret", "AccountName=n;AccountKey=secret"]
)
def test_malformed_connection_strings_are_refused(string):
    with pytest.raises(InvalidRequestError) as caught:
        opened("az://c", AZURE_STORAGE_CONNECTION_STRING=string)
    assert "secret" not in caught.value.message


def test_roots_are_opened_once(tmp_path):
    default = LocalRoot(tmp_path)
    asked = []

    def open_url(url):
        asked.append(url)
        return FakeRoot(url)

    roots = StorageRoots(default, open_url)
    assert roots.of("") is roots.default is default
    assert roots.of(default.url) is default
    assert roots.of("memory://a") is roots.of("memory://a")
    assert asked == ["memory://a"]
    assert roots.all() == (default, roots.of("memory://a"))


@pytest.mark.parametrize(("extra", "calls"), [(-1, 1), (0, 1), (1, 2)])
async def test_a_longer_file_goes_in_blocks(root, network, tmp_path, extra, calls):
    local = tmp_path / "file"
    local.write_bytes(bytes(LIMITS.storage_upload_bytes + extra))
    await root.put_file("a", local)
    assert len(network.calls) == calls  # blocks: is there one of that name?
    assert await root.size_of("a") == LIMITS.storage_upload_bytes + extra
