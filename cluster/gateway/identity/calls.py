"""Who calls over gRPC, from the metadata of calls; and the secret of a setup on its way."""

from __future__ import annotations

import hmac
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cluster.access.authenticator import SETUP_HEADER
from cluster.errors import UnauthenticatedError
from cluster.request import Caller, ClientRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from cluster.access.authenticator import Authenticator
    from cluster.access.control import AccessControl
    from cluster.transport.api import Call
    from cluster.transport.interceptors import (
        ClientInterceptor,
        OutgoingCall,
        Proceed,
        ServerInterceptor,
    )

SETUP_SERVICES: Final = (
    "/cluster.rpc.v1.ReplicationService/",
    "/cluster.rpc.v1.CoordinatorService/",
    "/cluster.rpc.v1.FaultService/",
)
"""What only processes of the setup and its command line may call, where authentication is
required."""

AS_CALLER: Final = ("x-remora-as-caller", "true")
"""Metadata of a call that a node makes for a client, which must have the client's rights only."""

_REQUEST_ID: Final = "x-ms-client-request-id"


class CallAccess:
    """Authenticates and authorizes calls. None of both: everybody is anonymous and may do all."""

    def __init__(
        self,
        authenticator: Authenticator | None = None,
        access: AccessControl | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._access = access

    def caller_of(self, call: Call) -> Caller:
        """Raises UnauthenticatedError."""
        if self._authenticator is None:
            return Caller()
        return self._authenticator.caller_of(_texts(call))

    def request_of(self, call: Call) -> ClientRequest:
        """The call as a client request, by the names that HTTP headers have."""
        if self._authenticator is None:
            return ClientRequest(Caller())
        caller, texts = self.caller_of(call), _texts(call)
        return ClientRequest(
            caller,
            request_id=texts.get(_REQUEST_ID, ""),
            application=texts.get("x-ms-app", ""),
            user=texts.get("x-ms-user", ""),
            authorization=texts.get("authorization", ""),
        )

    def require(self, caller: Caller, permission: str, database: str, table: str = "") -> None:
        """As :meth:`AccessControl.require`."""
        if self._access is not None:
            self._access.require(caller, permission, database, table)


def only_for_setup(secret: str, services: Collection[str] = SETUP_SERVICES) -> ServerInterceptor:
    """Refuses calls of these services that do not carry the setup's secret."""
    prefixes, expected = tuple(services), secret.encode()

    async def guard(call: Call, proceed: Proceed) -> None:
        if call.method.startswith(prefixes):
            given = _texts(call).get(SETUP_HEADER, "").encode()
            if not hmac.compare_digest(given, expected):
                raise UnauthenticatedError(
                    f"{call.method} is for processes of the setup.",
                    remedy="Use the remora command line of the setup.",
                )
        await proceed()

    return guard


def with_setup_secret(secret: str) -> ClientInterceptor:
    """Adds the setup's secret to every call but those made for a client."""

    @asynccontextmanager
    async def add(call: OutgoingCall) -> AsyncIterator[OutgoingCall]:
        if AS_CALLER in call.metadata:
            yield call
        else:
            yield replace(call, metadata=(*call.metadata, (SETUP_HEADER, secret)))

    return add


def _texts(call: Call) -> dict[str, str]:
    return {name: value for name, value in call.metadata if isinstance(value, str)}
