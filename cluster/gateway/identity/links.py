"""How processes of one setup talk to each other: with its secret, and over TLS where that is on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import InvalidRequestError
from cluster.gateway.identity.calls import only_for_setup, with_setup_secret
from cluster.limits import LIMITS, Limits
from cluster.transport import select
from cluster.transport.credentials import ChannelCredentials, ServerCredentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.transport.api import Transport


@dataclass(frozen=True, slots=True)
class Links:
    """``secret`` empty: none is sent and nothing is guarded. Files are PEM; empty: no TLS.

    ``is_guarded``: what only processes of the setup may call is refused without the secret.
    """

    secret: str = field(default="", repr=False)
    is_guarded: bool = False
    certificate: str = ""
    key: str = ""
    authority: str = ""

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Links:
        """Reads the part of a process's configuration. Raises InvalidRequestError."""
        texts = ("secret", "certificate", "key", "authority")
        for name in values:
            if name not in (*texts, "is_guarded"):
                raise InvalidRequestError(f"the configuration has an unknown key: 'links.{name}'")
        for name in texts:
            if not isinstance(values.get(name, ""), str):
                raise InvalidRequestError(f"the configuration wants text as 'links.{name}'")
        if not isinstance(values.get("is_guarded", False), bool):
            raise InvalidRequestError("the configuration wants true or false as 'links.is_guarded'")
        links = cls(**values)
        if links.is_guarded and not links.secret:
            raise InvalidRequestError("the configuration guards services without 'links.secret'")
        return links

    def to_values(self) -> dict[str, Any]:
        """What :meth:`from_values` reads as equal. It has the secret."""
        return {
            "secret": self.secret,
            "is_guarded": self.is_guarded,
            "certificate": self.certificate,
            "key": self.key,
            "authority": self.authority,
        }

    def transport(self, *, limits: Limits = LIMITS) -> Transport:
        """What servers and channels of a process of the setup are made with.

        Raises ValueError (see :mod:`cluster.transport.select`), OSError for a file.
        """
        server = channel = None
        if self.certificate and self.key:
            server = ServerCredentials(
                Path(self.certificate).read_bytes(), Path(self.key).read_bytes()
            )
        if self.authority:
            channel = ChannelCredentials(Path(self.authority).read_bytes())
        return select.transport_from_environment(
            limits=limits,
            server_credentials=server,
            channel_credentials=channel,
            interceptors=[only_for_setup(self.secret)] if self.is_guarded else (),
            client_interceptors=[with_setup_secret(self.secret)] if self.secret else (),
        )
