"""Where the extents of a node are: storage roots, files at hand, the writer, the keeper.

An owned database lives in its own storage root, by default a folder of the node's data. A followed
one is read from its leader's root: as it lies there or, where that cannot be reached from here,
through the leader.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cluster.errors import ConflictError, RemoraError
from cluster.extents.copies import Place
from cluster.extents.driver import ExtentKeeper
from cluster.extents.files import ExtentFiles
from cluster.extents.garbage import referenced_files
from cluster.extents.opening import local_folder
from cluster.extents.stats import StatisticsCache
from cluster.extents.writer import ExtentWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cluster.catalog.driver import Catalog
    from cluster.catalog.model import Database, Version
    from cluster.extents.copies import Fetch
    from cluster.extents.keeping import JobReport
    from cluster.extents.root import StorageRoot
    from cluster.history.records import DataOperation
    from cluster.node.config import NodeConfig
    from cluster.node.platform import Platform
    from cluster.rowstore.stores import RowStores

logger = logging.getLogger(__name__)


def extent_folders(config: NodeConfig) -> tuple[Path, ...]:
    """The only folders whose files queries may read: the node's own root, and its copies."""
    own = config.data / "extents"
    if config.storage_root and (given := local_folder(config.storage_root)) is not None:
        own = given
    return (own, config.data / "extent-cache")


def check_default_root(config: NodeConfig, trees: Iterable[Database]) -> None:
    """Refuses a default storage root other than the one that extents were written to.

    Databases name no root of their own for the default one, so their files would be looked for
    where they are not, and new ones would go elsewhere. ``trees`` are the owned databases. The
    root in use is kept in the file ``storage-root`` of the data folder. Raises ConflictError,
    OSError.
    """
    path = config.data / "storage-root"
    before = path.read_text("utf-8") if path.exists() else config.storage_root
    if before != config.storage_root and any(
        not tree.storage_root and referenced_files(tree) for tree in trees
    ):
        here = "the folder 'extents' of the node's data"
        raise ConflictError(
            f"The extents of this node are in {before or here}; its configuration names "
            f"{config.storage_root or here} as storage root.",
            remedy="Configure the root as it was, or copy the files and write the new root into "
            f"{path}.",
            metadata={"before": before, "now": config.storage_root},
        )
    fresh = path.with_name("storage-root.new")
    fresh.write_text(config.storage_root, "utf-8")
    fresh.replace(path)


class NodeStorage:
    """The parts that hold extents, made once the catalog and the row stores are open.

    ``fetch`` asks a leader for a file; ``acknowledged`` gives the oldest version of a database
    that a follower has acknowledged; ``is_pinned`` says whether a snapshot may still read a file.
    """

    def __init__(
        self,
        config: NodeConfig,
        catalog: Catalog,
        row_stores: RowStores,
        *,
        platform: Platform,
        fetch: Fetch,
        acknowledged: Callable[[str], Version | None],
        is_pinned: Callable[[str], bool],
        on_report: Callable[[JobReport], None],
        on_data_operation: Callable[[DataOperation], None],
    ) -> None:
        self._catalog = catalog
        self._open_root = platform.open_root
        self._fetch = fetch
        self._roots: dict[str, StorageRoot] = {}
        self._default_url = config.storage_root or str(extent_folders(config)[0])
        limits = config.limits
        known = StatisticsCache(limits.extent_statistics_entries)
        self.files = ExtentFiles(
            place_of=self._place_of,
            cache=extent_folders(config)[1],
            statistics=known,
            limits=limits,
            blocks=platform.blocks,
            processors=platform.processors,
        )
        self.writer = ExtentWriter(
            root_of=self.root_of,
            work=config.data / "extent-work",
            rng=platform.rng,
            statistics=known,
            limits=limits,
            blocks=platform.blocks,
            processors=platform.processors,
        )
        self.keeper = ExtentKeeper(
            catalog,
            row_stores,
            self.writer,
            self.files,
            self._root_at,
            clock=platform.clock,
            limits=limits,
            acknowledged=acknowledged,
            is_pinned=is_pinned,
            on_report=on_report,
            on_data_operation=on_data_operation,
            at=platform.reach,
        )

    async def clean(self) -> None:
        """Removes what a crash left half written in the roots of owned databases.

        Call it before anything is written. A root that does not answer is left for the next start.
        """
        urls = {
            tree.storage_root
            for tree in self._catalog.databases()
            if not self._catalog.is_following(tree.name)
        }
        for url in sorted(urls):
            try:
                await self._root_at(url).sweep()
            except RemoraError as error:
                logger.warning("storage root %s is not cleaned: %s", url or "of this node", error)

    def root_of(self, database: Database) -> StorageRoot:
        """The storage root of a database. Raises InvalidRequestError for a URL that is none."""
        return self._root_at(database.storage_root)

    def _root_at(self, url: str) -> StorageRoot:
        url = url or self._default_url
        root = self._roots.get(url)
        if root is None:
            root = self._roots[url] = self._open_root(url)
        return root

    def _place_of(self, database: Database) -> Place:
        if not self._catalog.is_following(database.name):
            return Place(self.root_of(database), in_place=True)
        root = None
        if database.storage_root:
            try:
                root = self._root_at(database.storage_root)
            except RemoraError:
                root = None  # a kind of store this node cannot open: the leader gives the files
        return Place(root, fetch=self._fetch)
