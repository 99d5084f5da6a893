"""Metadata rules, checked before a pair reaches any transport.

gRPC's C-core refuses a bad pair with a bare error number after the call has started, so the rules
of ``doc/PROTOCOL-HTTP2.md`` ("Custom-Metadata") are checked at the door.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.transport.api import Metadata

_KEY = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[\x20-\x7e]*")


def checked_metadata(pairs: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
    """``pairs`` as a tuple.

    Raises ValueError naming the pair if a key is not lower-case letters, digits and ``_.-``, is
    reserved (``grpc-``), or if the value's type does not fit: bytes for keys that end in ``-bin``,
    printable ASCII without leading or trailing blanks for all others.
    """
    checked = tuple((key, value) for key, value in pairs or ())
    for key, value in checked:
        if not _KEY.fullmatch(key) or key.startswith("grpc-"):
            raise ValueError(f"metadata key {key!r} is not a valid key or is reserved")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise ValueError(f"metadata {key!r} must be bytes because its key ends in -bin")
        elif not isinstance(value, str) or not _TEXT.fullmatch(value) or value != value.strip():
            raise ValueError(f"metadata {key!r} must be printable ASCII text, not {value!r}")
    return checked
