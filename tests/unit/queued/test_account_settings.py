"""Connection strings, signatures and names of a storage account."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import pytest
from azure.storage.blob import generate_container_sas
from queued_world import SECRET, START_NS, Inline

from cluster.cli.up import _options
from cluster.errors import InvalidRequestError
from cluster.launcher.topology import parse_topology, topology_from_values, topology_to_values
from cluster.limits import LIMITS
from cluster.node.config import NodeConfig
from cluster.queued.account.names import ResourceNames
from cluster.queued.account.settings import (
    EMULATOR_KEY,
    QueuedSettings,
    has_secret,
    parse_account,
    settings_from_values,
    settings_to_values,
)
from cluster.queued.account.signatures import is_own_container_sas, service_sas
from cluster.queued.account.storage import AccountStorage
from cluster.queued.addresses import StorageKind
from cluster.queued.builtin import BuiltInStorage
from cluster.queued.files import QueuedFiles, open_files
from cluster.queued.signatures import Signer
from cluster.queued.store import FILE_NAME

if TYPE_CHECKING:
    from pathlib import Path

KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
MINE = f"AccountName=mine;AccountKey={KEY}"
LOCAL = (
    f"{MINE};BlobEndpoint=http://127.0.0.1:1/mine;QueueEndpoint=http://localhost:2/mine;"
    "TableEndpoint=http://[::1]:3/mine/"
)
NOW = START_NS // 10**9


@pytest.mark.parametrize(
    ("storage", "blob", "table"),
    [
        ("UseDevelopmentStorage=true", "http://127.0.0.1:10000/devstoreaccount1", 10002),
        (" usedevelopmentstorage=TRUE; ", "http://127.0.0.1:10000/devstoreaccount1", 10002),
        ("http://127.0.0.1:7000/devstoreaccount1/", "http://127.0.0.1:7000/devstoreaccount1", 7002),
        ("https://[::1]:7000/devstoreaccount1", "https://[::1]:7000/devstoreaccount1", 7002),
        (
            "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://localhost",
            "http://localhost:10000/devstoreaccount1",
            10002,
        ),
        (LOCAL, "http://127.0.0.1:1/mine", 3),
    ],
)
def test_forms_of_azures_tools_are_read(storage: str, blob: str, table: int) -> None:
    account = QueuedSettings(storage).account()
    assert account is not None
    assert account.blob == blob
    assert f":{table}/" in account.table


def test_an_account_of_azure_takes_a_word_of_permission() -> None:
    storage = f"DefaultEndpointsProtocol=https;{MINE};EndpointSuffix=core.windows.net"
    with pytest.raises(InvalidRequestError, match="not on this machine") as caught:
        settings_from_values({"storage": storage})
    assert "allow_remote" in caught.value.remedy
    account = settings_from_values({"storage": storage, "allow_remote": True}).account()
    assert account is not None
    assert account.queue == "https://mine.queue.core.windows.net"
    plain = storage.replace("=https;", "=http;")
    with pytest.raises(InvalidRequestError, match="not https"):
        settings_from_values({"storage": plain, "allow_remote": True})


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        (f"AccountKey={KEY}", "AccountName must be"),
        ("AccountName=mine", "AccountKey is missing"),
        ("AccountName=mine;AccountKey=%%", "not base64"),
        ("AccountName=UPPER;AccountKey=" + KEY, "AccountName must be"),
        (f"{MINE};AccountName=other", "there twice"),
        (f"{MINE};{KEY}", "part 3 is none of"),
        (f"{MINE};Password={KEY}", "part 3 is none of"),
        ("BlobEndpoint=http://127.0.0.1:1/x;SharedAccessSignature=sig", "cannot sign others"),
        (f"{MINE};BlobEndpoint=ftp://127.0.0.1", "BlobEndpoint must be http"),
        (f"{MINE};BlobEndpoint=http://u:p@127.0.0.1", "without credentials"),
        (f"{MINE};BlobEndpoint=http://127.0.0.1?{KEY}", "without credentials"),
        (f"{MINE};BlobEndpoint=http://127.0.0.1:99999", "not an address"),
        ("http://127.0.0.1:10000/other", "must be Azurite's"),
        ("http://127.0.0.1/devstoreaccount1", "must be Azurite's"),
        ("http://127.0.0.1:65534/devstoreaccount1", "must be Azurite's"),
        ("nonsense", "part 1 is none of"),
    ],
)
def test_what_is_wrong_is_told_without_the_key(storage: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(words)) as caught:
        settings_from_values({"storage": storage})
    assert KEY not in f"{caught.value.message}{caught.value.remedy}"


@pytest.mark.parametrize("values", [[], {"storage": 1}, {"allow_remote": 1}, {"keys": ""}])
def test_the_table_is_checked(values: object) -> None:
    with pytest.raises(InvalidRequestError, match="queued"):
        settings_from_values(values)


def test_keys_are_in_no_text() -> None:
    settings = QueuedSettings(LOCAL)
    account = settings.account()
    assert account is not None
    for shown in (repr(settings), repr(account), str(account), account.shown):
        assert KEY not in shown
        assert repr(account.key) not in shown


@pytest.mark.parametrize(
    ("storage", "is_secret"),
    [
        ("UseDevelopmentStorage=true", False),
        (f"AccountName=devstoreaccount1;AccountKey={EMULATOR_KEY}", False),
        (LOCAL, True),
        ("sharedaccesssignature=x", True),
        (LOCAL.replace("AccountKey=", " accountKEY ="), True),
        ("SharedAccessSignature =x", True),
        (f"{LOCAL};BlobEndpoint=http://127.0.0.1:1/{EMULATOR_KEY}", True),
    ],
)
def test_keys_of_ones_own_may_not_be_typed(storage: str, is_secret: bool) -> None:
    assert has_secret(storage) is is_secret
    if is_secret:
        with pytest.raises(InvalidRequestError, match="everybody on this machine") as caught:
            _options(None, None, None, storage)()
        assert storage not in str(caught.value)
    else:
        _options(None, None, None, storage)()


def test_a_topology_passes_it_on() -> None:
    text = f'[queued]\nstorage = "{LOCAL}"\n[[clusters]]\nname = "leader"\n'
    topology = parse_topology(text)
    assert topology_from_values(topology_to_values(topology)) == topology
    assert topology.queued.with_storage("built-in").account() is None
    line = '{"cluster": "c", "node": "c/0", "data": "/d", "coordinator": "x", "queued": %s}'
    values = str(settings_to_values(topology.queued)).replace("'", '"').replace("False", "false")
    config = NodeConfig.from_json(line % values)
    assert config.queued == topology.queued
    assert KEY not in repr(config)
    with pytest.raises(InvalidRequestError, match="a secret"):
        NodeConfig.from_json(line % f'"{LOCAL}"')


def test_signatures_are_azures_own() -> None:
    account = parse_account(LOCAL)
    expiry = datetime.fromtimestamp(NOW + 60, UTC)
    for permission, is_good in (("rcwdl", True), ("wl", False)):
        theirs = generate_container_sas(
            "mine", "box", account_key=KEY, permission=permission, expiry=expiry
        )
        query = dict(parse_qsl(theirs))
        assert is_own_container_sas(account, "box", query, NOW) is is_good
        assert not is_own_container_sas(account, "other", query, NOW)
        assert not is_own_container_sas(account, "box", {**query, "sp": "racwdl"}, NOW)


@pytest.mark.parametrize(("seconds", "is_good"), [(59, True), (60, False), (61, False)])
def test_signatures_end(seconds: int, is_good: bool) -> None:
    account = parse_account(LOCAL)
    query = dict(parse_qsl(service_sas(account, StorageKind.BLOB, "box", "r", NOW + 60)))
    assert is_own_container_sas(account, "box", query, NOW + seconds) is is_good
    assert query["spr"] == "https,http"


def test_names_are_what_azure_takes_and_differ_by_node() -> None:
    names = [
        ResourceNames.of(cluster, secret)
        for cluster, secret in (("c" * 63, b"1"), ("c" * 63, b"2"), ("a--b-", b"1"), ("x", b"1"))
    ]
    for found in names:
        for name in (*found.containers.values(), *found.queues.values()):
            assert re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", name), name
        for name in found.tables.values():
            assert re.fullmatch(r"[a-z][a-z0-9]{2,62}", name), name
    assert len({str(found) for found in names}) == len(names)


async def test_only_what_is_signed_by_us_is_ours(tmp_path: Path) -> None:
    account = parse_account(LOCAL)
    names = ResourceNames.of("leader", SECRET)
    box = names.containers["ingestdata"]
    sas = service_sas(account, StorageKind.BLOB, box, "rcwdl", NOW + 60)
    async with open_files(tmp_path, secret=SECRET, limits=LIMITS) as opened:
        files = QueuedFiles(opened.store, opened.blobs, Inline())
        signer = Signer(files.store.secret)
        built_in = BuiltInStorage(files, signer)
        storage = AccountStorage(
            account, names, None, files=files, own=built_in, clock=None, limits=LIMITS
        )
        own_sas = signer.sas("ingestdata", "r", NOW + 60)
        own = f"http://127.0.0.1:8080/devstoreaccount1/ingestdata/b?{own_sas}"
        for address, expected in {
            f"{account.blob}/{box}/a%20b/c?{sas}": (box, "a b/c"),
            f"{account.blob}/{box}/?{sas}": None,
            f"{account.blob}/{box}/a": None,
            f"{account.blob}/other/a?{sas}": None,
            f"{account.blob}er/{box}/a?{sas}": None,
            f"http://127.0.0.1:2/mine/{box}/a?{sas}": None,
            own: ("ingestdata", "b"),
        }.items():
            assert storage.own(address, START_NS) == expected, address
        late = START_NS + 61 * 10**9
        assert storage.own(f"{account.blob}/{box}/a?{sas}", late) is None


async def test_a_folder_of_before_storage_accounts_is_opened(tmp_path: Path) -> None:
    async with open_files(tmp_path, secret=SECRET, limits=LIMITS) as files:
        files.store.enqueue("text", None, now_ns=1)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("DROP TABLE received")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    async with open_files(tmp_path, secret=b"another", limits=LIMITS) as files:
        assert [message.text for message in files.store.waiting()] == ["text"]
        assert files.store.ended_elsewhere("queue", 1) == []
        assert files.store.secret == SECRET
