"""The doors of a node: gRPC services and HTTP routes in front of what answers them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.gateway.identity.certificates import server_context
from cluster.gateway.identity.door import LoginEndpoint
from cluster.gateway.identity.hosts import advertised, advertised_url
from cluster.gateway.identity.provider import identity_routes
from cluster.gateway.ingestion import IngestionServicer
from cluster.gateway.management import ManagementServicer
from cluster.gateway.query import QueryService
from cluster.gateway.rest.app import RestDoor, ServiceFacts, rest_routes
from cluster.gateway.rest.headers import ActivityIds
from cluster.gateway.rest.hosts import Hosts, reached_at
from cluster.gateway.rest.query import RestQueries
from cluster.gateway.rest.queued import QueuedRest
from cluster.gateway.rest.sources import UriSources
from cluster.gateway.storage.routes import StorageDoor, storage_routes
from cluster.rpc.v1 import (
    ingestion_pb2_grpc,
    management_pb2_grpc,
    query_pb2_grpc,
    replication_pb2_grpc,
)
from cluster.transport.standard import add_standard_services

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.catalog.model import Version
    from cluster.commands.doors import ResourcesDoor
    from cluster.commands.service import CommandService
    from cluster.gateway.answering import Answering
    from cluster.gateway.http.server import HttpServer
    from cluster.gateway.identity.door import IdentityDoor
    from cluster.gateway.replication import ReplicationService
    from cluster.ingest.driver import IngestPipeline
    from cluster.node.config import NodeConfig
    from cluster.node.platform import Platform
    from cluster.queued.service import QueuedIngestion
    from cluster.transport.api import Server
    from cluster.transport.standard import Health


@dataclass(frozen=True, slots=True)
class Behind:
    """What the doors pass requests to."""

    pipeline: IngestPipeline
    commands: CommandService
    answering: Answering
    replication: ReplicationService
    identity: IdentityDoor
    queued: QueuedIngestion | None
    resources: ResourcesDoor
    version_of: Callable[[str], Version]


def add_grpc_services(server: Server, behind: Behind) -> Health:
    """Adds every gRPC service to a server that does not serve yet."""
    calls = behind.identity.calls
    ingestion_pb2_grpc.add_IngestionServiceServicer_to_server(
        IngestionServicer(behind.pipeline, version_of=behind.version_of, calls=calls), server
    )
    management_pb2_grpc.add_ManagementServiceServicer_to_server(
        ManagementServicer(behind.commands, calls), server
    )
    query_pb2_grpc.add_QueryServiceServicer_to_server(QueryService(behind.answering, calls), server)
    replication_pb2_grpc.add_ReplicationServiceServicer_to_server(behind.replication, server)
    return add_standard_services(server)


def listen_grpc(server: Server, config: NodeConfig, platform: Platform) -> str:
    """Binds the node's gRPC port; returns where others reach it.

    Raises OSError if the port is taken.
    """
    return advertised(server.listen(f"{config.host or platform.host}:{config.grpc_port}"))


@dataclass(frozen=True, slots=True)
class HttpDoor:
    """The HTTP server of a node, bound and not serving yet, and where it is.

    ``tls_url`` is empty where there is no TLS.
    """

    server: HttpServer
    url: str
    tls_url: str = ""


def open_http(config: NodeConfig, platform: Platform, behind: Behind) -> HttpDoor | None:
    """Binds the node's HTTP port, and the one with TLS; None where the platform has no HTTP.

    Raises OSError if a port is taken.
    """
    if platform.http_server is None:
        return None
    identity, login = behind.identity, LoginEndpoint()
    facts = ServiceFacts(config.cluster, config.node, platform.process_id)
    queries = RestQueries(
        behind.answering,
        behind.commands,
        authenticate=identity.authenticator.caller_of,
        clock=platform.clock,
        limits=config.limits,
        facts=facts,
    )
    routes = rest_routes(
        cluster=config.cluster,
        pipeline=behind.pipeline,
        sources=UriSources(
            folder=config.ingest_path,
            work=config.data / "ingest-http-work",
            limits=config.limits,
        ),
        limits=config.limits,
        authorize=identity.authorize,
        login_endpoint=login,
        more=(*queries.routes(), *identity_routes(identity.provider)),
    )
    if behind.queued is not None:
        storage = StorageDoor(behind.queued, clock=platform.clock, limits=config.limits)
        routes.add(*storage_routes(storage, config.limits))
        preview = QueuedRest(
            behind.queued,
            behind.resources,
            authenticate=identity.authenticator.caller_of,
            authorize=identity.authorize,
            limits=config.limits,
        )
        routes.add(*preview.routes())
    front = RestDoor(
        routes,
        hosts=Hosts((*config.allow_hosts, *reached_at(config.host))),
        ids=ActivityIds(platform.random_bits),
        clock=platform.clock,
        facts=facts,
        login_endpoint=login,
    )
    server = platform.http_server(
        front.answer,
        body_limit=lambda method, path: routes.body_bytes(
            method, path, config.limits.http_body_bytes
        ),
        limits=config.limits,
    )
    door = HttpDoor(server, server.listen(platform.host, config.http_port))
    if config.links.certificate:
        tls = server_context(Path(config.links.certificate), Path(config.links.key))
        bound = server.listen(config.host or platform.host, config.https_port, tls)
        door = replace(door, tls_url=advertised_url(bound))
        login.serve_at(bound)
    return door
