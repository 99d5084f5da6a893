"""TLS and mutual TLS of the gRPC transports. Memory has no wire, hence nothing to encrypt."""

from __future__ import annotations

import pytest
import trustme

from cluster.errors import UnavailableError
from cluster.transport.credentials import ChannelCredentials, ServerCredentials


@pytest.fixture(params=["core", "fallback"])
def kind(request):
    """Only transports with a wire."""
    return request.param


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def stranger():
    return trustme.CA()


def server_with(authority, client_authority=None):
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    return ServerCredentials(
        certificate_chain=b"".join(pem.bytes() for pem in certificate.cert_chain_pems),
        private_key=certificate.private_key_pem.bytes(),
        client_authorities=None if client_authority is None else client_authority.cert_pem.bytes(),
    )


def client_with(authority, own_authority=None, **options):
    if own_authority is not None:
        certificate = own_authority.issue_cert("client.test")
        options["certificate_chain"] = certificate.cert_chain_pems[0].bytes()
        options["private_key"] = certificate.private_key_pem.bytes()
    return ChannelCredentials(authorities=authority.cert_pem.bytes(), **options)


async def echo(request, call):
    return request


@pytest.fixture
def call(pair, make_transport):
    """Calls a server with some credentials from a client with others: the answer or error."""

    async def make_call(server_credentials, channel_credentials):
        server = make_transport(server_credentials=server_credentials)
        client = make_transport(channel_credentials=channel_credentials)
        async with pair(server, client, unary=echo) as p:
            try:
                return await p.unary(b"secret", timeout=5)
            except UnavailableError as error:
                return type(error)

    return make_call


async def test_tls(call, authority):
    assert await call(server_with(authority), client_with(authority)) == b"secret"


async def test_mutual_tls(call, authority, stranger):
    server = server_with(authority, client_authority=stranger)
    assert await call(server, client_with(authority, own_authority=stranger)) == b"secret"


async def test_server_of_an_unknown_authority_is_refused(call, authority, stranger):
    assert await call(server_with(authority), client_with(stranger)) is UnavailableError


async def test_client_without_certificate_is_refused(call, authority):
    assert (
        await call(server_with(authority, client_authority=authority), client_with(authority))
        is UnavailableError
    )


async def test_client_of_an_unknown_authority_is_refused(call, authority, stranger):
    server = server_with(authority, client_authority=authority)
    assert await call(server, client_with(authority, own_authority=stranger)) is UnavailableError


async def test_plaintext_to_a_tls_port_is_refused(call, authority):
    assert await call(server_with(authority), None) is UnavailableError


async def test_tls_to_a_plaintext_port_is_refused(call, authority):
    assert await call(None, client_with(authority)) is UnavailableError


async def test_the_name_in_the_certificate_is_checked(call, authority):
    assert (
        await call(server_with(authority), client_with(authority, server_name="other.test"))
        is UnavailableError
    )
    named = client_with(authority, server_name="localhost")
    assert await call(server_with(authority), named) == b"secret"


def test_credentials_are_checked_at_the_door():
    pem = b"-----BEGIN X-----"
    with pytest.raises(ValueError, match="private_key must be PEM"):
        ServerCredentials(pem, b"key")
    with pytest.raises(ValueError, match="authorities must be PEM"):
        ChannelCredentials(authorities=b"der")
    with pytest.raises(ValueError, match="belong together"):
        ChannelCredentials(certificate_chain=pem)
    assert "BEGIN" not in repr(ServerCredentials(pem, pem))
    assert "BEGIN" not in repr(ChannelCredentials(pem, pem, pem))
