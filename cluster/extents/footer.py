"""What Remora writes into the footer of an extent file, so that the file explains itself (pure).

Parquet's key-value metadata: ``remora.extent`` (format version), ``remora.extent_id``,
``remora.table_id``, ``remora.columns`` (ids, names, Kusto types), ``remora.statistics`` and
``remora.check``: xxh3_64 of the others, so that statistics can be believed before the whole file
has been read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_hexdigest

from cluster.errors import CorruptionError
from cluster.extents.stats import ExtentStatistics, decode_statistics, encode_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.model import Column

FORMAT_VERSION: Final = 1

_VERSION_KEY: Final = "remora.extent"
_CHECK_KEY: Final = "remora.check"
_STATISTICS_KEY: Final = "remora.statistics"


@dataclass(frozen=True, slots=True)
class Footer:
    """Whose file it was when written, and its statistics. Tags and tables may change later."""

    extent_id: str
    table_id: str
    statistics: ExtentStatistics


def encode_footer(
    footer: Footer, columns: Sequence[Column], column_ids: Sequence[int]
) -> dict[str, str]:
    """The key-value metadata of a file with these columns."""
    described = [
        {"id": identity, "name": column.name, "type": column.type.value}
        for column, identity in zip(columns, column_ids, strict=True)
    ]
    content = {
        _VERSION_KEY: str(FORMAT_VERSION),
        "remora.extent_id": footer.extent_id,
        "remora.table_id": footer.table_id,
        "remora.columns": json.dumps(described, ensure_ascii=False),
        _STATISTICS_KEY: encode_statistics(footer.statistics),
    }
    return {**content, _CHECK_KEY: _check(content)}


def decode_footer(metadata: Mapping[bytes, bytes] | None, file: str) -> Footer:
    """Reads the key-value metadata of a file; ``file`` is for the message.

    Raises CorruptionError if it is damaged, is not Remora's, or is of another format version.
    """
    try:
        content = {
            key.decode(): value.decode()
            for key, value in (metadata or {}).items()
            if key.startswith(b"remora.")
        }
        version = content[_VERSION_KEY]
        if version != str(FORMAT_VERSION):
            raise CorruptionError(
                f"the extent file {file} has format version {version[:20]}; this version of "
                f"Remora reads {FORMAT_VERSION}",
                remedy="Use the version of Remora that wrote it, or a newer one.",
                metadata={"file": file, "format_version": version[:20]},
            )
        _verify(content)
        return Footer(
            content["remora.extent_id"],
            content["remora.table_id"],
            decode_statistics(content[_STATISTICS_KEY]),
        )
    except (KeyError, ValueError) as error:
        raise CorruptionError(
            f"the footer of the extent file {file} is damaged: {error}", metadata={"file": file}
        ) from error


def _verify(content: dict[str, str]) -> None:
    if content.pop(_CHECK_KEY) != _check(content):
        raise ValueError("its check does not match")


def _check(content: Mapping[str, str]) -> str:
    return xxh3_64_hexdigest("\0".join(f"{key}={content[key]}" for key in sorted(content)).encode())
