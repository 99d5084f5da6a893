"""Roles on real nodes, through the unmodified Python SDK and azure-identity over TLS."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from azure.identity import ClientSecretCredential, ManagedIdentityCredential
from azure.kusto.data import KustoClient, KustoConnectionStringBuilder
from azure.kusto.data.data_format import DataFormat
from azure.kusto.data.exceptions import (
    KustoApiError,
    KustoAuthenticationError,
    KustoServiceError,
)
from azure.kusto.ingest import IngestionProperties, KustoStreamingIngestClient
from guarded_setup import KEYS, address_as, client_as, guarded_setup, guarded_topology, rows_of

from cluster.client import Client
from cluster.errors import AccessDeniedError, UnauthenticatedError
from cluster.gateway.identity.links import Links
from cluster.launcher.links import client_links
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc
from cluster.testing.local import LocalSetup, launcher_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.launcher.setup import Setup
    from cluster.transport.api import Channel

pytestmark = pytest.mark.process

IDENTITY_HEADER = "identity-hdr-s3cret"
TOKEN = "static-t0ken-0123"
SECRETS = (*KEYS.values(), TOKEN, IDENTITY_HEADER)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    topology = guarded_topology(
        "leader",
        "follower",
        identity_header=IDENTITY_HEADER,
        tokens={TOKEN: "aaduser=eve@example.org"},
    )
    with guarded_setup(tmp_path_factory.mktemp("guarded"), topology) as setup:
        yield setup


def url(setup: Setup) -> str:
    return setup.node_of("leader").https


@pytest.fixture(scope="module")
def boss(guarded: Setup) -> Iterator[KustoClient]:
    with client_as(guarded, "leader", "boss") as client:
        client.execute("NetDefaultDB", ".create database Home")
        client.execute("Home", ".create table T (a:long)")
        client.execute("Home", ".alter table T policy streamingingestion enable")
        yield client


def rows(client: KustoClient, text: str, database: str = "Home") -> list[list[Any]]:
    return rows_of(client, database, text)


def test_roles_of_an_application(guarded: Setup, boss: KustoClient) -> None:
    with client_as(guarded, "leader", "ann") as ann:
        with pytest.raises(KustoApiError, match=r"\.add database Home viewers") as refused:
            ann.execute("Home", "T | count")
        assert refused.value.http_response.status_code == 403
        ingest = KustoStreamingIngestClient(address_as(guarded, "leader", "ann"))
        properties = IngestionProperties("Home", "T", data_format=DataFormat.CSV)
        with pytest.raises(KustoApiError, match=r"\.add table T ingestors \('aadapp=ann;adfs'\)"):
            ingest.ingest_from_stream(io.BytesIO(b"1\n"), properties)
        # A tenant that is not the one of the token: there is one directory.
        boss.execute("Home", ".add table T ingestors ('aadapp=ann;72f988bf-86f1-41af')")
        ingest.ingest_from_stream(io.BytesIO(b"1\n2\n"), properties)
        assert rows(boss, "T | count") == [[2]]
        with pytest.raises(KustoApiError):
            ann.execute("Home", "T | count")
        with pytest.raises(KustoApiError):
            ann.execute("Home", ".drop table T")
        assert rows(ann, ".show table T principal roles") == [
            ["Table Home.T", "ann", "", "Ingestor"]
        ]
        boss.execute("Home", ".add database Home viewers ('aadapp=ann')")
        assert rows(ann, "T | count") == [[2]]
        with pytest.raises(KustoApiError):
            ann.execute("NetDefaultDB", "print 1")


def test_a_token_of_one_node_opens_the_others(guarded: Setup) -> None:
    with client_as(guarded, "follower", "boss") as client:
        assert rows(client, "print 1", "NetDefaultDB") == [[1]]


def test_a_wrong_secret_is_the_sdks_own_error(guarded: Setup) -> None:
    with (
        client_as(guarded, "leader", "ann", "wrong-s3cret") as client,
        pytest.raises(KustoAuthenticationError, match="AADSTS7000215") as refused,
    ):
        client.execute("Home", "T")
    assert "wrong-s3cret" not in str(refused.value)
    with (
        client_as(guarded, "leader", "nobody", "x") as client,
        pytest.raises(KustoAuthenticationError, match="AADSTS700016"),
    ):
        client.execute("Home", "T")


@pytest.mark.parametrize("token", ["", "nobody's"])
def test_who_says_nothing_or_nonsense_is_unauthorized(guarded: Setup, token: str) -> None:
    given: Any = url(guarded)
    if token:
        given = KustoConnectionStringBuilder.with_aad_user_token_authentication(given, token)
    with (
        KustoClient(given) as client,
        pytest.raises(KustoServiceError, match=r"401\. Missing adequate access rights"),
    ):
        client.execute("Home", "T")


def test_static_tokens_have_roles(guarded: Setup, boss: KustoClient) -> None:
    given = KustoConnectionStringBuilder.with_aad_user_token_authentication(url(guarded), TOKEN)
    with KustoClient(given) as eve:
        with pytest.raises(KustoApiError, match=r"eve@example\.org"):
            eve.execute("Home", ".show tables")
        boss.execute("Home", ".add database Home monitors ('aaduser=eve@example.org')")
        assert [row[0] for row in rows(eve, ".show tables")] == ["T"]


@pytest.mark.parametrize("path", ["/adfs", ""])
def test_azure_identity_gets_a_token(guarded: Setup, boss: KustoClient, path: str) -> None:
    credential = ClientSecretCredential(
        "contoso" if path else "adfs",
        "boss",
        KEYS["boss"],
        authority=url(guarded) + path,
    )
    token = credential.get_token("https://kusto.kusto.windows.net/.default").token
    given = KustoConnectionStringBuilder.with_aad_user_token_authentication(url(guarded), token)
    with KustoClient(given) as client:
        assert rows(client, "print 1") == [[1]]


def test_a_managed_identity_gets_a_token_over_plain_http(
    guarded: Setup, boss: KustoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", guarded.node_of("leader").http + "/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    boss.execute("Home", ".add database Home viewers ('aadapp=managed-identity')")
    token = ManagedIdentityCredential().get_token("https://kusto.kusto.windows.net/.default").token
    given = KustoConnectionStringBuilder.with_aad_user_token_authentication(url(guarded), token)
    with KustoClient(given) as client:
        assert rows(client, "print 1") == [[1]]


async def test_grpc_asks_the_same(guarded: Setup, boss: KustoClient) -> None:
    node, authority = guarded.node_of("leader"), client_links(guarded).authority
    assert authority
    stranger: Any = Links(authority=authority).transport()
    async with stranger.connect(node.grpc) as channel:
        client = Client(channel)
        with pytest.raises(UnauthenticatedError):
            await client.query("Home", "T | count")
        with pytest.raises(UnauthenticatedError):
            await client.command("Home", ".show tables")
        with pytest.raises(UnauthenticatedError):
            await client.ingest("Home", "T", b"1\n")
    async with stranger.connect(guarded.coordinator.grpc) as channel:
        with pytest.raises(UnauthenticatedError):
            await status(channel)
    own = client_links(guarded).transport()
    async with own.connect(node.grpc) as channel:
        assert (await Client(channel).query("Home", "print 1")).scalar() == 1
    async with own.connect(guarded.coordinator.grpc) as channel:
        assert len((await status(channel)).clusters) == 2
    static = replace(stranger, client_interceptors=(with_token(TOKEN),))
    async with static.connect(node.grpc) as channel:
        with pytest.raises(AccessDeniedError):
            await Client(channel).ingest("Home", "T", b"1\n")


async def status(channel: Channel) -> Any:
    stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
    return await stub.GetStatus(coordinator_pb2.GetStatusRequest(), timeout=10)


def with_token(token: str) -> Any:
    @asynccontextmanager
    async def add(call: Any) -> Any:
        yield replace(call, metadata=(*call.metadata, ("authorization", f"Bearer {token}")))

    return add


async def test_a_follower_decides_by_the_kind_of_its_attachment(
    guarded: Setup, boss: KustoClient
) -> None:
    """Replication runs over TLS with the setup's secret; roles are the leader's and its own."""
    boss.execute("NetDefaultDB", ".create database Shared")
    boss.execute("Shared", ".create table T (a:long)")
    boss.execute("Shared", ".set-or-append T <| print a = long(1)")
    boss.execute("Shared", ".add database Shared viewers ('aadapp=ann')")
    launcher = launcher_in(guarded.folder.parent)
    async with LocalSetup.connected(launcher, guarded, database="Shared") as local:
        for kind, allowed in (("union", True), ("replace", False), ("none", True)):
            await local.attach("follower")
            seen = (await local.client("leader").query("Shared", "T | count")).position
            assert seen is not None
            await local.wait_for("follower", seen)
            own = local.client("follower")
            await own.command(
                "Shared", f".alter follower database Shared principals-modification-kind = {kind}"
            )
            assert await trio.to_thread.run_sync(may_read, guarded) is allowed, kind
            await local.detach("follower")


def may_read(setup: Setup) -> bool:
    with client_as(setup, "follower", "ann") as ann:
        try:
            return rows(ann, "T | count", "Shared") == [[1]]
        except KustoApiError as error:
            if "not authorized to read database 'Shared'" in str(error):
                return False
            raise


def test_no_secret_is_anywhere_it_can_be_read(guarded: Setup, boss: KustoClient) -> None:
    token = boss._aad_helper.acquire_authorization_header().removeprefix("Bearer ")
    own = client_links(guarded).secret
    secrets = (*SECRETS, token, own)
    texts = [path.read_text(errors="replace") for path in (guarded.folder / "logs").iterdir()]
    for command in (".show commands", ".show queries", ".show journal", ".show operations"):
        texts.append(json.dumps(rows(boss, command, "NetDefaultDB"), default=str))
    home = guarded.folder.parent / "home"
    for arguments in (["status", "--json"], ["status"]):
        shown = subprocess.run(
            [sys.executable, "-m", "cluster.cli.main", *arguments, "--name", "local"],
            env={**os.environ, "REMORA_HOME": str(home)},
            capture_output=True,
            text=True,
            check=True,
        )
        texts.append(shown.stdout + shown.stderr)
    assert all(texts)
    for secret in secrets:
        assert not any(secret in text for text in texts)
    for path in guarded.folder.rglob("*"):
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
            assert path.name in ("setup.json", "setup.key")
            assert path.stat().st_mode & 0o077 == 0
