"""Addresses of a node's resources in a storage account, for its clients. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.errors import UnavailableError
from cluster.queued.account.signatures import service_sas

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.queued.account.names import ResourceNames
    from cluster.queued.account.settings import StorageAccount
    from cluster.queued.addresses import StorageKind
    from cluster.request import ClientRequest


class AccountAddresses:
    """Addresses with service SAS, each for one resource (``cluster.queued.resources``).

    ``trouble_of`` says why nothing can be uploaded at the moment; empty: it can.
    """

    def __init__(
        self, account: StorageAccount, names: ResourceNames, trouble_of: Callable[[], str]
    ) -> None:
        self._account = account
        self._names = names
        self._trouble_of = trouble_of

    def address(
        self,
        request: ClientRequest,
        kind: StorageKind,
        name: str,
        permissions: str,
        expires_seconds: int,
    ) -> str:
        """The same for whoever asks. Raises UnavailableError: the account is away."""
        if trouble := self._trouble_of():
            raise UnavailableError(
                f"Nothing can be uploaded at the moment: {trouble}",
                remedy="Start the storage emulator, or correct [queued] storage of the topology.",
                retry_after_seconds=1.0,
            )
        known = self._names.of_kind(kind)[name]
        sas = service_sas(self._account, kind, known, permissions, expires_seconds)
        return f"{self._account.endpoint(kind)}/{known}?{sas}"
