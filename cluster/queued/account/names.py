"""Names of what a node has in a storage account. Pure.

An account can be shared: by the clusters of one setup, and by setups. So names have the cluster's,
for people, and a mark of the node's folder, because a node whose data is new must not take what was
queued for an earlier one: what it has ingested is remembered in the folder.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.queued.addresses import StorageKind
from cluster.queued.values import CONTAINERS, QUEUES, TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLUSTER_LETTERS: Final = 20
_MARK_LETTERS: Final = 8


@dataclass(frozen=True, slots=True)
class ResourceNames:
    """Names in the account by the names they have in the node's own storage."""

    containers: Mapping[str, str]
    queues: Mapping[str, str]
    tables: Mapping[str, str]

    @classmethod
    def of(cls, cluster: str, secret: bytes) -> ResourceNames:
        """The names of a cluster's node whose folder has ``secret``, which they do not tell."""
        mark = hashlib.sha256(b"names in a storage account\0" + secret).hexdigest()
        short = re.sub("[^a-z0-9]+", "-", cluster.lower())[:_CLUSTER_LETTERS].strip("-")
        prefix = f"{short or 'cluster'}-{mark[:_MARK_LETTERS]}"
        # Names of tables have letters and digits alone, and begin with a letter.
        flat = prefix.replace("-", "")
        return cls(
            {name: f"{prefix}-{name}" for name in CONTAINERS},
            {name: f"{prefix}-{name}" for name in QUEUES},
            {name: f"{name}{flat}" for name in TABLES},
        )

    def of_kind(self, kind: StorageKind) -> Mapping[str, str]:
        """Those of one service."""
        return {
            StorageKind.BLOB: self.containers,
            StorageKind.QUEUE: self.queues,
            StorageKind.TABLE: self.tables,
        }[kind]
