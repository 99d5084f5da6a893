"""Certificates: what is in them, who may read the keys, when they are made anew."""

from __future__ import annotations

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cluster.errors import CorruptionError, InvalidRequestError
from cluster.gateway.identity.certificates import (
    LOCAL_NAMES,
    certificate_names,
    ensure_certificates,
    server_context,
)

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def test_a_certificate_of_loopback_whose_keys_only_the_owner_reads(tmp_path):
    files = ensure_certificates(tmp_path / "tls", NOW)
    assert set(certificate_names(files)) == set(LOCAL_NAMES)
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    for key in (files.key, files.authority_key):
        assert key.stat().st_mode & 0o777 == 0o600
    assert files.trust.read_bytes().startswith(files.authority.read_bytes())
    leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_names_are_added_to_those_there_were(tmp_path):
    ensure_certificates(tmp_path, NOW, ["kusto"])
    files = ensure_certificates(tmp_path, NOW, ["*.Kusto.Windows.Net", "10.0.0.5"])
    names = {*LOCAL_NAMES, "kusto", "*.kusto.windows.net", "10.0.0.5"}
    assert set(certificate_names(files)) == names
    before = files.certificate.read_bytes()
    ensure_certificates(tmp_path, NOW, ["kusto"])
    assert files.certificate.read_bytes() == before


@pytest.mark.parametrize(("days", "is_same"), [(366, True), (367, False), (368, False)])
def test_a_certificate_is_renewed_before_it_ends_and_the_authority_stays(tmp_path, days, is_same):
    files = ensure_certificates(tmp_path, NOW, ["kusto"])
    before = (files.certificate.read_bytes(), files.authority.read_bytes())
    ensure_certificates(tmp_path, NOW + days * DAY)
    assert (files.certificate.read_bytes() == before[0]) is is_same
    assert files.authority.read_bytes() == before[1]
    assert "kusto" in certificate_names(files)


def test_an_authority_that_ends_before_its_certificate_would_is_replaced(tmp_path):
    files = ensure_certificates(tmp_path, NOW)
    before = files.authority.read_bytes()
    ensure_certificates(tmp_path, NOW + 3252 * DAY)
    assert files.authority.read_bytes() == before
    ensure_certificates(tmp_path, NOW + 3253 * DAY)
    assert files.authority.read_bytes() != before
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    leaf.verify_directly_issued_by(authority)


def test_a_key_of_another_certificate_is_not_used(tmp_path):
    files = ensure_certificates(tmp_path / "one", NOW)
    other = ensure_certificates(tmp_path / "two", NOW)
    files.key.write_bytes(other.key.read_bytes())
    ensure_certificates(tmp_path / "one", NOW)
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert key.public_key() == leaf.public_key()


@pytest.mark.parametrize("name", ["", "a b", "https://x", "x/y", "a..b", "*.", "a" * 64, "ü"])
def test_what_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(InvalidRequestError, match="neither a host name nor an address"):
        ensure_certificates(tmp_path, NOW, [name])


def test_at_most_a_hundred_names(tmp_path):
    names = [f"n{number}" for number in range(100 - len(LOCAL_NAMES))]
    ensure_certificates(tmp_path, NOW, names[:-1])
    files = ensure_certificates(tmp_path, NOW, names)
    assert len(certificate_names(files)) == 100
    with pytest.raises(InvalidRequestError, match="100"):
        ensure_certificates(tmp_path, NOW, [*names, "more"])


@pytest.mark.parametrize("name", ["certificate", "authority"])
def test_a_damaged_file_is_named(tmp_path, name):
    files = ensure_certificates(tmp_path, NOW)
    path = getattr(files, name)
    path.write_bytes(b"garbage")
    with pytest.raises(CorruptionError, match=path.name):
        ensure_certificates(tmp_path, NOW)


def test_a_client_that_trusts_the_authority_connects_under_every_name(tmp_path):
    files = ensure_certificates(tmp_path, datetime.datetime.now(datetime.UTC), ["kusto"])
    server = server_context(files.certificate, files.key)
    client = ssl.create_default_context(cafile=str(files.authority))
    for name in ("localhost", "127.0.0.1", "::1", "kusto"):
        assert _handshake(server, client, name) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(server, client, "other")


def _handshake(server, client, name):
    """The version two ends agree on, over memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(8):
        for end in (here, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return here.version()
