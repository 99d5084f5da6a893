"""What the engine and its translator process say to each other. Pure.

Each message is a frame: its length (4 bytes, little-endian), then msgpack. The process begins with
:class:`Hello`; then one :class:`Answer` follows each :class:`Question`.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from cluster.errors import (
    InvalidRequestError,
    LimitExceededError,
    NotSupportedError,
    RemoraError,
    SemanticError,
    SyntaxRefusedError,
)
from cluster.query.translation import Translation  # noqa: TC001 - msgspec reads it

HEADER: Final = struct.Struct("<I")
"""The length of what follows."""

Schemas = dict[str, tuple[tuple[str, str], ...]]
"""Table -> columns (name, Kusto type)."""

FunctionText = tuple[str, str, str]
"""A stored function: its name, its parameters ``(a:long)``, its body ``{ T }``."""

PolicyText = tuple[str, str, str, tuple[FunctionText, ...]]
"""A row level security policy in force: database, table, query, functions its query may call."""

_REFUSALS: Final[dict[str, type[RemoraError]]] = {
    kind.reason: kind
    for kind in (
        InvalidRequestError,
        LimitExceededError,
        NotSupportedError,
        SemanticError,
        SyntaxRefusedError,
    )
}


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The process is ready."""

    resident_bytes: int


class Query(msgspec.Struct, frozen=True, array_like=True):
    """A query to translate, and what it may name."""

    kql: str
    database: str
    """The database in context, as its owner spells it."""
    schemas: Schemas
    others: dict[str, Schemas] = {}
    """Databases that ``database('...')`` may name; those of other clusters by ``remote_name``."""
    functions: tuple[FunctionText, ...] = ()
    """Stored functions of the database that the text may call, each after those it calls."""
    other_functions: dict[str, tuple[FunctionText, ...]] = {}
    """Those of other databases that ``database('...').f()`` may name."""
    prefix: str = ""
    """``let`` statements of the query's parameters."""
    facts: tuple[tuple[str, str], ...] = ()
    """Values of functions of the request, such as ``current_principal``, by their names."""
    policies: tuple[PolicyText, ...] = ()
    """What stands in the place of tables that the query may name."""
    discovered: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Columns that depend on rows, found by first passes: see ``discovery.py``."""


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A query to translate, and its bounds."""

    query: Query
    sql_bytes: int
    string_bytes: int
    cpu_seconds: float
    operators: int
    tables: int
    partitions: int


class Refusal(msgspec.Struct, frozen=True):
    """An error of the translation."""

    reason: str
    message: str
    remedy: str
    metadata: dict[str, str]


class Answer(msgspec.Struct, frozen=True):
    """A translation or a refusal."""

    resident_bytes: int
    translation: Translation | None = None
    refusal: Refusal | None = None


def refusal_of(error: RemoraError) -> Refusal:
    """``error`` as a message."""
    return Refusal(error.reason, error.message, error.remedy, error.metadata)


def error_of(refusal: Refusal) -> RemoraError:
    """The error a refusal stands for. Raises KeyError for a reason the process never sends."""
    return _REFUSALS[refusal.reason](
        refusal.message, remedy=refusal.remedy, metadata=refusal.metadata
    )


def encode(message: msgspec.Struct) -> bytes:
    """One frame."""
    body = msgspec.msgpack.encode(message)
    return HEADER.pack(len(body)) + body
