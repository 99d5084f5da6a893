"""Ingestion into extents on a node: by command, and queued."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from cluster.access.permissions import INGEST
from cluster.batch.download import Downloads
from cluster.batch.driver import BatchIngestion
from cluster.commands.resources import NoResources
from cluster.ingest.worker import BatchDecode
from cluster.queued.resources import StorageResources
from cluster.queued.service import QueuedIngestion, open_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cluster.access.control import AccessControl
    from cluster.catalog.driver import Catalog
    from cluster.clock import Clock
    from cluster.commands.doors import ResourcesDoor
    from cluster.history.log import History
    from cluster.ingest.deriving import UpdatePolicies
    from cluster.node.config import NodeConfig
    from cluster.node.platform import Platform
    from cluster.node.storage import NodeStorage
    from cluster.queued.service import QueuedFiles
    from cluster.rowstore.times import IngestionTimes

FOLDER: Final = "queued"
_SECRET_BYTES: Final = 32


def batch_ingestion(
    config: NodeConfig,
    *,
    catalog: Catalog,
    storage: NodeStorage,
    update_policies: UpdatePolicies,
    times: IngestionTimes,
    history: History,
    clock: Clock,
) -> BatchIngestion:
    """Batch ingestion of a node. Makes the folder whose files ``.ingest into`` reads."""
    folder = config.ingest_path
    folder.mkdir(parents=True, exist_ok=True)
    work = config.data / "ingest-work"
    return BatchIngestion(
        catalog=catalog,
        store=storage.keeper,
        writer=storage.writer,
        decode=BatchDecode(config.limits),
        update_policies=update_policies,
        downloads=Downloads(folder=folder, work=work, limits=config.limits),
        times=times,
        history=history,
        clock=clock,
        limits=config.limits,
    )


@asynccontextmanager
async def queued_files(config: NodeConfig, platform: Platform) -> AsyncIterator[QueuedFiles | None]:
    """The files of queued ingestion, open for as long as the context; None without HTTP.

    Raises CorruptionError, ConflictError (in use), UnavailableError.
    """
    if platform.http_server is None:
        yield None
        return
    secret = platform.random_bits(8 * _SECRET_BYTES).to_bytes(_SECRET_BYTES, "big")
    async with open_files(config.data / FOLDER, secret=secret, limits=config.limits) as files:
        yield files


class NodeQueued:
    """Queued ingestion of one node, if it has HTTP. ``resources`` answers the commands about it.

    ``url_of`` gives the address of the node's HTTP door.
    """

    def __init__(
        self,
        files: QueuedFiles | None,
        config: NodeConfig,
        platform: Platform,
        *,
        catalog: Catalog,
        ingestion: BatchIngestion,
        history: History,
        access: AccessControl,
        url_of: Callable[[], str],
    ) -> None:
        self.service: QueuedIngestion | None = None
        self.resources: ResourcesDoor = NoResources()
        if files is None:
            return
        self.service = QueuedIngestion(
            files,
            catalog=catalog,
            ingestion=ingestion,
            history=history,
            authorize=lambda caller, database, table: access.require(
                caller, INGEST, database, table
            ),
            clock=platform.clock,
            limits=config.limits,
        )
        self.resources = StorageResources(
            self.service.signer, origin_of=url_of, clock=platform.clock, limits=config.limits
        )
