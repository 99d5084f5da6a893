"""A node's process: ``python -m cluster.node.main``, configured by one JSON line on its input."""

from __future__ import annotations

import random
import secrets
import signal

import trio

from cluster.faults.link import watch_faults
from cluster.faults.process import ProcessFaults
from cluster.node.app import Node
from cluster.node.clock import SystemClock
from cluster.node.config import NodeConfig
from cluster.node.platform import machine
from cluster.process import announce, run_process
from cluster.rowstore.disk import RealDisk
from cluster.transport.malloc import tune_malloc


async def serve(config: NodeConfig) -> None:
    """Runs the node until SIGTERM or SIGINT."""
    transport = config.links.transport(limits=config.limits)
    rng = random.Random(secrets.randbits(64))  # noqa: S311 - shares of faults
    faults = ProcessFaults(SystemClock(), RealDisk(), rng)
    platform = machine(transport, config.limits, clock=faults.clock, disk=faults.disk)
    node = Node(config, platform)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            # Heard from the first moment: without a coordinator a node may never begin to serve.
            nursery.start_soon(stop)
            nursery.start_soon(watch_faults, config.coordinator, config.node, transport, faults)
            address = await nursery.start(node.run)
            announce(config.ready_fd, address, node.http_url, node.https_url)


def main() -> int:
    """Reads the configuration and serves. Returns the exit code."""
    tune_malloc()
    return run_process(NodeConfig.from_json, serve)


if __name__ == "__main__":
    raise SystemExit(main())
