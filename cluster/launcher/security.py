"""Who may reach a setup, and how: part of a topology. Pure.

In the file::

    host = "0.0.0.0"              # address of gRPC and HTTPS; default loopback. Outside of it takes
                                  # both of the following; plain HTTP stays on loopback
    [auth]
    mode = "required"             # default optional: who says nothing is an administrator
    admins = ["aadapp=ID;adfs"]   # over all databases of every cluster; viewers and monitors too
    identity_header = "..."       # IDENTITY_HEADER of clients with a managed identity
    identities = ["ID"]           # managed identities that may be asked for by id

    [[auth.applications]]         # who may get tokens with id and secret
    id = "ID"
    secret = "..."
    tenant = "adfs"
    groups = ["aadgroup=..."]

    [[auth.tokens]]               # tokens that are somebody for ever
    token = "..."
    principal = "aaduser=ann@example.org"

    [tls]
    enabled = true
    names = ["mycluster.kusto.windows.net"]   # in the certificate, besides localhost
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from cluster.access.settings import AuthSettings, auth_from_values, auth_to_values
from cluster.errors import InvalidRequestError
from cluster.gateway.identity.hosts import check_host, is_loopback_address

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS: Final = ("host", "auth", "tls")
"""Keys of a topology file that are read here."""


@dataclass(frozen=True, slots=True)
class Security:
    """``host`` empty: loopback. ``names`` are in the certificate besides those of loopback."""

    host: str = ""
    auth: AuthSettings = field(default_factory=AuthSettings)
    has_tls: bool = False
    names: tuple[str, ...] = ()

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names under which HTTP is served besides loopback."""
        own = () if not self.host or is_loopback_address(self.host) else (self.host,)
        return tuple(name for name in (*self.names, *own) if ":" not in name)


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """What a command line says over the file; None: what the file says."""

    mode: str | None = None
    has_tls: bool | None = None
    host: str | None = None

    def over(self, security: Security) -> Security:
        """The security with these options. Raises InvalidRequestError."""
        auth = security.auth
        if self.mode is not None:
            auth = replace(auth, is_required=self.mode == "required")
        changed = replace(
            security,
            auth=auth,
            has_tls=security.has_tls if self.has_tls is None else self.has_tls,
            host=security.host if self.host is None else self.host,
        )
        return checked(changed)


def checked(security: Security) -> Security:
    """The same. Raises InvalidRequestError if it may not be reached like this."""
    if security.host:
        check_host(security.host, is_required=security.auth.is_required, has_tls=security.has_tls)
    return security


def security_from_values(values: Mapping[str, Any]) -> Security:
    """Reads the keys of a topology file. Whether ``host`` may be is not decided here.

    Raises InvalidRequestError naming the key that is wrong, and no secret.
    """
    host, auth, tls = values.get("host", ""), values.get("auth", {}), values.get("tls", {})
    if not isinstance(host, str):
        raise InvalidRequestError(f"host: must be an address, not {host!r}")
    if not isinstance(auth, dict) or not isinstance(tls, dict):
        raise InvalidRequestError("auth and tls must be tables, written [auth] and [tls]")
    for key in tls:
        if key not in ("enabled", "names"):
            raise InvalidRequestError(f"tls.{key}: there is no such key; known are enabled, names")
    enabled, names = tls.get("enabled", False), tls.get("names", [])
    if not isinstance(enabled, bool):
        raise InvalidRequestError(f"tls.enabled: must be true or false, not {enabled!r}")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidRequestError(f"tls.names: must be a list of names, not {names!r}")
    return Security(host, auth_from_values(auth), enabled, tuple(names))


def security_to_values(security: Security) -> dict[str, Any]:
    """The keys of a file that :func:`security_from_values` reads as equal. It has the secrets."""
    return {
        "host": security.host,
        "auth": auth_to_values(security.auth),
        "tls": {"enabled": security.has_tls, "names": list(security.names)},
    }
