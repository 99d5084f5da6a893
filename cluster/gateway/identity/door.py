"""What every door of a node asks about callers, as one value made from the node's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from cluster.access.authenticator import Authenticator
from cluster.access.control import AccessControl
from cluster.access.tokens import TokenKey
from cluster.errors import InvalidRequestError
from cluster.gateway.identity.calls import CallAccess
from cluster.gateway.identity.provider import IdentityProvider

if TYPE_CHECKING:
    from cluster.access.control import Trees
    from cluster.access.settings import AuthSettings
    from cluster.clock import Clock
    from cluster.gateway.http.messages import HttpRequest
    from cluster.gateway.identity.links import Links

_UNSIGNED: Final = "a setup without a secret of its own"
PUBLIC_LOGIN_HOST: Final = "login.microsoftonline.com"
_SERVICE_DOMAINS: Final = (".windows.net", ".azure.com")


@dataclass(frozen=True, slots=True)
class IdentityDoor:
    """Authentication, authorization and tokens of one node."""

    authenticator: Authenticator
    access: AccessControl
    provider: IdentityProvider
    calls: CallAccess

    def authorize(self, request: HttpRequest, permission: str, database: str, table: str) -> None:
        """For routes: raises UnauthenticatedError, AccessDeniedError."""
        caller = self.authenticator.caller_of(request.headers)
        self.access.require(caller, permission, database, table)


class IdentityConfig(Protocol):
    """What of a node's configuration is about identity."""

    @property
    def cluster(self) -> str: ...
    @property
    def auth(self) -> AuthSettings: ...
    @property
    def links(self) -> Links: ...


def open_identity(config: IdentityConfig, trees: Trees, clock: Clock) -> IdentityDoor:
    """The door of a node. All nodes of a setup take each other's tokens.

    Raises InvalidRequestError if authentication is required and there is no secret to sign with.
    """
    settings, secret = config.auth, config.links.secret
    if settings.is_required and not secret:
        raise InvalidRequestError(
            "authentication is required, and the configuration has no secret of the setup"
        )
    # Without a secret nobody is refused anything for want of a token, so none is worth forging.
    key = TokenKey((secret or _UNSIGNED).encode())
    authenticator = Authenticator(settings, key, clock, setup_secret=secret)
    access = AccessControl(trees, settings, cluster=config.cluster)
    provider = IdentityProvider(settings, key, clock)
    return IdentityDoor(authenticator, access, provider, CallAccess(authenticator, access))


class LoginEndpoint:
    """What ``/v1/rest/auth/metadata`` names as ``LoginEndpoint`` to a client that asked like this.

    The host the client used, with the port of HTTPS, under ``/adfs``; the public cloud's where
    there is no HTTPS. A client that reached the node by a name of the service gets the service's
    own login host: whoever resolves the one to this machine resolves the other too.
    """

    def __init__(self) -> None:
        self._port = ""

    def serve_at(self, https_url: str) -> None:
        """HTTPS is there."""
        self._port = https_url.rpartition(":")[2]

    def __call__(self, request: HttpRequest) -> str:
        """The endpoint."""
        host = urlsplit(f"//{request.host}").hostname or "localhost"
        if not self._port or host.endswith(_SERVICE_DOMAINS):
            return f"https://{PUBLIC_LOGIN_HOST}"
        shown = f"[{host}]" if ":" in host else host
        return f"https://{shown}{'' if self._port == '443' else ':' + self._port}/adfs"
