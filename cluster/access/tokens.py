"""Access tokens that say who their bearer is, signed with a key of the setup. Pure.

A token is a JSON Web Token with HMAC-SHA-256: SDKs pass it on without looking inside, and every
node of a setup has the same key, so that a token of one door opens the others. Only this one
algorithm is read, whatever a token's header says.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, Final

AUDIENCE: Final = "https://kusto.kusto.windows.net"
TOKEN_SECONDS: Final = 3600
"""How long a token is good for, as the service's own are at least."""

_HEADER: Final = {"alg": "HS256", "typ": "JWT"}
_TOKEN_CHARACTERS: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times are seconds since 1970 UTC; it is good before ``expires_at``."""

    principal: str
    groups: frozenset[str]
    issued_at: int
    expires_at: int


class TokenKey:
    """Signs and reads tokens. The key is in no ``repr``."""

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        """Derived from the secret: what signs tokens is not what opens the setup."""
        if len(secret) < 16:
            raise ValueError("a secret has at least 16 bytes")
        self._key = hmac.digest(secret, b"remora access tokens", hashlib.sha256)

    def issue(self, principal: str, groups: frozenset[str], now: int) -> str:
        """A token that is good for ``TOKEN_SECONDS`` from ``now``."""
        claims = {
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + TOKEN_SECONDS,
            "sub": principal,
            "groups": sorted(groups),
        }
        signed = f"{_encoded(_HEADER)}.{_encoded(claims)}"
        return f"{signed}.{_text(self._signature(signed))}"

    def read(self, token: str) -> Claims | None:
        """What a token of ours says, expired or not; None: it is not one of ours."""
        signed, _, signature = token.rpartition(".")
        if len(token) > _TOKEN_CHARACTERS or not signed or not token.isascii():
            return None
        if not hmac.compare_digest(_text(self._signature(signed)), signature):
            return None
        # It is signed: what follows was written by :meth:`issue`.
        values = json.loads(_bytes(signed.rpartition(".")[2]))
        return Claims(values["sub"], frozenset(values["groups"]), values["iat"], values["exp"])

    def _signature(self, signed: str) -> bytes:
        return hmac.digest(self._key, signed.encode(), hashlib.sha256)


def _encoded(values: dict[str, Any]) -> str:
    return _text(json.dumps(values, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
