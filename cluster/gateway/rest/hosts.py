"""Which names a request may be sent to, and which pages may send it. Pure.

A page on the web can make a browser send requests to loopback, and a name server can make its own
host name lead there (DNS rebinding). So a request is served only if its ``Host`` is a name of this
machine's loopback or one that was allowed, and if its ``Origin``, which browsers add and pages
cannot change, is one too.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from cluster.errors import HostRefusedError, InvalidRequestError, OriginRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.gateway.http.messages import HttpRequest

_SHOWN_CHARACTERS: Final = 256
_HOST: Final = re.compile(r"(?P<name>[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII)
"""A name or an address, and a port; nothing else, because addresses are made of it."""
_LOCAL: Final = "localhost"
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, MERGE, OPTIONS"
_EXPOSED: Final = "*, x-ms-client-request-id, x-ms-activity-id, Location, ETag"
_MAX_AGE_SECONDS: Final = 3600
_REMEMBERED: Final = 64


class Hosts:
    """The names that are ours: loopback, and ``allowed`` ones.

    An allowed name is a host without a port: ``kusto``, ``*.kusto.windows.net``, ``*``, or an
    address.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self.allowed = tuple(checked_host(name) for name in allowed)
        # Clients send the same few values again and again; bounded, as others may not.
        self._known: dict[str, bool] = {}

    def check(self, request: HttpRequest) -> None:
        """Raises HostRefusedError, OriginRefusedError."""
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            raise HostRefusedError(
                f"this node is not called '{host[:_SHOWN_CHARACTERS]}'",
                metadata={"host": host[:_SHOWN_CHARACTERS]},
            )
        origin = request.headers.get("origin")
        if origin is not None and not self._is_ours(_host_of(origin)):
            raise OriginRefusedError(
                f"pages of '{origin[:_SHOWN_CHARACTERS]}' may not use this node",
                metadata={"origin": origin[:_SHOWN_CHARACTERS]},
            )

    def cors(self, request: HttpRequest) -> Mapping[str, str]:
        """Headers that let the page whose request passed :meth:`check` read the response."""
        origin = request.headers.get("origin")
        if origin is None:
            return {}
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": _EXPOSED,
            "Vary": "Origin",
        }
        wanted = request.headers.get("access-control-request-method")
        if request.method == "OPTIONS" and wanted is not None:
            headers |= {
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": request.headers.get(
                    "access-control-request-headers", "*"
                ),
                "Access-Control-Max-Age": str(_MAX_AGE_SECONDS),
            }
            if request.headers.get("access-control-request-private-network") == "true":
                headers["Access-Control-Allow-Private-Network"] = "true"
        return headers

    def _is_ours(self, host: str) -> bool:
        known = self._known.get(host)
        if known is None:
            known = self._decide(host)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[host] = known
        return known

    def _decide(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].strip("[]").lower().rstrip(".")
        return is_loopback(name) or any(_fits(name, pattern) for pattern in self.allowed)


def is_loopback(name: str) -> bool:
    """Whether a host name always means this machine: no name server is asked about it."""
    if name == _LOCAL or name.endswith(f".{_LOCAL}"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_address(name: str) -> bool:
    """Whether a name is an IP address, without brackets."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def reached_at(host: str) -> tuple[str, ...]:
    """The names by which others reach a node that listens at ``host``, as far as it knows them.

    One that listens at every address knows none of them: they must be allowed.
    """
    name = host.strip("[]")
    if not name or (is_address(name) and ipaddress.ip_address(name).is_unspecified):
        return ()
    return (name,)


def checked_host(text: str) -> str:
    """A name to allow, in lower case. Raises InvalidRequestError for what cannot be one."""
    name = text.strip().lower()
    if is_address(name.strip("[]")):
        return name.strip("[]")
    bare = name.removeprefix("*.")
    if name != "*" and (not bare or set(bare) & set("*/@?#[] \t") or ":" in bare):
        raise InvalidRequestError(
            f"{text[:_SHOWN_CHARACTERS]!r} is not a host name that can be allowed",
            remedy="Give a name without scheme and port: kusto, *.kusto.windows.net, or *.",
        )
    return name


def _fits(name: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    return name == pattern


def _host_of(origin: str) -> str:
    """The host of an Origin; an opaque one ("null") has none."""
    scheme, _, rest = origin.partition("://")
    return rest if scheme in ("http", "https") else ""
