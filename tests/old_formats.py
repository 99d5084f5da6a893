"""Data folders that older builds wrote, unpacked for tests; see ``tests/data/README.md``."""

from __future__ import annotations

import tarfile
from pathlib import Path

_DATA = Path(__file__).parent / "data"


def unpack_format_1(folder: Path) -> Path:
    """Unpacks the folders of the first formats (``leader/0``, ``follower1/0``) into ``folder``."""
    with tarfile.open(_DATA / "format_1.tar.gz") as archive:
        for member in archive.getmembers():
            # Not extractall: Pythons before 3.11.4 cannot be told to distrust an archive.
            content = archive.extractfile(member)
            if content is not None:
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
    return folder
