"""``remora up``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.cli.options import DEFAULT_NAME, AsJson, Name, TimeoutSeconds, with_name
from cluster.cli.output import console, plain_table, print_json
from cluster.cli.running import launcher, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.launcher.security import SecurityOptions
    from cluster.launcher.setup import Setup

TopologyFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="TOPOLOGY.toml",
        envvar="REMORA_TOPOLOGY",
        exists=True,
        dir_okay=False,
        help="Clusters to start; without it leader, follower1 and follower2.",
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="REMORA_DATA", file_okay=False, help="Where data and logs are kept."
    ),
]

AllowHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        envvar="REMORA_ALLOW_HOST",
        help="Serve HTTP also under this name: that of a container, *.kusto.windows.net, or *. "
        "May be repeated.",
    ),
]


Auth = Annotated[
    str | None,
    typer.Option(
        "--auth",
        metavar="MODE",
        envvar="REMORA_AUTH",
        help="optional or required: whether callers must say who they are with a token; default "
        "as the topology says, else optional: who says nothing is an administrator.",
    ),
]
Tls = Annotated[
    bool | None,
    typer.Option(
        "--tls/--no-tls",
        envvar="REMORA_TLS",
        help="HTTPS and gRPC with a certificate of a private authority; remora certs says how to "
        "trust it.",
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        envvar="REMORA_HOST",
        help="Where nodes listen for gRPC and HTTPS; default loopback. Others take --auth required "
        "and --tls.",
    ),
]
QueuedStorage = Annotated[
    str | None,
    typer.Option(
        "--queued-storage",
        metavar="STORAGE",
        envvar="REMORA_QUEUED_STORAGE",
        help="Where queued clients upload: built-in, the default, Azurite's address, or a "
        "connection string. One with a key of yours only in the variable, or in the topology.",
    ),
]


def up(
    context: typer.Context,
    topology: TopologyFile = None,
    name: Name = DEFAULT_NAME,
    data: DataFolder = None,
    allow_host: AllowHosts = None,
    auth: Auth = None,
    tls: Tls = None,
    host: Host = None,
    queued_storage: QueuedStorage = None,
    as_json: AsJson = False,
    timeout: TimeoutSeconds = 30.0,
) -> None:
    """Starts a coordinator and clusters, and returns when all of it is ready.

    Whatever runs already is left alone; data of an earlier run is used again.
    """
    said = queued_storage or None  # an empty variable says nothing
    source = context.get_parameter_source("queued_storage")
    is_typed = source is not None and source.name == "COMMANDLINE"
    options = _options(auth, tls, host, said if is_typed else None)
    run(_up, topology, name, data, allow_host or [], options, said, as_json, timeout)


def _options(
    auth: str | None, tls: bool | None, host: str | None, typed_storage: str | None
) -> Callable[[], SecurityOptions]:
    """What the options say; raises InvalidRequestError when asked.

    ``typed_storage`` is a connection string in the command line, which everybody here can read.
    """

    def options() -> SecurityOptions:
        from cluster.access.settings import MODES
        from cluster.errors import InvalidRequestError
        from cluster.launcher.security import SecurityOptions
        from cluster.queued.account.settings import has_secret

        if typed_storage is not None and has_secret(typed_storage):
            raise InvalidRequestError(
                "--queued-storage has a key, which everybody on this machine can read there",
                remedy="Put it in REMORA_QUEUED_STORAGE, or in [queued] storage of the topology.",
            )
        if auth not in (None, *MODES):
            raise InvalidRequestError(f"--auth must be one of {', '.join(MODES)}, not {auth!r}")
        return SecurityOptions(auth, tls, host)

    return options


async def _up(
    topology: Path | None,
    name: str,
    data: Path | None,
    allow_hosts: list[str],
    security: Callable[[], SecurityOptions],
    queued_storage: str | None,
    as_json: bool,
    timeout_seconds: float,
) -> None:
    from cluster.cli.view import setup_view

    started = time.perf_counter()
    wanted = None
    if topology is not None:
        from cluster.launcher.topology import parse_topology

        wanted = parse_topology(_read(topology))
    operator = launcher(name, ready_seconds=timeout_seconds)
    existed = operator.exists(data)
    setup = await operator.up(
        wanted,
        data,
        allow_hosts=allow_hosts,
        security=security(),
        queued_storage=queued_storage,
    )
    seconds = time.perf_counter() - started
    # The first time they are what the topology says; later the coordinator knows better.
    view = setup_view(setup, await _capabilities(setup) if existed else None)
    if as_json:
        print_json(view)
    else:
        _print(setup, view, seconds)


def _read(topology: Path) -> str:
    from cluster.errors import InvalidRequestError

    try:
        return topology.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{topology} cannot be read: {error}") from None


async def _capabilities(setup: Setup) -> dict[str, bool]:
    from cluster.cli.session import open_coordinator
    from cluster.rpc.v1 import coordinator_pb2

    async with open_coordinator(setup) as coordinator:
        response: coordinator_pb2.GetStatusResponse = await coordinator.GetStatus(
            coordinator_pb2.GetStatusRequest(), timeout=5.0
        )
    return {cluster.name: cluster.streaming_ingestion for cluster in response.clusters}


def _print(setup: Setup, view: dict[str, Any], seconds: float) -> None:
    table = plain_table(("process", "streaming", "HTTP", "gRPC", "pid"), right=("pid",))
    coordinator = view["coordinator"]
    table.add_row("coordinator", "", "", coordinator["grpc"], str(coordinator["pid"]))
    for cluster in view["clusters"]:
        streaming = "on" if cluster["streaming_ingestion"] else "off"
        for node in cluster["nodes"]:
            doors = node["https"] or node["http"] or "", node["grpc"]
            table.add_row(node["id"], streaming, *doors, str(node["pid"]))
    output = console()
    output.print(f"setup '{setup.name}' is ready after {seconds:.1f} s\n", markup=False)
    output.print(table)
    typer.echo(f"\ndata and logs: {setup.folder}")
    typer.echo("\n" + _client_lines(setup))


def _client_lines(setup: Setup) -> str:
    """Lines to paste, with this setup's names and addresses."""
    first = setup.topology.clusters[0].name
    node = setup.node_of(first)
    lines = [
        with_name("remora status --watch", setup.name),
        with_name(f"remora command {first} NetDefaultDB '.create database MyDb'", setup.name),
        with_name(f"remora query {first} MyDb 'print 1'", setup.name),
    ]
    if len(setup.topology.clusters) > 1:
        follower = setup.topology.clusters[1].name
        lines.append(with_name(f"remora attach {first}/MyDb {follower}", setup.name))
    url, is_required = node.https or node.http, setup.topology.security.auth.is_required
    trust = f"--cacert {setup.folder / 'ca.pem'} " if node.https else ""
    if node.https:
        lines.append("remora certs    # how SDKs come to trust the certificate")
    if url:
        command = '{"db":"NetDefaultDB","csl":".show databases"}'
        headers = "-H 'Content-Type: application/json'"
        headers += ' -H "Authorization: Bearer $TOKEN"' if is_required else ""
        lines.append(f"curl {trust}{headers} -d '{command}' {url}/v1/rest/mgmt")
    grpcurl = trust.replace("--cacert", "-cacert") or "-plaintext "
    lines += [
        f"grpcurl {grpcurl}{node.grpc} list",
        with_name("remora down", setup.name) + "    # keeps the data; remora destroy deletes it",
    ]
    python = (_APPLICATION if is_required else _SDK).format(url=url) if url else ""
    if not (node.https or is_required):
        python += _TRIO.format(address=node.grpc)
    return "\n".join(["To paste:", *(f"  {line}" for line in lines), "", python])


_SDK = """\
From Python, with azure-kusto-data:
  from azure.kusto.data import KustoClient
  with KustoClient("{url}") as client:
      print(client.execute("NetDefaultDB", "print 1").primary_results[0])

"""

_APPLICATION = """\
From Python, with azure-kusto-data, as an application of the [auth] table:
  from azure.kusto.data import KustoClient, KustoConnectionStringBuilder
  address = KustoConnectionStringBuilder.with_aad_application_key_authentication(
      "{url}", "ID", "SECRET", "adfs")
  with KustoClient(address) as client:
      print(client.execute("NetDefaultDB", "print 1").primary_results[0])
"""

_TRIO = """\
From Python, with gRPC:
  import trio
  from cluster.client import Client
  from cluster.transport.select import transport_from_environment

  async def main():
      async with transport_from_environment().connect("{address}") as node:
          print((await Client(node).query("NetDefaultDB", "print 1")).rows())

  trio.run(main)"""
