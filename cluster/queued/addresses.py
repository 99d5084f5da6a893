"""Where the node's storage is, by the name its client knows the node by. Pure.

By any name of its own the node has its storage below an account in the path, which every SDK can
parse (``wire-contract.md`` 4.3). Who reaches it by a name of the service gets names of the
service's storage, because some SDKs take no others: ``https://ACCOUNT.blob.core.windows.net/NAME``.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from cluster.queued.values import ACCOUNT

_OF_SERVICE: Final = re.compile(
    r"(?P<scheme>https?)://[\w.-]+\.kusto\.windows\.net(?P<port>:\d+)?", re.IGNORECASE
)
_STORAGE: Final = ".core.windows.net"
_ACCOUNT_HOST: Final = re.compile(
    rf"{ACCOUNT}\.(?:blob|queue|table)\.core\.windows\.net(?::\d+)?", re.IGNORECASE
)


class StorageKind(StrEnum):
    """What holds a resource; the value is the name of Azure's service for it."""

    BLOB = "blob"
    QUEUE = "queue"
    TABLE = "table"


def storage_address(origin: str, kind: StorageKind, name: str) -> str:
    """The address of a container, queue or table, for who reaches the node as ``origin``."""
    service = _OF_SERVICE.fullmatch(origin)
    if service is None:
        return f"{origin}/{ACCOUNT}/{name}"
    return f"{service['scheme']}://{ACCOUNT}.{kind}{_STORAGE}{service['port'] or ''}/{name}"


def storage_path(host: str, path: str) -> str:
    """The path with the account in it, which may have been in the name of the host."""
    # Asked of every request: most hosts are told by their end.
    if _STORAGE not in host.lower() or _ACCOUNT_HOST.fullmatch(host) is None:
        return path
    return f"/{ACCOUNT}{path}"
