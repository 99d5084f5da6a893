"""Shared access signatures, identity tokens, and addresses made with them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from cluster.errors import IdentityTokenError, NotSupportedError
from cluster.limits import LIMITS
from cluster.queued.addresses import storage_path
from cluster.queued.resources import BuiltInAddresses, StorageResources, own_blob
from cluster.queued.signatures import SignatureRefusedError, Signer
from cluster.request import Caller, ClientRequest

NOW = 1_700_000_000
SIGNER = Signer(b"a" * 32)
OTHER = Signer(b"b" * 32)


class FixedClock:
    def now_ns(self) -> int:
        return NOW * 10**9

    def monotonic(self) -> float:
        return 0.0


def query(text: str) -> dict[str, str]:
    return dict(parse_qsl(text))


def test_a_signature_is_good_for_its_resource_permissions_and_time() -> None:
    found = query(SIGNER.sas("box", "rw", NOW + 10))
    SIGNER.check("box", found, "r", NOW + 9.9)
    SIGNER.check("box", found, "xw", NOW)
    for resource, wanted, now, code in (
        ("other", "r", NOW, "AuthenticationFailed"),
        ("box", "r", NOW + 10, "AuthenticationFailed"),
        ("box", "d", NOW, "AuthorizationPermissionMismatch"),
    ):
        with pytest.raises(SignatureRefusedError) as caught:
            SIGNER.check(resource, found, wanted, now)
        assert caught.value.code == code


@pytest.mark.parametrize("name", ["se", "sp", "sig"])
def test_a_signature_that_was_changed_is_refused(name: str) -> None:
    found = query(SIGNER.sas("box", "r", NOW + 10))
    for value in ("", "racwdl", found[name] + "x", "ä"):
        with pytest.raises(SignatureRefusedError):
            SIGNER.check("box", {**found, name: value}, "r", NOW)
    with pytest.raises(SignatureRefusedError):
        OTHER.check("box", found, "r", NOW)
    with pytest.raises(SignatureRefusedError):
        SIGNER.check("box", {}, "r", NOW)


def test_a_token_says_who_got_it() -> None:
    caller = Caller("aadapp=1;t", frozenset({"aadgroup=g"}))
    token = SIGNER.identity(caller, NOW + 10)
    assert SIGNER.caller(token, NOW) == caller
    for signer, text, now in (
        (OTHER, token, NOW),
        (SIGNER, token, NOW + 10),
        (SIGNER, "x" + token, NOW),
        (SIGNER, token[:-1], NOW),
        (SIGNER, "", NOW),
        (SIGNER, "ä.ä", NOW),
    ):
        with pytest.raises(IdentityTokenError):
            signer.caller(text, now)


def resources(own: str = "") -> StorageResources:
    addresses = BuiltInAddresses(SIGNER, lambda: own)
    return StorageResources(SIGNER, addresses, clock=FixedClock(), limits=LIMITS)


async def test_addresses_are_where_the_client_came_from() -> None:
    request = ClientRequest(Caller(), origin="https://ingest-x:8443")
    found = await resources("http://127.0.0.1:1").ingestion_resources(request)
    assert [kind for kind, _ in found] == [
        "SecuredReadyForAggregationQueue", "SuccessfulIngestionsQueue", "FailedIngestionsQueue",
        "TempStorage", "IngestionsStatusTable",
    ]  # fmt: skip
    for _, address in found:
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}" == "https://ingest-x:8443"
        assert parts.path.startswith("/devstoreaccount1/")
        SIGNER.check(parts.path.rpartition("/")[2], query(parts.query), "rap", NOW)


@pytest.mark.parametrize(
    ("origin", "end"),
    [
        ("https://mycluster.kusto.windows.net", ""),
        ("https://ingest-mycluster.westeurope.kusto.windows.net:8443", ":8443"),
    ],
)
async def test_who_comes_by_a_name_of_the_service_gets_names_of_its_storage(
    origin: str, end: str
) -> None:
    found = await resources().ingestion_resources(ClientRequest(Caller(), origin=origin))
    kinds = ("queue", "queue", "queue", "blob", "table")
    for (_, address), kind in zip(found, kinds, strict=True):
        parts = urlsplit(address)
        assert parts.netloc == f"devstoreaccount1.{kind}.core.windows.net{end}"
        assert parts.path.count("/") == 1
        assert storage_path(parts.netloc, parts.path) == f"/devstoreaccount1{parts.path}"
    (uploads,) = (address for title, address in found if title == "TempStorage")
    address, _, sas = uploads.partition("?")
    assert own_blob(f"{address}/a%20b?{sas}", SIGNER, NOW) == ("ingestdata", "a b")


@pytest.mark.parametrize(
    "host",
    ["localhost", "mine.blob.core.windows.net", "devstoreaccount1.blob.core.windows.net.evil", ""],
)
def test_other_hosts_have_the_account_in_the_path(host: str) -> None:
    assert storage_path(host, "/ingestdata/a") == "/ingestdata/a"


async def test_without_an_address_of_the_client_the_node_has_its_own() -> None:
    request = ClientRequest(Caller())
    (export,) = await resources("http://127.0.0.1:1").export_containers(request)
    (temporary,) = await resources("http://127.0.0.1:1").temporary_storage(request)
    assert export.startswith("http://127.0.0.1:1/devstoreaccount1/exportdata?")
    assert temporary.startswith("http://127.0.0.1:1/devstoreaccount1/tempstorage?")
    with pytest.raises(NotSupportedError):
        await resources().ingestion_resources(request)


async def test_the_token_of_a_caller() -> None:
    caller = Caller("aadapp=1;t")
    token = await resources().identity_token(ClientRequest(caller))
    assert SIGNER.caller(token, NOW) == caller


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/devstoreaccount1/ingestdata/a/b.csv", ("ingestdata", "a/b.csv")),
        ("/devstoreaccount1%2Fingestdata/a%20b", ("ingestdata", "a b")),
        ("/other/ingestdata/a", None),
        ("/devstoreaccount1/ingestdata", None),
        ("/devstoreaccount1/exportdata/a", None),
    ],
)
def test_own_blobs_are_known_by_path_and_signature(
    path: str, expected: tuple[str, str] | None
) -> None:
    sas = SIGNER.sas("ingestdata", "r", NOW + 10)
    assert own_blob(f"http://any:1{path}?{sas}", SIGNER, NOW) == expected
    assert own_blob(f"http://any:1{path}?sig=x", SIGNER, NOW) is None
    assert own_blob(f"http://any:1{path}?{sas}", OTHER, NOW) is None
