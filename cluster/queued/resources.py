"""Addresses of the node's storage for its clients, each with a SAS. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from cluster.errors import NotSupportedError
from cluster.queued.addresses import StorageKind, storage_address, storage_path
from cluster.queued.signatures import SignatureRefusedError
from cluster.queued.values import (
    ACCOUNT,
    EXPORTS,
    FAILURES,
    READY,
    STATUS_TABLE,
    SUCCESSES,
    TEMPORARY,
    UPLOADS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.clock import Clock
    from cluster.limits import Limits
    from cluster.queued.signatures import Signer
    from cluster.request import ClientRequest

_BLOBS: Final = "rcwdl"
_ADD: Final = "a"
_PROCESS: Final = "rp"
_ROWS: Final = "raud"

_RESOURCES: Final = (
    ("SecuredReadyForAggregationQueue", StorageKind.QUEUE, READY, _ADD),
    ("SuccessfulIngestionsQueue", StorageKind.QUEUE, SUCCESSES, _PROCESS),
    ("FailedIngestionsQueue", StorageKind.QUEUE, FAILURES, _PROCESS),
    ("TempStorage", StorageKind.BLOB, UPLOADS, _BLOBS),
    ("IngestionsStatusTable", StorageKind.TABLE, STATUS_TABLE, _ROWS),
)


class AddressesPort(Protocol):
    """Where resources are, for clients. There are two, as there are two kinds of storage."""

    def address(
        self,
        request: ClientRequest,
        kind: StorageKind,
        name: str,
        permissions: str,
        expires_seconds: int,
    ) -> str:
        """The address of a container, queue or table, with a SAS.

        Raises NotSupportedError, UnavailableError (nothing can be uploaded at the moment).
        """


class BuiltInAddresses:
    """Addresses of the node's own storage.

    ``origin_of`` gives scheme and host of the node's own HTTP door, for requests that came
    another way; empty: there is none.
    """

    def __init__(self, signer: Signer, origin_of: Callable[[], str]) -> None:
        self._signer = signer
        self._origin_of = origin_of

    def address(
        self,
        request: ClientRequest,
        kind: StorageKind,
        name: str,
        permissions: str,
        expires_seconds: int,
    ) -> str:
        """On the host by which the client has reached the node. Raises NotSupportedError."""
        origin = request.origin or self._origin_of()
        if not origin:
            raise NotSupportedError(
                "This node has no HTTP door, so there is nothing to upload to.",
                remedy="Ingest by streaming, or start the node with its HTTP door.",
            )
        sas = self._signer.sas(name, permissions, expires_seconds)
        return f"{storage_address(origin, kind, name)}?{sas}"


class StorageResources:
    """Answers the commands of queued clients (``cluster.commands.doors.ResourcesDoor``)."""

    def __init__(
        self, signer: Signer, addresses: AddressesPort, *, clock: Clock, limits: Limits
    ) -> None:
        self._signer = signer
        self._addresses = addresses
        self._clock = clock
        self._limits = limits

    async def ingestion_resources(self, request: ClientRequest) -> Sequence[tuple[str, str]]:
        """Kind and address of each resource, one of each kind.

        Raises NotSupportedError, UnavailableError.
        """
        return [
            (title, self._address(request, kind, name, permissions))
            for title, kind, name, permissions in _RESOURCES
        ]

    async def identity_token(self, request: ClientRequest) -> str:
        """A token that only this node makes and understands."""
        return self._signer.identity(request.caller, self._expires_seconds())

    async def export_containers(self, request: ClientRequest) -> Sequence[str]:
        """One container. Raises NotSupportedError, UnavailableError."""
        return [self._address(request, StorageKind.BLOB, EXPORTS, _BLOBS)]

    async def temporary_storage(self, request: ClientRequest) -> Sequence[str]:
        """One container. Raises NotSupportedError, UnavailableError."""
        return [self._address(request, StorageKind.BLOB, TEMPORARY, _BLOBS)]

    async def refresh_batching(self, database: str, table: str) -> None:
        """Policies are read whenever they are needed: there is nothing to forget."""

    def _address(
        self, request: ClientRequest, kind: StorageKind, name: str, permissions: str
    ) -> str:
        expires_seconds = self._expires_seconds()
        return self._addresses.address(request, kind, name, permissions, expires_seconds)

    def _expires_seconds(self) -> int:
        return self._clock.now_ns() // 1_000_000_000 + int(self._limits.storage_signature_seconds)


def own_blob(address: str, signer: Signer, now_seconds: float) -> tuple[str, str] | None:
    """Container and name of a blob of the node's own storage; None: it is somewhere else.

    That it is ours is told by a path below our account and a valid signature, whatever the host:
    a node is reached by many names.
    """
    parts = urlsplit(address)
    path = storage_path(parts.netloc, unquote(parts.path))
    account, _, rest = path.lstrip("/").partition("/")
    container, _, name = rest.partition("/")
    if account != ACCOUNT or not name:
        return None
    try:
        signer.check(container, dict(parse_qsl(parts.query)), "r", now_seconds)
    except SignatureRefusedError:
        return None
    return container, name
