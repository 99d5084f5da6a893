"""What a node is, and what it is busy with, from the counters of its parts."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import psutil

from cluster import __version__
from cluster.commands.context import NodeFacts
from cluster.commands.doors import NodeLoad

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.extents.files import ExtentFiles
    from cluster.history.driver import OperationRunner
    from cluster.node.config import NodeConfig
    from cluster.node.platform import Engine, Hot, Platform


def node_facts(
    config: NodeConfig, platform: Platform, address: str, started_at_ns: int
) -> NodeFacts:
    """What a node that serves at ``address`` says of itself."""
    memory = psutil.virtual_memory()
    return NodeFacts(
        cluster=config.cluster,
        node_id=config.node,
        address=address,
        started_at_ns=started_at_ns,
        is_admin=True,
        total_memory_bytes=memory.total,
        available_memory_bytes=memory.available,
        processor_count=platform.cores,
        build_version=__version__,
        built_at_ns=0,
    )


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
