"""The coordinator's process: ``python -m cluster.coordinator.main``.

Configured by one JSON line on standard input::

    {"data": "/path", "grpc_port": 0, "ready_fd": 1, "limits": {"lease_seconds": 5.0}}

``"adopt": true`` makes it take the place of whatever coordinator the nodes obey: after its data was
lost, or restored from an old copy. ``grpc_port`` 0 means any free port. When it serves, it writes
``{"grpc": "127.0.0.1:PORT", "pid": N}`` and a line feed to the descriptor ``ready_fd``. It logs to
standard error. SIGTERM and SIGINT stop it. Exit codes: 0 stopped, 1 failed, with the reason in the
log.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
import signal
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from cluster.coordinator.driver import CoordinatorDriver, Persistence
from cluster.coordinator.identity import begin
from cluster.coordinator.service import CoordinatorServicer
from cluster.coordinator.store import Store, ThreadedStore
from cluster.errors import InvalidRequestError
from cluster.faults.driver import FaultDriver
from cluster.faults.opening import ProxyLauncher
from cluster.faults.process import ProcessFaults
from cluster.faults.service import FaultServicer
from cluster.faults.store import FaultyPersistence
from cluster.gateway.identity.links import Links
from cluster.limits import LIMITS, Limits
from cluster.node.clock import SystemClock
from cluster.process import announce, run_process
from cluster.rowstore.disk import RealDisk
from cluster.transport.select import transport_from_environment
from cluster.transport.standard import add_standard_services

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.clock import Clock
    from cluster.transport.api import Transport

logger = logging.getLogger("remora.coordinator")

_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class CoordinatorConfig:
    """What the coordinator must be told."""

    data: Path
    grpc_port: int = 0
    ready_fd: int = 1
    adopt: bool = False
    limits: Limits = field(default=LIMITS)
    links: Links = field(default_factory=Links)

    @classmethod
    def from_json(cls, text: str) -> CoordinatorConfig:
        """Parses the line. Raises InvalidRequestError naming what is wrong."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InvalidRequestError(f"the configuration is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise InvalidRequestError("the configuration is not a JSON object")
        unknown = values.keys() - {item.name for item in fields(cls)}
        if unknown:
            raise InvalidRequestError(f"the configuration has unknown keys: {sorted(unknown)}")
        if not isinstance(values.get("data"), str) or not values["data"]:
            raise InvalidRequestError("the configuration names no data folder: key 'data'")
        return cls(
            data=Path(values["data"]),
            grpc_port=_number(values, "grpc_port", 0, _HIGHEST_PORT),
            ready_fd=_number(values, "ready_fd", 1, 2**20),
            adopt=_switch(values, "adopt"),
            limits=Limits.with_overrides(values.get("limits") or {}),
            links=Links.from_values(values.get("links") or {}),
        )


def _number(values: dict[str, object], key: str, default: int, highest: int) -> int:
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= highest:
        raise InvalidRequestError(f"'{key}' must be a number from 0 to {highest}, not {value!r}")
    return value


def _switch(values: dict[str, object], key: str) -> bool:
    value = values.get(key, False)
    if not isinstance(value, bool):
        raise InvalidRequestError(f"'{key}' must be true or false, not {value!r}")
    return value


def _mint() -> str:
    return secrets.token_hex(16)


def _persistence(store: Store, own: ProcessFaults | None) -> Persistence:
    threaded = ThreadedStore(store)
    return threaded if own is None else FaultyPersistence(threaded, own.disk)


async def serve(
    config: CoordinatorConfig,
    transport: Transport,
    clock: Clock,
    ready: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    mint: Callable[[], str] = _mint,
    own: ProcessFaults | None = None,
) -> None:
    """Serves until cancelled; calls ``ready(address)`` when it does.

    With ``own``, the faults of this process, it serves ``FaultService`` too.

    ``mint`` gives ids that nothing else has. Every start is durable before anybody hears of it: it
    is what nodes know this life of the coordinator by.

    Raises ConflictError if another coordinator uses the data folder, CorruptionError if its file
    is damaged, OSError if the port is taken or a save fails.
    """
    store = Store.open(config.data)
    try:
        persistence = _persistence(store, own)
        before = store.load()
        durable = begin(before, coordinator=mint(), instance=mint())
        await persistence.save(before, durable)
        driver = CoordinatorDriver(
            durable, persistence, clock=clock, limits=config.limits, adopts=config.adopt
        )
        server = transport.server()
        faults = None
        if own is not None:
            faults = FaultDriver(
                driver, own,
                ProxyLauncher(config.data, transport_from_environment(limits=config.limits)),
                folder=config.data, limits=config.limits,
            )  # fmt: skip
            FaultServicer(faults).add_to(server)
        CoordinatorServicer(driver, clock, faults).add_to(server)
        health = add_standard_services(server)
        address = server.listen(f"{host}:{config.grpc_port}")
        async with trio.open_nursery() as nursery:
            await nursery.start(driver.run)
            if faults is not None:
                await nursery.start(faults.run, address)
            await nursery.start(server.serve)
            health.set_serving(True)
            logger.info("%s serves on %s, data in %s", durable.issuer, address, config.data)
            ready(address)
    finally:
        store.close()


async def run(config: CoordinatorConfig) -> None:
    """Serves until SIGTERM or SIGINT."""
    transport = config.links.transport(limits=config.limits)
    rng = random.Random(secrets.randbits(64))  # noqa: S311 - shares of faults
    own = ProcessFaults(SystemClock(), RealDisk(), rng)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(
                    serve,
                    config,
                    transport,
                    own.clock,
                    lambda address: announce(config.ready_fd, address),
                    own=own,
                )
            )
            async for number in signals:
                logger.info("stopping: %s", signal.Signals(number).name)
                nursery.cancel_scope.cancel()


def main() -> int:
    """Reads the configuration and serves. Returns the exit code."""
    return run_process(CoordinatorConfig.from_json, run)


if __name__ == "__main__":
    raise SystemExit(main())
