"""What a Kusto REST endpoint answers: datasets of version 1 and 2, and errors. Pure.

After Microsoft's ``api/rest/response.md`` and what the official SDKs accept. An error becomes one
of Remora's own classes, so that a run treats every door alike: refused for certain only if the
service itself says that it took nothing, in doubt otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.conformance.system import is_definite
from cluster.errors import (
    AccessDeniedError,
    InvalidRequestError,
    PayloadTooLargeError,
    ProtocolError,
    RemoraError,
    SemanticError,
    StreamingDisabledError,
    ThrottledError,
    TimedOutError,
    UnavailableError,
    error_classes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_REJECTED: Final = frozenset({401, 403, 404, 412, 413, 429})
"""Statuses with which a gateway turns a request away before anybody has worked on it."""

_TIMED_OUT: Final = frozenset({408, 504})
_SHOWN_CHARACTERS: Final = 400
_WORST_SEVERITY: Final = 2
"""Rows of a QueryStatus table up to this severity are failures."""


@dataclass(frozen=True, slots=True)
class RestTable:
    """A table of an answer: names of columns, and rows of JSON values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def column(self, name: str) -> tuple[Any, ...]:
        """The values of a column. Raises ProtocolError if there is none of that name."""
        if name not in self.columns:
            raise ProtocolError(f"the answer has no column {name!r}: {', '.join(self.columns)}")
        number = self.columns.index(name)
        return tuple(row[number] for row in self.rows)


# -- datasets -----------------------------------------------------------------------------------


def parse_v1(body: bytes) -> RestTable:
    """The primary result of a dataset of version 1: of commands and streaming ingestion.

    Raises UnavailableError if the dataset tells of a failure or is cut short, and ProtocolError if
    it is none.
    """
    dataset = _json(body)
    if not isinstance(dataset, dict) or not isinstance(dataset.get("Tables"), list):
        raise ProtocolError(f"no dataset with Tables: {_shown(body)}")
    if exceptions := dataset.get("Exceptions"):
        raise UnavailableError(f"the answer tells of exceptions: {str(exceptions)[:400]}")
    tables = [_table(table) for table in dataset["Tables"]]
    if not tables:
        raise ProtocolError("the dataset has no table")
    for table in tables[1:]:
        _check_status(table)
    return tables[0]


def _check_status(table: RestTable) -> None:
    if not {"Severity", "StatusDescription"} <= set(table.columns):
        return
    severities, texts = table.column("Severity"), table.column("StatusDescription")
    for severity, text in zip(severities, texts, strict=True):
        if isinstance(severity, int) and severity <= _WORST_SEVERITY:
            raise UnavailableError(f"the answer's status is a failure: {text}")


def parse_v2(body: bytes) -> RestTable:
    """The first primary result of a dataset of version 2, whole or in fragments.

    Raises UnavailableError if the query failed on its way or the dataset has no end, and
    ProtocolError if it is no dataset.
    """
    frames = _json(body)
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise ProtocolError(f"no frames: {_shown(body)}")
    if not frames or frames[-1].get("FrameType") != "DataSetCompletion":
        raise UnavailableError("the answer ends before its dataset is complete")
    for frame in frames:
        if errors := frame.get("OneApiErrors"):
            raise UnavailableError(f"the query failed on its way: {_first_message(errors)}")
    if frames[-1].get("HasErrors") or frames[-1].get("Cancelled"):
        raise UnavailableError("the query failed on its way or was cancelled")
    for frame in frames:
        if frame.get("TableKind") == "PrimaryResult":
            if frame.get("FrameType") == "DataTable":
                return _table(frame)
            if frame.get("FrameType") == "TableHeader":
                return _fragments(frame, frames)
    raise ProtocolError("the answer has no primary result")


def _fragments(header: dict[str, Any], frames: list[dict[str, Any]]) -> RestTable:
    """A table that came as header, fragments and completion."""
    rows: list[Any] = []
    for frame in frames:
        if frame.get("TableId") != header.get("TableId"):
            continue
        if frame.get("FrameType") == "TableFragment":
            if frame.get("TableFragmentType") == "DataReplace":
                rows.clear()
            rows += frame.get("Rows", [])
        elif frame.get("FrameType") == "TableCompletion":
            if frame.get("RowCount", len(rows)) != len(rows):
                told = frame["RowCount"]
                raise UnavailableError(f"{len(rows)} rows came, the answer tells of {told}")
            return _table({**header, "Rows": rows})
    raise UnavailableError("the answer ends before its table is complete")


