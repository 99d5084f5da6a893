"""A private certificate authority and one certificate of it, as files.

The folder has ``ca.pem``, ``ca-key.pem``, ``node.pem``, ``node-key.pem`` and ``trust.pem``, the
authority together with those the system trusts, for clients that take one bundle only. Keys can be
read by their owner alone. What is there is used again; the certificate is made anew when it lacks a
name that is asked for, was signed by another authority, or ends soon.

Guarantees: the authority stays the same until it ends, so clients trust it once; a certificate and
its key always belong together, whoever makes them at the same time.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cluster.errors import CorruptionError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LOCAL_NAMES: Final = ("localhost", "ingest-localhost", "127.0.0.1", "::1")
"""Names every certificate has; SDKs put ``ingest-`` before the host for queued ingestion."""

TRANSPARENT_NAMES: Final = (
    "*.kusto.windows.net",
    "login.microsoftonline.com",
    "login.windows.net",
    "management.azure.com",
    "*.blob.core.windows.net",
    "*.queue.core.windows.net",
    "*.table.core.windows.net",
)
"""Names of the service itself, for those who resolve them to this machine."""

_AUTHORITY_DAYS: Final = 3650
_CERTIFICATE_DAYS: Final = 397
_RENEWED_DAYS: Final = 30
_NAMES_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths. ``certificate`` is the chain that a server shows, ``trust`` for clients of it."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The authority's certificate."""
        return self.folder / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """The authority's key."""
        return self.folder / "ca-key.pem"

    @property
    def certificate(self) -> Path:
        """The certificate of nodes."""
        return self.folder / "node.pem"

    @property
    def key(self) -> Path:
        """Its key."""
        return self.folder / "node-key.pem"

    @property
    def trust(self) -> Path:
        """The authority and those that the system trusts, in one file."""
        return self.folder / "trust.pem"


def ensure_certificates(
    folder: Path, now: datetime.datetime, names: Sequence[str] = ()
) -> TlsFiles:
    """Makes what is missing. ``names`` are served besides ``LOCAL_NAMES`` and earlier ones.

    Raises InvalidRequestError for what is no name, CorruptionError for a file that is damaged,
    OSError.
    """
    for name in names:
        _general_name(name)
    files = TlsFiles(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder / "lock"):
        authority, key = _authority(files, now)
        present = _certificate(files)
        earlier = _names(present)
        wanted = tuple(dict.fromkeys((*LOCAL_NAMES, *earlier, *(name.lower() for name in names))))
        if len(wanted) > _NAMES_MOST:
            raise InvalidRequestError(f"A certificate has at most {_NAMES_MOST} names.")
        if not _is_good(files, present, authority, now, wanted):
            _issue(files, authority, key, now, wanted)
        _write_trust(files)
    return files


def certificate_names(files: TlsFiles) -> tuple[str, ...]:
    """Names in the certificate; empty without one. Raises CorruptionError."""
    return _names(_certificate(files))


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What an HTTPS listener shows. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _authority(
    files: TlsFiles, now: datetime.datetime
) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if files.authority.exists() and files.authority_key.exists():
        try:
            found = x509.load_pem_x509_certificate(files.authority.read_bytes())
            loaded = serialization.load_pem_private_key(files.authority_key.read_bytes(), None)
        except ValueError as error:
            raise _damaged(files.authority, error) from None
        ends = found.not_valid_after_utc - datetime.timedelta(days=_CERTIFICATE_DAYS)
        if isinstance(loaded, ec.EllipticCurvePrivateKey) and now < ends:
            return found, loaded
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject("Remora local authority")
    public = key.public_key()
    made = (
        _builder(name, name, public, now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, _sha256())
    )
    _write(files.authority_key, _pem_key(key), 0o600)
    _write(files.authority, _pem(made), 0o644)
    return made, key


def _issue(
    files: TlsFiles,
    authority: x509.Certificate,
    authority_key: EllipticCurvePrivateKey,
    now: datetime.datetime,
    names: Sequence[str],
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    made = (
        _builder(_subject(names[0]), authority.subject, public, now, _CERTIFICATE_DAYS)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, _sha256())
    )
    _write(files.key, _pem_key(key), 0o600)
    _write(files.certificate, _pem(made) + _pem(authority), 0o644)


def _certificate(files: TlsFiles) -> x509.Certificate | None:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(files.certificate.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(files.certificate, error) from None


def _names(certificate: x509.Certificate | None) -> tuple[str, ...]:
    from cryptography import x509

    if certificate is None:
        return ()
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = (str(item) for item in found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def _is_good(
    files: TlsFiles,
    present: x509.Certificate | None,
    authority: x509.Certificate,
    now: datetime.datetime,
    names: Iterable[str],
) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization

    if present is None or set(names) - set(_names(present)):
        return False
    if now >= present.not_valid_after_utc - datetime.timedelta(days=_RENEWED_DAYS):
        return False
    try:
        present.verify_directly_issued_by(authority)
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    except (InvalidSignature, ValueError, OSError):
        return False
    return key.public_key() == present.public_key()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: object,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        # Clocks of clients may be behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        labels = name.removeprefix("*.").split(".")
    if not name.isascii() or not all(
        0 < len(label) <= 63 and label.replace("-", "").replace("_", "").isalnum()
        for label in labels
    ):
        raise InvalidRequestError(
            f"{name[:80]!r} is neither a host name nor an address.",
            remedy="Give names like mycluster.kusto.windows.net, *.example.org or 10.0.0.5.",
        )
    return x509.DNSName(name.lower())


def _write_trust(files: TlsFiles) -> None:
    system = ssl.get_default_verify_paths().cafile
    others = Path(system).read_bytes() if system and Path(system).exists() else b""
    content = files.authority.read_bytes() + others
    if not files.trust.exists() or files.trust.read_bytes() != content:
        _write(files.trust, content, 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by more than ``mode`` says."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    fresh.replace(path)


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _pem_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _sha256() -> hashes.SHA256:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _damaged(path: Path, error: Exception) -> CorruptionError:
    return CorruptionError(
        f"{path} is damaged: {error}",
        remedy="Delete the folder it is in; remora certs makes a new authority.",
        metadata={"file": str(path)},
    )
