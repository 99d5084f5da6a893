"""A node's process: ``python -m cluster.node.main``, configured by one JSON line on its input."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import trio

from cluster.errors import RemoraError
from cluster.node.app import Node
from cluster.node.clock import SystemClock
from cluster.node.config import NodeConfig
from cluster.transport.malloc import tune_malloc
from cluster.transport.select import transport_from_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_OK = 0
EXIT_FAILED = 1


def announce(ready_fd: int, grpc_address: str) -> None:
    """Tells the launcher that the node serves: one JSON line, then the descriptor is closed."""
    line = json.dumps({"grpc": grpc_address, "pid": os.getpid()}) + "\n"
    os.write(ready_fd, line.encode())
    if ready_fd > 2:
        os.close(ready_fd)


async def serve(config: NodeConfig) -> None:
    """Runs the node until SIGTERM or SIGINT."""
    node = Node(
        config, clock=SystemClock(), transport=transport_from_environment(limits=config.limits)
    )
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            # Heard from the first moment: without a coordinator a node may never begin to serve.
            nursery.start_soon(stop)
            address = await nursery.start(node.run)
            announce(config.ready_fd, address)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def main() -> int:
    """Reads the configuration and serves. Returns the exit code."""
    tune_malloc()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    failures: list[BaseException] = []
    try:
        config = NodeConfig.from_json(sys.stdin.readline())
        trio.run(serve, config)
    except* (RemoraError, OSError) as group:
        failures.extend(_leaves(group))
    for failure in failures:
        logging.getLogger("remora").critical("%s %s", failure, getattr(failure, "remedy", ""))
    return EXIT_FAILED if failures else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
