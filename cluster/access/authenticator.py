"""Who sent a request, by its headers. Pure.

========================================  ===================  ==================
``Authorization``                         optional             required
========================================  ===================  ==================
none                                      anonymous            refused
a configured token, or one issued here    who it names         who it names
one issued here that has expired          refused              refused
any other bearer token                    anonymous            refused
the setup's own secret                    the node             the node
========================================  ===================  ==================

SDKs send tokens of other issuers to whatever they are pointed at, so where authentication is
optional an unknown token is no reason to refuse; an expired one is, as the client is to get a new
one. The setup's secret comes in a header of its own, which clients do not send.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from cluster.errors import UnauthenticatedError
from cluster.request import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.access.settings import AuthSettings
    from cluster.access.tokens import Claims, TokenKey
    from cluster.clock import Clock

SETUP_HEADER: Final = "x-remora-setup"
"""Carries the secret of a setup between its own processes."""

_BEARER: Final = "bearer "
_TOKENS_REMEMBERED: Final = 1024
_NODE: Final = Caller(is_node=True)
_ANONYMOUS: Final = Caller()


class Authenticator:
    """Tells callers by headers. ``setup_secret`` empty: no header makes anybody the node."""

    def __init__(
        self, settings: AuthSettings, key: TokenKey, clock: Clock, *, setup_secret: str = ""
    ) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock
        self._setup_digest = _digest(setup_secret) if setup_secret else b""
        self._read: dict[bytes, Claims] = {}  # a client sends one token for an hour
        # By digest: how long a look-up takes tells nothing about a token.
        self._tokens = {
            _digest(item.token): Caller(item.principal, item.groups) for item in settings.tokens
        }

    @property
    def is_required(self) -> bool:
        """Whether anonymous callers are refused."""
        return self._settings.is_required

    def caller_of(self, headers: Mapping[str, str]) -> Caller:
        """Who sent headers with these names in lower case. Raises UnauthenticatedError."""
        if self._setup_digest and SETUP_HEADER in headers:
            if not hmac.compare_digest(_digest(headers[SETUP_HEADER]), self._setup_digest):
                raise UnauthenticatedError(
                    "The secret of another setup was sent.",
                    remedy="Use the command line, or the nodes, of the setup itself.",
                )
            return _NODE
        authorization = headers.get("authorization", "").strip()
        if not authorization:
            return self._unknown("The request carries no token.")
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return self._unknown("The request's Authorization header is not of type Bearer.")
        return self._bearer(authorization[len(_BEARER) :].strip())

    def _bearer(self, token: str) -> Caller:
        digest = _digest(token)
        known = self._tokens.get(digest)
        if known is not None:
            return known
        claims = self._read.get(digest)
        if claims is None:
            claims = self._key.read(token)
            if claims is None:
                return self._unknown(
                    "The request's token is not one that was issued or configured."
                )
            if len(self._read) >= _TOKENS_REMEMBERED:
                self._read.clear()
            self._read[digest] = claims
        if self._clock.now_ns() // 10**9 >= claims.expires_at:
            raise UnauthenticatedError(
                "The request's token has expired.", remedy="Get a new token, and send it again."
            )
        return Caller(claims.principal, claims.groups)

    def _unknown(self, why: str) -> Caller:
        if self._settings.is_required:
            raise UnauthenticatedError(why)
        return _ANONYMOUS


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
