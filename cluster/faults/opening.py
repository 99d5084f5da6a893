"""Opens the link proxy: starts it, or finds the one that runs, and tells it what to do.

The proxy outlives a coordinator that is killed, so that links stay as bad as they were asked to be;
the next coordinator finds it by the file its predecessor left. It ends with the setup: by a
coordinator that stops, or by ``remora down`` and ``destroy`` where there was no time for that.
"""

from __future__ import annotations

import logging
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from cluster.errors import UnavailableError
from cluster.launcher.identity import wait_exit
from cluster.launcher.processes import configure, kill, spawn, wait_ready
from cluster.launcher.proxy import Proxy, end_proxy, load_proxy, save_proxy
from cluster.rpc.v1 import faults_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from typing import Protocol

    from cluster.launcher.identity import Identity
    from cluster.rpc.v1 import faults_pb2
    from cluster.transport.api import Transport

    class Proxies(Protocol):
        """Where a proxy comes from."""

        def opened(self) -> AbstractAsyncContextManager[ProxyClient]:
            """The proxy, started unless it runs."""

        async def end(self) -> None:
            """Ends the proxy, if there is one."""


logger = logging.getLogger(__name__)

READY_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 5.0
PROCESS: Final = "link-proxy"

# -P: a folder named "cluster" where the user happens to be must not be imported.
_COMMAND: Final = (sys.executable, "-P", "-m", "cluster.faults.main")


class ProxyClient:
    """Speaks to a proxy that runs."""

    def __init__(self, stub: Any, identity: Identity) -> None:
        self._stub = stub
        self._identity = identity

    async def set_links(self, request: faults_pb2.SetLinksRequest) -> faults_pb2.SetLinksResponse:
        """What it does from now on. Raises UnavailableError or TimedOutError."""
        response: faults_pb2.SetLinksResponse = await self._stub.SetLinks(
            request, timeout=ANSWER_SECONDS
        )
        return response

    async def wait_exit(self) -> None:
        """Returns when the process is gone."""
        await wait_exit(self._identity)


class ProxyLauncher:
    """Where the proxy of a coordinator with this data folder comes from."""

    def __init__(self, folder: Path, transport: Transport) -> None:
        self._folder = folder
        self._transport = transport

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ProxyClient]:
        """The proxy, started unless it runs. It is left running.

        Raises UnavailableError or TimedOutError if it cannot be started.
        """
        proxy = load_proxy(self._folder)
        if proxy is None or not proxy.serves:
            await end_proxy(self._folder)
            proxy = await self._start()
        async with self._transport.connect(proxy.grpc) as channel:
            yield ProxyClient(faults_pb2_grpc.LinkProxyServiceStub(channel), proxy.identity)

    async def end(self) -> None:
        """Ends the proxy, if there is one; returns when it is gone."""
        await end_proxy(self._folder)

    async def _start(self) -> Proxy:
        log = self._folder.parent / "logs" / f"{PROCESS}.log"
        # The last two words are there to tell processes apart, as for every process of a setup.
        command = (*_COMMAND, str(self._folder), PROCESS)
        try:
            child = spawn(PROCESS, command, log)
        except OSError as error:
            raise UnavailableError(f"the link proxy cannot be started: {error}") from error
        try:
            save_proxy(self._folder, Proxy(child.identity))
            configure(child, {"grpc_port": 0})
            address = (await wait_ready(child, timeout_seconds=READY_SECONDS)).grpc
        except BaseException:
            with trio.CancelScope(shield=True):
                child.close()
                await kill(child)
            raise
        proxy = Proxy(child.identity, address)
        save_proxy(self._folder, proxy)
        logger.info("the link proxy serves on %s (pid %d)", address, child.identity.pid)
        return proxy
