"""Rows of a run as payloads: every value follows from the row's id. Pure."""

from __future__ import annotations

import datetime
import gzip
import hashlib
from typing import TYPE_CHECKING, Final

from cluster.conformance.plan import BASE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPOCH: Final = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
_TOO_MANY_BYTES: Final = 5 * 1024 * 1024
"""Over ``Limits.ingest_request_bytes``, and small enough to be sent."""


def payload_of(ids: Sequence[int], columns: Sequence[str], source: str, flaw: str = "") -> bytes:
    """Rows as CSV, in the order of a table's columns: those of every table, then those added.

    ``flaw`` as in :data:`cluster.conformance.calls.FLAWS`; ValueError if it is none of them.
    """
    added = len([name for name in columns if name not in BASE_COLUMNS])
    lines = []
    for number in ids:
        at = _EPOCH + datetime.timedelta(seconds=number)
        text = hashlib.blake2b(str(number).encode(), digest_size=4 + number % 24).hexdigest()
        lines.append(
            ",".join([str(number), source, at.isoformat(), text, *([str(number)] * added)])
        )
    if flaw == "malformed":
        lines[-1] = "not-a-number" + lines[-1][lines[-1].index(",") :]
    elif flaw == "fields":
        lines[-1] = lines[-1].rpartition(",")[0]
    payload = ("\n".join(lines) + "\n").encode()
    if flaw == "oversize":
        return payload + b"x" * _TOO_MANY_BYTES
    if flaw == "gzip":
        return gzip.compress(payload, mtime=0)[:-6]
    if flaw not in ("", "malformed", "fields"):
        raise ValueError(f"no such flaw: {flaw}")
    return payload
