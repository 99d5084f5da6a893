"""Who asks, with the Python SDKs: keys of applications, tokens, over TLS and without."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from azure.kusto.data import KustoClient, KustoConnectionStringBuilder
from azure.kusto.data.data_format import DataFormat
from azure.kusto.data.exceptions import KustoApiError, KustoAuthenticationError
from azure.kusto.ingest import (
    IngestionProperties,
    IngestionStatus,
    KustoStreamingIngestClient,
    ManagedStreamingIngestClient,
    QueuedIngestClient,
)
from sdk_setup import APPLICATION, STRANGER, sdk_call

if TYPE_CHECKING:
    from conftest import Ends
    from sdk_setup import SdkClusters

    from cluster.access.settings import Application

ASYNC_PROGRAM = """
import asyncio, sys
from azure.kusto.data import KustoConnectionStringBuilder
from azure.kusto.data.aio import KustoClient

url, database, *application = sys.argv[1:]


async def main():
    with_key = KustoConnectionStringBuilder.with_aad_application_key_authentication
    async with KustoClient(with_key(url, *application)) as client:
        response = await client.execute(database, "T | count")
        print(response.primary_results[0][0]["Count"])


asyncio.run(main())
"""

WHO = "print who = current_principal()"


@pytest.fixture(autouse=True)
def _trusts(clusters: SdkClusters, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that `remora certs` tells to set."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(clusters.trust))
    monkeypatch.setenv("SSL_CERT_FILE", str(clusters.trust))


@pytest.fixture
def table(ends: Ends) -> Ends:
    ends.command(".create table T (a: int, b: string)")
    ends.command(".alter table T policy streamingingestion enable")
    return ends


def with_key(url: str, who: Application, key: str = "") -> KustoConnectionStringBuilder:
    return KustoConnectionStringBuilder.with_aad_application_key_authentication(
        url, who.id, key or who.secret, who.tenant
    )


def rows_of(response: Any) -> list[list[Any]]:
    return [list(row) for row in response.primary_results[0]]


@sdk_call(
    "python",
    "KustoConnectionStringBuilder.with_aad_application_key_authentication",
    "works",
    "over https and http",
)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_an_application_with_its_key(clusters: SdkClusters, table: Ends, scheme: str) -> None:
    url = clusters.https_url if scheme == "https" else clusters.url
    builder = with_key(url("leader"), APPLICATION)
    properties = IngestionProperties(table.database, "T", data_format=DataFormat.CSV)
    with KustoStreamingIngestClient(builder) as client:
        client.ingest_from_stream(io.BytesIO(b"1,x\n"), properties)
    assert table.rows("T") == [[1, "x"]]
    with KustoClient(with_key(url("follower"), APPLICATION)) as client:
        ((who,),) = rows_of(client.execute(table.database, WHO))
    assert who.startswith(f"aadapp={APPLICATION.id}")


def test_everything_over_tls(clusters: SdkClusters, table: Ends) -> None:
    builder = with_key(clusters.https_url("leader"), APPLICATION)
    properties = IngestionProperties(
        table.database, "T", data_format=DataFormat.CSV, flush_immediately=True
    )
    with ManagedStreamingIngestClient(builder) as managed, QueuedIngestClient(builder) as queued:
        streamed = managed.ingest_from_stream(io.BytesIO(b"1,streamed\n"), properties)
        assert streamed.status is IngestionStatus.SUCCESS
        queued.ingest_from_stream(io.BytesIO(b"2,queued\n"), properties)
    table.pair.leader.wait_for_rows("T", 2)
    assert table.rows("T | order by a asc") == [[1, "streamed"], [2, "queued"]]


@sdk_call("python", "aio.KustoClient.execute", "works", "with a key over TLS")
def test_the_client_of_asyncio_with_a_key(clusters: SdkClusters, table: Ends) -> None:
    # A program of its own: the packages read what to trust when they are imported.
    table.pair.wait_until_followed()
    url = clusters.https_url("follower")
    command = (sys.executable, "-c", ASYNC_PROGRAM, url, table.database)
    done = subprocess.run(
        (*command, APPLICATION.id, APPLICATION.secret, APPLICATION.tenant),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@sdk_call("python", "KustoAuthenticationError", "refused as documented", "a wrong key")
def test_a_wrong_key(clusters: SdkClusters, table: Ends) -> None:
    builder = with_key(clusters.https_url("leader"), APPLICATION, "wrong")
    with KustoClient(builder) as client, pytest.raises(KustoAuthenticationError):
        client.execute(table.database, "T")


def test_an_application_without_a_role(clusters: SdkClusters, table: Ends) -> None:
    with KustoClient(with_key(clusters.https_url("leader"), STRANGER)) as client:
        for text in ("T", ".show tables", ".drop table T"):
            with pytest.raises(KustoApiError) as raised:
                client.execute(table.database, text)
            error = raised.value.get_api_error()
            assert (error.code, error.permanent) == ("Forbidden", True)
            assert raised.value.http_response.status_code == 403
    who = f"'aadapp={STRANGER.id};{STRANGER.tenant}'"
    table.command(f".add database {table.database} viewers ({who})")
    with KustoClient(with_key(clusters.https_url("leader"), STRANGER)) as client:
        assert rows_of(client.execute(table.database, "T | count")) == [[0]]


@sdk_call(
    "python",
    "KustoConnectionStringBuilder.with_azure_token_credential",
    "works",
    "a managed identity, over http",
)
@sdk_call(
    "python",
    "KustoConnectionStringBuilder.with_aad_managed_service_identity_authentication",
    "works",
)
def test_a_managed_identity(
    clusters: SdkClusters, table: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.identity import ManagedIdentityCredential

    url = clusters.url("leader")
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "any")
    with ManagedIdentityCredential() as credential:
        for builder in (
            KustoConnectionStringBuilder.with_azure_token_credential(url, credential),
            KustoConnectionStringBuilder.with_aad_managed_service_identity_authentication(url),
        ):
            with KustoClient(builder) as client:
                assert rows_of(client.execute(table.database, "print 1")) == [[1]]


@sdk_call(
    "python",
    "KustoConnectionStringBuilder.with_aad_user_password_authentication",
    "not supported",
    "there are no people with passwords; a static token of a topology is somebody",
)
@sdk_call("python", "KustoConnectionStringBuilder.with_aad_device_authentication", "not supported")
def test_logins_of_people(clusters: SdkClusters, table: Ends) -> None:
    url = clusters.https_url("leader")
    for builder in (
        KustoConnectionStringBuilder.with_aad_user_password_authentication(
            url, "ann@example.org", "secret", "adfs"
        ),
        KustoConnectionStringBuilder.with_aad_device_authentication(url, "adfs"),
    ):
        with KustoClient(builder) as client, pytest.raises(KustoAuthenticationError):
            client.execute(table.database, "print 1")
