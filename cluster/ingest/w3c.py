"""W3C extended log files. Pure.

Lines that start with ``#`` are directives; ``#Fields:`` names the fields of the lines that follow,
which are separated by blanks. A field of ``-`` is missing; one in quotes may hold blanks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cluster.ingest import refusals
from cluster.ingest.delimited import texts_to_batch

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.ingest.plan import TablePlan

_FIELD: Final = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
_LINE: Final = re.compile(r"[^\r\n]+")
_DIRECTIVE: Final = "#"
_FIELDS: Final = "#fields:"


class W3cLog:
    """Decodes the lines of one file, piece by piece."""

    def __init__(self, plan: TablePlan) -> None:
        self._plan = plan
        self._names = [str(path[0]) if path else "" for path in plan.paths]
        self._places: list[int] = [-1] * len(self._names)

    def decode(self, data: bytes) -> pa.RecordBatch | None:
        """The records of some whole lines; None if there are none.

        Raises InvalidCharacterError, and MalformedPayloadError as ``texts_to_batch`` does.
        """
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise refusals.invalid_utf8(error) from None
        columns: list[list[str]] = [[] for _ in self._names]
        for line in _LINE.findall(text.removeprefix("\ufeff")):
            if line.startswith(_DIRECTIVE):
                if line.lower().startswith(_FIELDS):
                    names = line[len(_FIELDS) :].split()
                    self._places = [
                        names.index(name) if name in names else -1 for name in self._names
                    ]
            elif line.strip():
                self._take(line, columns)
        return texts_to_batch(self._plan, columns) if columns[0] else None

    def _take(self, line: str, columns: list[list[str]]) -> None:
        fields = [
            quoted.replace('""', '"') if not bare else "" if bare == "-" else bare
            for quoted, bare in _FIELD.findall(line)
        ]
        for column, place in zip(columns, self._places, strict=True):
            column.append(fields[place] if 0 <= place < len(fields) else "")