def _table(value: Any) -> RestTable:
    if not isinstance(value, dict):
        raise ProtocolError(f"no table: {str(value)[:_SHOWN_CHARACTERS]}")
    columns, rows = value.get("Columns"), value.get("Rows")
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise ProtocolError("a table has no Columns or no Rows")
    for row in rows:
        if isinstance(row, dict):  # a failure where a row should be
            message = _first_message(row.get("OneApiErrors") or [row])
            raise UnavailableError(f"the query failed on its way: {message}")
        if not isinstance(row, list) or len(row) != len(columns):
            raise ProtocolError("a row has not as many values as the table has columns")
    names = tuple(str(c.get("ColumnName")) if isinstance(c, dict) else "" for c in columns)
    return RestTable(names, tuple(tuple(row) for row in rows))


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        # Half a dataset and a text of a proxy look alike: nobody knows how the request ended.
        raise UnavailableError(f"the answer is no JSON ({error}): {_shown(body)}") from error


def _first_message(errors: Any) -> str:
    first = errors[0] if isinstance(errors, list) and errors else errors
    error = first.get("error", first) if isinstance(first, dict) else first
    if isinstance(error, dict):
        return str(error.get("@message") or error.get("message") or error.get("code"))
    return str(error)[:_SHOWN_CHARACTERS]


def _shown(body: bytes) -> str:
    return repr(body[:_SHOWN_CHARACTERS].decode("utf-8", "replace"))


# -- errors -------------------------------------------------------------------------------------


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, *, ingestion: bool = False
) -> RemoraError:
    """The error that an answer with another status than 200 stands for.

    Certainly refused are 4xx whose body says that they are permanent, statuses with which nothing
    is ever begun (401, 403, 404, 412, 413, 429) and redirections, which are never followed. All
    else may have happened. ``metadata`` has ``http_status``, ``code``, ``type`` and ``permanent``
    as they came; ``retry_after_seconds`` is that of the header.
    """
    told = _error_object(body)
    code = str(told.get("code", ""))
    kusto_type = str(told.get("@type", ""))
    text = str(told.get("@message") or told.get("message") or _shown(body))
    message = f"HTTP {status} {code}: {text}" if code else f"HTTP {status}: {text}"
    permanent = told.get("@permanent") is True
    kind = _class_of(status, code, kusto_type, text, permanent=permanent, ingestion=ingestion)
    return kind(
        message,
        metadata={
            "http_status": str(status),
            "code": code,
            "type": kusto_type,
            "permanent": str(told.get("@permanent", "")).lower(),
        },
        retry_after_seconds=_retry_after(headers),
    )


def _class_of(
    status: int, code: str, kusto_type: str, text: str, *, permanent: bool, ingestion: bool
) -> type[RemoraError]:
    if status in _TIMED_OUT:
        return TimedOutError
    redirected = 300 <= status < 400
    refused = 400 <= status < 500 and (permanent or status in _REJECTED)
    if not (redirected or refused):
        return UnavailableError
    if status == ThrottledError.http_status:
        return ThrottledError
    if (status, code) == (AccessDeniedError.http_status, AccessDeniedError.code):
        return AccessDeniedError  # several classes say this, and from outside they are one
    for found in _by_code().get(code, ()):
        if found.permanent and is_definite(found("")) and found.kusto_type == kusto_type:
            return found
    if "Semantic error:" in text:
        return SemanticError
    unique = [found for found in _by_code().get(code, ()) if found.permanent]
    if len(unique) == 1 and is_definite(unique[0]("")):
        return unique[0]
    if status == StreamingDisabledError.http_status and ingestion:
        return StreamingDisabledError
    if status == PayloadTooLargeError.http_status:
        return PayloadTooLargeError
    return InvalidRequestError


@cache
def _by_code() -> dict[str, tuple[type[RemoraError], ...]]:
    """Classes that can be made of a message alone, by their code."""
    found: dict[str, tuple[type[RemoraError], ...]] = {}
    for kind in error_classes():
        if kind.__init__ is RemoraError.__init__:
            found[kind.code] = (*found.get(kind.code, ()), kind)
    return found


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; None without one, or where it is a date."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
