"""Small simulated setups for tests."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from cluster.conformance.plan import BASE_COLUMNS
from cluster.testing.sim.scheduling import run_virtual
from cluster.testing.sim.settings import Settings
from cluster.testing.sim.system import SimulatedSystem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from cluster.conformance.calls import Answer, Ingested

DATABASE, TABLE = "D1", "T1"
LONGEST_SECONDS = 3000.0


class Story:
    """A running system with one streaming table, followed by all, and a client of each cluster."""

    def __init__(self, system: SimulatedSystem) -> None:
        self.system = system
        self.world = system.world
        clusters = system.world.settings.clusters
        self.doors = {name: system.door(name, f"client-of-{name}") for name in clusters}

    async def set_up(self) -> None:
        door = self.doors["leader"]
        columns = "Id:long, Source:string, At:datetime, Payload:string"
        await door.command("", f".create database {DATABASE}")
        await door.command(DATABASE, f".create table {TABLE} ({columns})")
        await door.command(DATABASE, f".alter database {DATABASE} policy streamingingestion enable")
        for follower in self.world.settings.followers:
            await self.system.control.attach("leader", DATABASE, follower)

    async def ingest(self, *ids: int, source: str = "") -> Ingested:
        source = source or f"s{ids[0]}"
        return await self.doors["leader"].ingest(DATABASE, TABLE, ids, BASE_COLUMNS, source)

    async def read(self, cluster: str, **named: object) -> Answer:
        return await self.doors[cluster].read(DATABASE, TABLE, **named)

    async def ids(self, cluster: str) -> list[int]:
        return sorted((await self.read(cluster)).ids)


@contextmanager
def folder() -> Iterator[Path]:
    before = Path.cwd()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        os.chdir(name)
        try:
            yield Path("world")
        finally:
            os.chdir(before)


def play(
    story: Callable[[Story], Awaitable[None]], settings: Settings | None = None
) -> SimulatedSystem:
    """Plays a story in a simulated setup; returns the system when it is over."""
    settings = settings or Settings(seed=1, delay_seconds=0.001, sync_seconds=0.002)
    held: list[SimulatedSystem] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            system = SimulatedSystem(settings, path, nursery)
            held.append(system)
            with trio.fail_after(LONGEST_SECONDS):
                await system.start()
                told = Story(system)
                await told.set_up()
                await story(told)
            system.close()
            nursery.cancel_scope.cancel()

    with folder() as path:
        run_virtual(main, settings.seed)
    return held[0]
