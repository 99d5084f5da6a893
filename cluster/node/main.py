"""A node's process: ``python -m cluster.node.main``, configured by one JSON line on its input."""

from __future__ import annotations

import signal

import trio

from cluster.node.app import Node
from cluster.node.config import NodeConfig
from cluster.node.platform import machine
from cluster.process import announce, run_process
from cluster.transport.malloc import tune_malloc
from cluster.transport.select import transport_from_environment


async def serve(config: NodeConfig) -> None:
    """Runs the node until SIGTERM or SIGINT."""
    transport = transport_from_environment(limits=config.limits)
    node = Node(config, machine(transport, config.limits))
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            # Heard from the first moment: without a coordinator a node may never begin to serve.
            nursery.start_soon(stop)
            address = await nursery.start(node.run)
            announce(config.ready_fd, address)


def main() -> int:
    """Reads the configuration and serves. Returns the exit code."""
    tune_malloc()
    return run_process(NodeConfig.from_json, serve)


if __name__ == "__main__":
    raise SystemExit(main())
