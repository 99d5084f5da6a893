"""The processes of a test session: a coordinator, a leader and a follower, once for all its tests.

They are started by the first test that needs them, belong to the process that runs the tests (under
xdist each worker has its own, so no test meets another's faults), and end with it: in good order at
the end of the session, by the keeper if it is killed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from cluster.launcher.identity import ProcessState, state_of
from cluster.launcher.processes import last_lines
from cluster.launcher.topology import COORDINATOR, ClusterSpec, Topology
from cluster.testing.local import LocalSetup, launch, launcher_in
from cluster.testing.plugin_portal import Portal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cluster.launcher.setup import ProcessRecord, Setup

LEADER: Final = "leader"
FOLLOWER: Final = "follower"

LIMITS: Final = {"heartbeat_seconds": 0.25}
"""Attaching waits for a report of the leader: four times as many of them make it quick."""

LOG_LINES: Final = 30
"""Of each process, in the report of a test that failed."""


def _topology() -> Topology:
    clusters = (
        ClusterSpec(LEADER, streaming_ingestion=True, limits=LIMITS),
        ClusterSpec(FOLLOWER, streaming_ingestion=True, limits=LIMITS),
    )
    return Topology(clusters, LIMITS)


class SessionSetup:
    """The running processes, and the portal through which everything speaks to them."""

    def __init__(self, folder: Path) -> None:
        """Starts everything in ``folder``; returns when all of it serves.

        Raises what :meth:`cluster.launcher.lifecycle.Launcher.up` raises.
        """
        self.portal = Portal()
        self.launcher = launcher_in(folder)
        self.portal.open()
        home = str(self.launcher.home.folder)
        command = (sys.executable, "-P", "-m", "cluster.testing.plugin_keeper")
        # In a session of its own: Ctrl-C is for the tests, and it must outlive them.
        self._keeper = subprocess.Popen(  # noqa: S603 - our own module
            (*command, home, self.launcher.name, str(os.getpid())),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.portal.run(self._launch, folder)
        except BaseException:
            self.close()
            raise
        self._log_starts: dict[str, int] = {}
        self._databases = 0

    def next_database(self) -> str:
        """A name no other test of the session has."""
        self._databases += 1
        return f"Test{self._databases}"

    async def _launch(self, folder: Path) -> None:
        await launch(folder, limits=LIMITS, topology=_topology())

    def close(self) -> None:
        """Ends the processes and deletes their data."""
        try:
            if self.launcher.exists():
                self.portal.run(self.launcher.destroy)
        finally:
            self._keeper.terminate()
            self._keeper.wait()
            self.portal.close()

    @property
    def setup(self) -> Setup:
        """Which processes there are now."""
        return self.launcher.home.load(self.launcher.name)

    def connect(self, database: str) -> tuple[LocalSetup, Callable[[], None]]:
        """The setup as one test sees it, and what ends that. Starts what died with another test."""
        self.portal.run(self.start_all)
        self._log_starts = {
            name: record.log.stat().st_size for name, record in self._records().items()
        }
        return self.portal.enter(LocalSetup.connected(self.launcher, self.setup, database=database))

    async def start_all(self) -> None:
        """Continues what is paused and starts what is down, the coordinator first."""
        for record in self.setup.processes.values():
            if state_of(record.identity) is ProcessState.PAUSED:
                self.launcher.resume(record.id)
        for record in self.setup.processes.values():
            if state_of(record.identity) is ProcessState.DOWN:
                await self.launcher.start(record.id)

    def logs(self) -> dict[str, str]:
        """What each process has logged since the test began, its last lines, by process."""
        found = {}
        for name, record in self._records().items():
            start = self._log_starts.get(name, 0)
            if lines := last_lines(record.log, LOG_LINES, start_bytes=start):
                found[name] = "\n".join(lines)
        return found

    def _records(self) -> Mapping[str, ProcessRecord]:
        return self.setup.processes


def process_of(name: str) -> str:
    """The process a fault strikes: the node of a cluster, or the coordinator."""
    return name if name == COORDINATOR or "/" in name else f"{name}/0"
