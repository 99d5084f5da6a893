"""The link proxy's process: ``python -m cluster.faults.main``, started by the coordinator.

Configured by one JSON line on standard input::

    {"grpc_port": 0, "ready_fd": 1}

When it serves ``LinkProxyService``, it writes ``{"grpc": "127.0.0.1:PORT", "pid": N}`` and a line
feed to the descriptor ``ready_fd``. It forwards TCP on loopback only. SIGTERM and SIGINT stop it.
"""

from __future__ import annotations

import json
import random
import secrets
import signal
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import trio

from cluster.errors import InvalidRequestError
from cluster.faults.active import ActiveFaults
from cluster.faults.composition import direction_faults
from cluster.faults.messages import actives_from_messages
from cluster.faults.worker import LOOPBACK, Link
from cluster.node.clock import SystemClock
from cluster.process import announce, run_process
from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc
from cluster.transport.select import transport_from_environment

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.transport.api import Call, Transport


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """What the proxy must be told."""

    grpc_port: int = 0
    ready_fd: int = 1

    @classmethod
    def from_json(cls, text: str) -> ProxyConfig:
        """Parses the line. Raises InvalidRequestError naming what is wrong."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InvalidRequestError(f"the configuration is not JSON: {error}") from error
        known = {item.name for item in fields(cls)}
        if not isinstance(values, dict) or values.keys() - known:
            raise InvalidRequestError(f"the configuration is an object with keys of {known}")
        for key, value in values.items():
            if type(value) is not int or value < 0:
                raise InvalidRequestError(f"'{key}' must be a number, not {value!r}")
        return cls(**values)


class LinkProxy:
    """``LinkProxyService``: holds the links and what they suffer. :meth:`run` must be running."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._links: dict[tuple[str, str], Link] = {}
        self._addresses: dict[tuple[str, str], str] = {}
        self._active = ActiveFaults()
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Forwards, and ends faults whose time has run out, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                self._changed = trio.Event()
                with trio.move_on_after(max(0.0, self._active.next_end - self._clock.monotonic())):
                    await self._changed.wait()
                self._suffer(self._active.expire(self._clock.monotonic()))

    async def SetLinks(  # noqa: N802
        self, request: faults_pb2.SetLinksRequest, call: Call
    ) -> faults_pb2.SetLinksResponse:
        """Replaces what the proxy does; links it has already stay."""
        assert self._nursery is not None, "run() is running"
        faults = actives_from_messages(request.faults, self._clock.monotonic())
        for message in request.links:
            key = (message.dialer, message.acceptor)
            if key not in self._links:
                link = self._links[key] = Link(self._rng)
                self._addresses[key] = await self._nursery.start(link.run)
            self._links[key].upstream = message.address
        self._suffer(ActiveFaults(faults))
        self._changed.set()
        return faults_pb2.SetLinksResponse(
            links=[
                faults_pb2.ProxiedLink(
                    dialer=message.dialer,
                    acceptor=message.acceptor,
                    address=self._addresses[message.dialer, message.acceptor],
                )
                for message in request.links
            ]
        )

    def _suffer(self, active: ActiveFaults) -> None:
        self._active = active
        for (dialer, acceptor), link in self._links.items():
            link.suffer(
                direction_faults(active.faults, dialer, acceptor),
                direction_faults(active.faults, acceptor, dialer),
            )


async def serve(config: ProxyConfig, transport: Transport, clock: Clock) -> None:
    """Serves until cancelled. Raises OSError if the port is taken."""
    proxy = LinkProxy(clock, random.Random(secrets.randbits(64)))  # noqa: S311 - shares and jitter
    server = transport.server()
    faults_pb2_grpc.add_LinkProxyServiceServicer_to_server(proxy, server)
    address = server.listen(f"{LOOPBACK}:{config.grpc_port}")
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        await nursery.start(server.serve)
        announce(config.ready_fd, address)


async def run(config: ProxyConfig) -> None:
    """Serves until SIGTERM or SIGINT."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, config, transport_from_environment(), SystemClock())
            async for _ in signals:
                nursery.cancel_scope.cancel()


def main() -> int:
    """Reads the configuration and serves. Returns the exit code."""
    return run_process(ProxyConfig.from_json, run)


if __name__ == "__main__":
    raise SystemExit(main())
