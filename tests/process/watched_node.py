"""A node's process that also writes its statistics into its data folder, a few times a second.

``environment.json`` in the setup's folder adds to the environment of single processes: for example
secrets that only one of them has.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import trio

import cluster.node.main
from cluster.node.app import Node

if TYPE_CHECKING:
    from cluster.node.platform import Platform

STATISTICS = "statistics.json"
ENVIRONMENT = "environment.json"


class WatchedNode(Node):
    """Writes a file beside its work."""

    def __init__(self, config: Any, platform: Platform) -> None:
        super().__init__(config, platform)
        self.path = config.data / STATISTICS

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """As the node; the file is written while it serves."""
        async with trio.open_nursery() as nursery:
            address = await nursery.start(super().run)
            nursery.start_soon(self.write)
            task_status.started(address)

    async def write(self) -> None:
        """Writes until cancelled."""
        number = 0
        while True:
            number += 1
            content = json.dumps(self.values() | {"number": number})
            fresh = self.path.with_suffix(".new")
            fresh.write_text(content)
            fresh.rename(self.path)
            await trio.sleep(0.05)

    def values(self) -> dict[str, Any]:
        """What tests look at."""
        found = self.statistics()
        sent, files = found.replication, found.files
        return {
            "pid": os.getpid(),
            "sessions_total": sent.sessions_total,
            "records_sent": sent.records_sent_total,
            "extents_sent": sent.extents_sent_total,
            "extent_bytes_sent": sent.extent_bytes_sent_total,
            "metadata_kept_bytes": sent.metadata_kept_bytes,
            "sessions": {
                f"{one.follower_cluster}/{one.database}": {
                    "records_sent": one.records_sent,
                    "snapshots_sent": one.snapshots_sent,
                    "bytes_unacknowledged": one.bytes_unacknowledged,
                }
                for one in sent.sessions
            },
            "followed": {
                one.name: {
                    "snapshots": one.session.snapshots_installed,
                    "copies_dropped": one.copies_dropped,
                    "records_applied": one.session.records_applied,
                    "trouble": one.trouble,
                }
                for one in found.followers.databases
            },
            "fetched": files.fetched,
            "corrupt": files.corrupt,
            "prefetched": files.prefetched,
            "resident_bytes": psutil.Process().memory_info().rss,
        }


if __name__ == "__main__":
    folder, process = sys.argv[1:3]
    environment = Path(folder) / ENVIRONMENT
    if environment.exists():
        os.environ.update(json.loads(environment.read_text()).get(process, {}))
    cluster.node.main.Node = WatchedNode
    raise SystemExit(cluster.node.main.main())
