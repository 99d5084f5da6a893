"""TXT, RAW and TSVE: text without quotes. Pure.

- TXT: a line is a record of one field; empty lines are skipped.
- RAW: the whole payload is one record of one field.
- TSVE: tabs separate fields, and a backslash takes their meaning from tabs, line ends and itself;
  ``\\t``, ``\\n``, ``\\r`` stand for the characters they name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from cluster.ingest import refusals
from cluster.ingest.delimited import texts_to_batch
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.request import DataFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from cluster.ingest.plan import TablePlan

_BYTE_ORDER_MARK: Final = "\ufeff"
_LINE: Final = re.compile(r"[^\r\n]+")
_ESCAPED_RECORD: Final = re.compile(r"(?:[^\\\r\n]|\\(?:\r\n|.)?)+", re.DOTALL)
_ESCAPED_FIELD: Final = re.compile(r"((?:[^\\\t]|\\.?)*+)(?:\t|\Z)", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_MEANING: Final = {"t": "\t", "n": "\n", "r": "\r"}


class LineRows(NamedTuple):
    """The fields of one payload by column of the plan."""

    row_count: int
    columns: list[list[str]]


class LineFormat:
    """One of TXT, RAW and TSVE for one table."""

    def __init__(self, data_format: DataFormat, plan: TablePlan) -> None:
        self._format = data_format
        self._plan = plan

    def prepare(self, payload: bytes) -> LineRows:
        """Splits the text. Raises EmptyPayloadError, FieldCountError, InvalidCharacterError."""
        try:
            text = payload.decode().removeprefix(_BYTE_ORDER_MARK)
        except UnicodeDecodeError as error:
            raise refusals.invalid_utf8(error) from None
        records = self._records(text)
        if not records:
            raise refusals.empty_payload(self._plan.database, self._plan.table)
        ordinals = self._plan.ordinals
        if ordinals is None:
            ordinals = tuple(range(len(self._plan.columns)))
            if self._format is DataFormat.TSVE:
                _check_field_counts(records, len(ordinals))
        columns = [
            [record[ordinal] if ordinal < len(record) else "" for record in records]
            for ordinal in ordinals
        ]
        return LineRows(len(records), columns)

    def _records(self, text: str) -> list[list[str]]:
        if self._format is DataFormat.RAW:
            return [[text]] if text else []
        if self._format is DataFormat.TXT:
            return [[line] for line in _LINE.findall(text)]
        return [
            [_ESCAPE.sub(_unescaped, field) for field in _split_escaped(record)]
            for record in _ESCAPED_RECORD.findall(text)
        ]

    def decode_together(self, prepared: Sequence[LineRows]) -> pa.RecordBatch:
        """Always declines: these formats are decoded one by one."""
        raise DeclinedError

    def row_counts(self, prepared: Sequence[LineRows], row_count: int) -> list[int]:
        """Records of each payload."""
        return [rows.row_count for rows in prepared]

    def decode_exactly(self, prepared: LineRows) -> pa.RecordBatch:
        """The records of one payload. Raises as ``texts_to_batch`` does."""
        return texts_to_batch(self._plan, prepared.columns)


def _split_escaped(record: str) -> list[str]:
    fields = _ESCAPED_FIELD.findall(record)
    # The pattern also matches the empty text at the end of a record that does not end in a tab.
    return fields if record.endswith("\t") and not _ends_escaped(record) else fields[:-1]


def _ends_escaped(record: str) -> bool:
    head = record[:-1]
    return (len(head) - len(head.rstrip("\\"))) % 2 == 1


def _unescaped(match: re.Match[str]) -> str:
    return _MEANING.get(match[1], match[1])


def _check_field_counts(records: Sequence[Sequence[str]], width: int) -> None:
    for number, record in enumerate(records, 1):
        if len(record) != width:
            raise refusals.field_count(number, len(record), width)
