"""gRPC on grpcio's public API only: what is left if an upgrade breaks the C-core transport.

A unary call costs two to three times the processor time, but nothing private is used. Selected by
``REMORA_TRANSPORT=fallback``, see :mod:`.select`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.limits import LIMITS, Limits
from cluster.transport.calling import Calling
from cluster.transport.fallback_client import FallbackChannel
from cluster.transport.fallback_server import FallbackServer
from cluster.transport.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.transport.credentials import ChannelCredentials, ServerCredentials
    from cluster.transport.interceptors import ClientInterceptor, ServerInterceptor


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackTransport:
    """What servers and channels are made with (:class:`cluster.transport.api.Transport`).

    Without credentials connections are plaintext. ``interceptors`` are the servers',
    ``client_interceptors`` the channels'; the first is the outermost.
    """

    limits: Limits = LIMITS
    server_credentials: ServerCredentials | None = None
    channel_credentials: ChannelCredentials | None = None
    interceptors: Sequence[ServerInterceptor] = ()
    client_interceptors: Sequence[ClientInterceptor] = ()

    def server(self) -> FallbackServer:
        """A server that is not listening yet."""
        return FallbackServer(Serving(self.interceptors, self.limits), self.server_credentials)

    def connect(self, address: str) -> FallbackChannel:
        """A channel to ``host:port``; connecting is lazy."""
        calling = Calling(self.client_interceptors, self.limits)
        return FallbackChannel(address, calling, self.channel_credentials)
