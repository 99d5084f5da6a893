"""Addresses that only this machine reaches, and what it takes to listen on others. Pure."""

from __future__ import annotations

import ipaddress

from cluster.errors import InvalidRequestError


def check_host(host: str, *, is_required: bool, has_tls: bool) -> None:
    """Refuses to be reached from other machines without authentication and TLS.

    Raises InvalidRequestError saying how to get both.
    """
    if is_loopback_address(host) or (is_required and has_tls):
        return
    missing = [*([] if is_required else ["authentication"]), *([] if has_tls else ["TLS"])]
    raise InvalidRequestError(
        f"host {host[:80]!r} can be reached from other machines, which takes authentication and "
        f"TLS: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not on.",
        remedy=(
            "Run remora up --host ADDRESS --auth required --tls, or write host, mode = "
            '"required" under [auth] and enabled = true under [tls] in the topology file; or leave '
            "host out to listen on loopback alone."
        ),
    )


def is_loopback_address(host: str) -> bool:
    """Whether only this machine reaches it. Names other than localhost count as outside."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def advertised(address: str) -> str:
    """Where processes of this machine reach what listens on ``address``, a host with a port."""
    host, _, port = address.rpartition(":")
    try:
        if not ipaddress.ip_address(host.strip("[]")).is_unspecified:
            return address
    except ValueError:
        return address
    return f"{'[::1]' if ':' in host else '127.0.0.1'}:{port}"


def advertised_url(url: str) -> str:
    """What clients of this machine use: localhost, which every certificate has."""
    scheme, _, address = url.partition("://")
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    is_local = is_loopback_address(host) or advertised(address) != address
    return f"{scheme}://localhost:{port}" if is_local else url
