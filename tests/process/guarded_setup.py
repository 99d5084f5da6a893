"""A guarded setup of real processes: TLS, authentication required, and two applications.

``boss`` is an administrator of every cluster, ``ann`` is nobody until somebody says otherwise.
The authority is trusted by one environment variable, as a user would trust it; nothing of the SDKs
is patched.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio
from azure.kusto.data import KustoClient, KustoConnectionStringBuilder

from cluster.launcher.topology import parse_topology
from cluster.testing.local import launch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from azure.kusto.data import ClientRequestProperties

    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.launcher.topology import Topology

KEYS: Final = {"boss": "boss-s3cret-0", "ann": "ann-s3cret-00"}
"""By application."""

_BUNDLE: Final = "REQUESTS_CA_BUNDLE"


def guarded_topology(
    *clusters: str, identity_header: str = "", tokens: dict[str, str] | None = None
) -> Topology:
    """These clusters, all taking streams; ``tokens`` are principals by token that is theirs."""
    identity = f'identity_header = "{identity_header}"' if identity_header else ""
    applications = "".join(
        f'[[auth.applications]]\nid = "{name}"\nsecret = "{secret}"\n'
        for name, secret in KEYS.items()
    )
    principals = "".join(
        f'[[auth.tokens]]\ntoken = "{token}"\nprincipal = "{principal}"\n'
        for token, principal in (tokens or {}).items()
    )
    return parse_topology(
        f"""
[limits]
lease_seconds = 2.0
heartbeat_seconds = 0.25

[auth]
mode = "required"
admins = ["aadapp=boss"]
{identity}

{applications}
{principals}

[tls]
enabled = true
"""
        + "".join(
            f'[[clusters]]\nname = "{name}"\nstreaming_ingestion = true\n' for name in clusters
        )
    )


@contextmanager
def guarded_setup(folder: Path, topology: Topology) -> Iterator[Setup]:
    """The topology, running in ``folder`` and trusted by the SDKs of this process; then gone."""

    async def start() -> tuple[Launcher, Setup]:
        return await launch(folder, limits={}, topology=topology)

    launcher, setup = trio.run(start)
    before = os.environ.get(_BUNDLE)
    os.environ[_BUNDLE] = str(folder / "home" / "tls" / "trust.pem")
    try:
        yield setup
    finally:
        os.environ.pop(_BUNDLE)
        if before is not None:
            os.environ[_BUNDLE] = before
        trio.run(launcher.destroy)


def address_as(setup: Setup, cluster: str, who: str, secret: str | None = None) -> Any:
    """How the SDKs reach a cluster as an application; ``secret``: not its own."""
    return KustoConnectionStringBuilder.with_aad_application_key_authentication(
        setup.node_of(cluster).https, who, KEYS[who] if secret is None else secret, "contoso"
    )


def client_as(setup: Setup, cluster: str, who: str, secret: str | None = None) -> KustoClient:
    """A client of a cluster as an application; see :func:`address_as`."""
    return KustoClient(address_as(setup, cluster, who, secret))


def rows_of(
    client: KustoClient,
    database: str,
    text: str,
    properties: ClientRequestProperties | None = None,
) -> list[list[Any]]:
    """The rows of the first primary result."""
    answer = client.execute(database, text, properties)
    return [list(row) for row in answer.primary_results[0]]
