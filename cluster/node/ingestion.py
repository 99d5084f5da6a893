"""Ingestion into extents on a node: by command, and queued."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.access.permissions import INGEST
from cluster.batch.download import Downloads
from cluster.batch.driver import BatchIngestion
from cluster.commands.resources import NoResources
from cluster.ingest.worker import BatchDecode
from cluster.queued.account.addresses import AccountAddresses
from cluster.queued.account.client import open_account
from cluster.queued.account.names import ResourceNames
from cluster.queued.account.storage import AccountStorage
from cluster.queued.builtin import BuiltInStorage
from cluster.queued.files import open_files
from cluster.queued.resources import BuiltInAddresses, StorageResources
from cluster.queued.service import QueuedIngestion
from cluster.queued.signatures import Signer

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
    from cluster.queued.account.client import AccountClient
    from cluster.queued.account.settings import StorageAccount
    from cluster.queued.files import QueuedFiles
    from cluster.queued.resources import AddressesPort
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


@dataclass(frozen=True, slots=True)
class OpenQueued:
    """What queued ingestion has open: its files, and the storage account if it uses one."""

    files: QueuedFiles
    account: StorageAccount | None = None
    names: ResourceNames | None = None
    client: AccountClient | None = None


@asynccontextmanager
async def queued_files(config: NodeConfig, platform: Platform) -> AsyncIterator[OpenQueued | None]:
    """What queued ingestion uses, open for as long as the context; None without HTTP.

    Raises CorruptionError, ConflictError (in use), UnavailableError.
    """
    if platform.http_server is None:
        yield None
        return
    secret = platform.random_bits(8 * _SECRET_BYTES).to_bytes(_SECRET_BYTES, "big")
    folder, limits, clock = config.data / FOLDER, config.limits, platform.clock
    async with open_files(folder, secret=secret, limits=limits) as files:
        account = config.queued.account()
        if account is None:
            yield OpenQueued(files)
            return
        names = ResourceNames.of(config.cluster, files.store.secret)
        downloads = Downloads(folder=folder, work=folder / "downloads", limits=limits)
        async with open_account(account, names, downloads=downloads, clock=clock) as client:
            yield OpenQueued(files, account, names, client)


class NodeQueued:
    """Queued ingestion of one node, if it has HTTP. ``resources`` answers the commands about it.

    ``url_of`` gives the address of the node's HTTP door.
    """

    def __init__(
        self,
        opened: OpenQueued | None,
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
        if opened is None:
            return
        signer = Signer(opened.files.store.secret)
        built_in = BuiltInStorage(opened.files, signer)
        storage: BuiltInStorage | AccountStorage = built_in
        addresses: AddressesPort = BuiltInAddresses(signer, url_of)
        account, names, client = opened.account, opened.names, opened.client
        if account is not None and names is not None and client is not None:
            storage = AccountStorage(
                account,
                names,
                client,
                files=opened.files,
                own=built_in,
                clock=platform.clock,
                limits=config.limits,
            )
            addresses = AccountAddresses(account, names, storage.trouble)
        self.service = QueuedIngestion(
            opened.files,
            catalog=catalog,
            ingestion=ingestion,
            history=history,
            authorize=lambda caller, database, table: access.require(
                caller, INGEST, database, table
            ),
            clock=platform.clock,
            limits=config.limits,
            storage=storage,
        )
        self.resources = StorageResources(
            signer, addresses, clock=platform.clock, limits=config.limits
        )
