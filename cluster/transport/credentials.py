"""TLS and mutual TLS as values: PEM bytes in, nothing read from disk here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc


def _check_pem(name: str, pem: bytes | None) -> None:
    if pem is not None and b"-----BEGIN " not in pem:
        raise ValueError(f"{name} must be PEM text as bytes")


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """What a server shows, and whom it takes calls from.

    ``certificate_chain`` starts with the server's own certificate. With ``client_authorities``
    (PEM, one or more CA certificates) a client must show a certificate one of them signed;
    without, any client may connect. ValueError: not PEM.
    """

    certificate_chain: bytes
    private_key: bytes
    client_authorities: bytes | None = None

    def __post_init__(self) -> None:
        _check_pem("certificate_chain", self.certificate_chain)
        _check_pem("private_key", self.private_key)
        _check_pem("client_authorities", self.client_authorities)

    def __repr__(self) -> str:  # a private key must not reach a log
        return f"ServerCredentials(mutual={self.client_authorities is not None})"

    def to_grpc(self) -> Any:
        """The same for grpcio."""
        return grpc.ssl_server_credentials(
            [(self.private_key, self.certificate_chain)],
            root_certificates=self.client_authorities,
            require_client_auth=self.client_authorities is not None,
        )


@dataclass(frozen=True, slots=True)
class ChannelCredentials:
    """Whom a client believes, and what it shows.

    ``authorities``: CA certificates the server's must be signed by; None: the public ones grpcio
    ships. ``certificate_chain`` and ``private_key`` answer a server that asks for a client
    certificate. ``server_name``: the name the server's certificate must carry, where that is not
    the host connected to (for example through a proxy). ValueError: not PEM, or one of a pair.
    """

    authorities: bytes | None = None
    certificate_chain: bytes | None = None
    private_key: bytes | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        _check_pem("authorities", self.authorities)
        _check_pem("certificate_chain", self.certificate_chain)
        _check_pem("private_key", self.private_key)
        if (self.certificate_chain is None) != (self.private_key is None):
            raise ValueError("certificate_chain and private_key belong together")

    def __repr__(self) -> str:  # a private key must not reach a log
        return f"ChannelCredentials(mutual={self.private_key is not None})"

    def to_grpc(self) -> Any:
        """The same for grpcio."""
        return grpc.ssl_channel_credentials(
            self.authorities, self.private_key, self.certificate_chain
        )
