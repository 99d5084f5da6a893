"""What processes of a setup share: its secret, and the certificate where TLS is on.

The secret is a file of the setup's folder that its owner alone can read; the authority that signed
the certificate is copied beside it, so that whoever has the folder can connect. Certificates
themselves are of the home folder: clients trust one authority for all setups.
"""

from __future__ import annotations

import datetime
import os
import secrets
from typing import TYPE_CHECKING, Final

from cluster.errors import CorruptionError
from cluster.gateway.identity.links import Links

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.launcher.setup import Setup

KEY_FILE: Final = "setup.key"
AUTHORITY_FILE: Final = "ca.pem"
TLS_FOLDER: Final = "tls"
"""In the home folder."""

_SECRET_BYTES: Final = 32


def prepare_links(setup: Setup, home: Path) -> Links:
    """What the processes of a setup are told; makes what is missing.

    Raises what :func:`ensure_certificates` raises, CorruptionError.
    """
    setup.folder.mkdir(parents=True, exist_ok=True)
    security = setup.topology.security
    secret = _read_secret(setup.folder) or _make_secret(setup.folder)
    links = Links(secret=secret, is_guarded=security.auth.is_required)
    if not security.has_tls:
        return links
    from cluster.gateway.identity.certificates import ensure_certificates

    now = datetime.datetime.now(datetime.UTC)
    files = ensure_certificates(home / TLS_FOLDER, now, security.names)
    authority = setup.folder / AUTHORITY_FILE
    authority.write_bytes(files.authority.read_bytes())
    return Links(
        secret,
        security.auth.is_required,
        str(files.certificate),
        str(files.key),
        str(authority),
    )


def client_links(setup: Setup) -> Links:
    """What the command line and tests connect with."""
    secret = _read_secret(setup.folder)
    authority = setup.folder / AUTHORITY_FILE
    has_tls = setup.topology.security.has_tls and authority.exists()
    return Links(secret, authority=str(authority) if has_tls else "")


def remove_links(folder: Path) -> None:
    """Deletes the files of a setup's folder that are of no use without it."""
    for name in (KEY_FILE, AUTHORITY_FILE):
        (folder / name).unlink(missing_ok=True)


def _read_secret(folder: Path) -> str:
    path = folder / KEY_FILE
    try:
        secret = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        secret = ""
    if len(secret) < _SECRET_BYTES:
        raise CorruptionError(
            f"{path} is damaged",
            remedy="Delete it while the setup is down; remora up makes a new one.",
            metadata={"file": str(path)},
        )
    return secret


def _make_secret(folder: Path) -> str:
    secret = secrets.token_hex(_SECRET_BYTES)
    fresh = folder / f"{KEY_FILE}.new"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secret + "\n")
    fresh.replace(folder / KEY_FILE)
    return secret
