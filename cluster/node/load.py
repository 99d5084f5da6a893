"""What a node is busy with, from the counters of its parts."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from cluster.commands.doors import NodeLoad

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.extents.files import ExtentFiles
    from cluster.history.driver import OperationRunner
    from cluster.node.platform import Engine, Hot


def node_load(
    data: Path,
    engine: Engine,
    operations: OperationRunner[Any],
    hot: Hot,
    files: ExtentFiles,
    *,
    queries_most: int,
) -> NodeLoad:
    """The load of this moment; ``data`` is the node's folder."""
    in_memory, copies = hot.statistics(), files.statistics()
    disk = shutil.disk_usage(data)
    return NodeLoad(
        queries_running=engine.statistics().running,
        queries_most=queries_most,
        operations_running=operations.statistics().running,
        hot_bytes=in_memory.byte_count,
        hot_extents=in_memory.extents,
        hot_rows=in_memory.rows,
        hot_failures=in_memory.failures,
        copies_bytes=copies.cached_bytes,
        copies_files=copies.cached_files,
        copies_hits=copies.hits,
        copies_misses=copies.linked + copies.downloaded + copies.fetched,
        disk_bytes=disk.total,
        disk_free_bytes=disk.free,
    )
