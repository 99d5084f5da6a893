"""Faults beside the coordinator's data, and faults of that data's disk.

A coordinator that is killed and started again finds its faults, so that faults and crashes can be
put together; one that is stopped leaves none. Times in the file are of the wall clock.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import trio

from cluster.conformance.faults import Fault
from cluster.faults.active import FOREVER, ActiveFault, ActiveFaults
from cluster.faults.composition import NO_DISK_FAULTS
from cluster.launcher.proxy import FAULTS_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.coordinator.driver import Persistence
    from cluster.coordinator.state import Durable
    from cluster.faults.disk import FaultyDisk


def save_faults(folder: Path, active: ActiveFaults, now: float, wall_seconds: float) -> None:
    """Writes them; removes the file if there are none. ``now`` is of the clock of ``active``."""
    path = folder / FAULTS_FILE
    if not active.faults:
        path.unlink(missing_ok=True)
        return
    faults = [
        {
            "id": one.id,
            "fault": msgspec.to_builtins(one.fault),
            "began_at": wall_seconds - (now - one.began_at),
            "ends_at": None if one.ends_at == FOREVER else wall_seconds + (one.ends_at - now),
        }
        for one in active.faults
    ]
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"next_number": active.next_number, "faults": faults}) + "\n")
    fresh.replace(path)


def load_faults(folder: Path, now: float, wall_seconds: float) -> ActiveFaults:
    """What was saved and has not run out; none if the file is missing.

    Raises ValueError if it is damaged.
    """
    try:
        text = (folder / FAULTS_FILE).read_text()
    except FileNotFoundError:
        return ActiveFaults()
    try:
        values = json.loads(text)
        faults = tuple(
            ActiveFault(
                id=str(entry["id"]),
                fault=msgspec.convert(entry["fault"], Fault),
                began_at=now - (wall_seconds - float(entry["began_at"])),
                ends_at=FOREVER
                if entry["ends_at"] is None
                else now + (float(entry["ends_at"]) - wall_seconds),
            )
            for entry in values["faults"]
        )
        return ActiveFaults(faults, int(values["next_number"])).expire(now)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{FAULTS_FILE} is damaged: {error}") from error


class FaultyPersistence:
    """The coordinator's store on a disk that may suffer; see ``CoordinatorDriver``."""

    def __init__(self, base: Persistence, disk: FaultyDisk) -> None:
        self._base = base
        self._disk = disk

    async def save(self, before: Durable, after: Durable) -> None:
        """As the store's own. Raises OSError also when a fault says so."""
        if self._disk.faults is not NO_DISK_FAULTS:
            await trio.to_thread.run_sync(self._suffer)
        await self._base.save(before, after)

    def _suffer(self) -> None:
        self._disk.before_growth()
        self._disk.before_sync()
