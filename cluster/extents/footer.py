"""What Remora writes into the footer of an extent file, so that the file explains itself (pure).

Parquet's key-value metadata: ``remora.extent`` (format version), ``remora.extent_id``,
``remora.table_id``, ``remora.columns`` (ids, names, Kusto types), ``remora.statistics``, and
``remora.blocks``: xxh3_64 of each block of the bytes before the footer, to find damage by.

The checksum of the footer itself, from its first byte to the end of the file, is in the file's
name. So statistics can be believed before the whole file has been read, and no byte is given to
the Parquet library that was not verified: pyarrow 26 ends the process for some damaged footers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.errors import CorruptionError
from cluster.extents.stats import ExtentStatistics, decode_statistics, encode_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.model import Column

FORMAT_VERSION: Final = 1

_VERSION_KEY: Final = "remora.extent"
_STATISTICS_KEY: Final = "remora.statistics"
_BLOCKS_KEY: Final = "remora.blocks"

BLOCK_BYTES: Final = 1 << 20
"""Bytes that one checksum of ``remora.blocks`` is of; the last one may be of fewer."""


@dataclass(frozen=True, slots=True)
class Footer:
    """Whose file it was when written (tags and tables may change later), and what is in it.

    ``blocks``: xxh3_64 of each block of BLOCK_BYTES before the footer.
    """

    extent_id: str
    table_id: str
    statistics: ExtentStatistics
    blocks: tuple[int, ...]


def encode_footer(
    footer: Footer, columns: Sequence[Column], column_ids: Sequence[int]
) -> dict[str, str]:
    """The key-value metadata of a file with these columns."""
    described = [
        {"id": identity, "name": column.name, "type": column.type.value}
        for column, identity in zip(columns, column_ids, strict=True)
    ]
    return {
        _VERSION_KEY: str(FORMAT_VERSION),
        "remora.extent_id": footer.extent_id,
        "remora.table_id": footer.table_id,
        "remora.columns": json.dumps(described, ensure_ascii=False),
        _STATISTICS_KEY: encode_statistics(footer.statistics),
        _BLOCKS_KEY: "".join(f"{block:016x}" for block in footer.blocks),
    }


def decode_footer(metadata: Mapping[bytes, bytes] | None, file: str) -> Footer:
    """Reads the key-value metadata of a file; ``file`` is for the message.

    Raises CorruptionError if it is not Remora's, or is of another format version.
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
        blocks = content[_BLOCKS_KEY]
        return Footer(
            content["remora.extent_id"],
            content["remora.table_id"],
            decode_statistics(content[_STATISTICS_KEY]),
            tuple(int(blocks[at : at + 16], 16) for at in range(0, len(blocks), 16)),
        )
    except (KeyError, ValueError) as error:
        raise CorruptionError(
            f"{file} is not an extent file: {error!r}", metadata={"file": file}
        ) from error
