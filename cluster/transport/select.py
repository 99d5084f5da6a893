"""Which gRPC transport a process runs on: one environment variable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cluster.limits import LIMITS, Limits
from cluster.transport.core import GrpcTransport
from cluster.transport.fallback import FallbackTransport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.transport.credentials import ChannelCredentials, ServerCredentials
    from cluster.transport.interceptors import ClientInterceptor, ServerInterceptor

VARIABLE = "REMORA_TRANSPORT"

_TRANSPORTS: dict[str, type[GrpcTransport | FallbackTransport]] = {
    "core": GrpcTransport,
    "fallback": FallbackTransport,
}


def transport_from_environment(
    environment: Mapping[str, str] = os.environ,
    *,
    limits: Limits = LIMITS,
    server_credentials: ServerCredentials | None = None,
    channel_credentials: ChannelCredentials | None = None,
    interceptors: Sequence[ServerInterceptor] = (),
    client_interceptors: Sequence[ClientInterceptor] = (),
) -> GrpcTransport | FallbackTransport:
    """The transport ``REMORA_TRANSPORT`` names: ``core`` (also if unset or empty) or ``fallback``.

    Raises ValueError for any other name.
    """
    name = environment.get(VARIABLE) or "core"
    transport = _TRANSPORTS.get(name)
    if transport is None:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(_TRANSPORTS)}, not {name!r}")
    return transport(
        limits=limits,
        server_credentials=server_credentials,
        channel_credentials=channel_credentials,
        interceptors=interceptors,
        client_interceptors=client_interceptors,
    )
