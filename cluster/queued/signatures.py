"""Shared access signatures of the node's own storage, and identity tokens. Pure.

Both are made with a secret of the node and checked with it alone. They look like Azure's, so that
SDKs parse them; what is signed is ours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from cluster.errors import IdentityTokenError
from cluster.request import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = "2024-11-04"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class SignatureRefusedError(Exception):
    """A SAS does not allow it. ``code`` is Azure storage's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and checks with one secret. Times in seconds since 1970 UTC."""

    secret: bytes

    def sas(self, resource: str, permissions: str, expires_seconds: int) -> str:
        """The query of an address of ``resource``: a container, queue or table, by its name."""
        expires = datetime.fromtimestamp(expires_seconds, UTC).strftime(_TIME)
        return urlencode(
            {
                "sv": VERSION,
                "se": expires,
                "sr": "c",
                "sp": permissions,
                "spr": "https,http",
                "sig": self._signature("sas", resource, permissions, expires),
            }
        )

    def check(
        self, resource: str, query: Mapping[str, str], permission: str, now_seconds: float
    ) -> None:
        """Raises SignatureRefusedError unless ``query`` allows one of ``permission``'s letters."""
        expires, allowed = query.get("se", ""), query.get("sp", "")
        wanted = self._signature("sas", resource, allowed, expires)
        if not hmac.compare_digest(wanted.encode(), query.get("sig", "").encode()):
            raise SignatureRefusedError(
                "AuthenticationFailed",
                "Server failed to authenticate the request. Make sure the value of the signature "
                "is formed correctly: ask for new ingestion resources.",
            )
        # Signed by us, so it is a time.
        until = datetime.strptime(expires, _TIME).replace(tzinfo=UTC)
        if until.timestamp() <= now_seconds:
            raise SignatureRefusedError(
                "AuthenticationFailed", f"The signature has expired at {expires}."
            )
        if not set(permission) & set(allowed):
            raise SignatureRefusedError(
                "AuthorizationPermissionMismatch",
                f"The signature allows '{allowed}', this needs one of '{permission}'.",
            )

    def identity(self, caller: Caller, expires_seconds: int) -> str:
        """A token that says who somebody is (``.get kusto identity token``)."""
        facts = {
            "principal": caller.principal,
            "groups": sorted(caller.groups),
            "expires": expires_seconds,
        }
        text = _encoded(json.dumps(facts).encode())
        return f"{text}.{self._signature('identity', text)}"

    def caller(self, token: str, now_seconds: float) -> Caller:
        """Who got the token. Raises IdentityTokenError: it is not one, or has expired."""
        text, _, signature = token.partition(".")
        wanted = self._signature("identity", text)
        if not hmac.compare_digest(wanted.encode(), signature.encode()):
            raise IdentityTokenError("The identity token of the message is not one of this node.")
        facts = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if facts["expires"] <= now_seconds:
            raise IdentityTokenError("The identity token of the message has expired.")
        return Caller(principal=facts["principal"], groups=frozenset(facts["groups"]))

    def _signature(self, *parts: str) -> str:
        data = "\n".join(parts).encode()
        return _encoded(hmac.new(self.secret, data, hashlib.sha256).digest())


def _encoded(data: bytes) -> str:
    """Without padding and with letters that no address escapes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
