"""What a node of a setup counts, from outside its process; see ``watched_node``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
import watched_node

from cluster.launcher.lifecycle import Commands, Launcher
from cluster.launcher.setup import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.launcher.setup import Setup
    from cluster.launcher.topology import Topology

PATIENCE_SECONDS = 30.0


async def launch_watched(
    folder: Path, topology: Topology, environment: Mapping[str, Mapping[str, str]]
) -> tuple[Launcher, Setup]:
    """Starts a setup whose nodes can be watched; ``environment`` is by process."""
    data = folder / "data"
    data.mkdir()
    (data / watched_node.ENVIRONMENT).write_text(json.dumps(environment))
    node = (sys.executable, str(Path(watched_node.__file__)))
    launcher = Launcher(Home(folder / "home"), "watched", commands=Commands(node=node))
    return launcher, await launcher.up(topology, data)


class Watched:
    """The counts of one node."""

    def __init__(self, setup: Setup, cluster: str) -> None:
        self._path = setup.node_of(cluster).data / watched_node.STATISTICS

    def now(self) -> dict[str, Any]:
        """The counts as they were written last."""
        found: dict[str, Any] = json.loads(self._path.read_text())
        return found

    async def fresh(self) -> dict[str, Any]:
        """The counts at a moment after the call."""
        before = self.now()
        return await self.until(
            lambda found: found["pid"] != before["pid"] or found["number"] > before["number"] + 1
        )

    async def until(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first counts of which it is so."""
        with trio.move_on_after(PATIENCE_SECONDS):
            while not is_so(found := self.now()):  # noqa: ASYNC110 - another process writes it
                await trio.sleep(0.02)
            return found
        raise AssertionError(f"not within {PATIENCE_SECONDS} s: {found}")
