"""gRPC's C-core driven from trio: the transport nodes run on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.limits import LIMITS, Limits
from cluster.transport.calling import Calling
from cluster.transport.core_client import CoreChannel
from cluster.transport.core_server import CoreServer
from cluster.transport.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.transport.credentials import ChannelCredentials, ServerCredentials
    from cluster.transport.interceptors import ClientInterceptor, ServerInterceptor


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcTransport:
    """What servers and channels are made with (:class:`cluster.transport.api.Transport`).

    Without credentials connections are plaintext. ``interceptors`` are the servers',
    ``client_interceptors`` the channels'; the first is the outermost.
    """

    limits: Limits = LIMITS
    server_credentials: ServerCredentials | None = None
    channel_credentials: ChannelCredentials | None = None
    interceptors: Sequence[ServerInterceptor] = ()
    client_interceptors: Sequence[ClientInterceptor] = ()

    def server(self) -> CoreServer:
        """A server that is not listening yet."""
        return CoreServer(Serving(self.interceptors, self.limits), self.server_credentials)

    def connect(self, address: str) -> CoreChannel:
        """A channel to ``host:port``; connecting is lazy."""
        calling = Calling(self.client_interceptors, self.limits)
        return CoreChannel(address, calling, self.channel_credentials)
