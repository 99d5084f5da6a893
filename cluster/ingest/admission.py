"""The gates a request passes before any byte of it is decoded, in one fixed order. Pure.

The order decides which of several wrongs a caller hears of, so it goes from what no retry on this
node can change to what the request itself can:

1. the database follows a leader: ReadOnlyError, whatever this cluster's own capability is, because
   turning the capability on would not help (``adx-behaviour.md`` 14.1);
2. the cluster's streaming capability is off: StreamingDisabledError, before any name is looked up,
   as in Kusto, where the endpoint then does not exist (8.5);
3. the database: DatabaseNotFoundError;
4. the table: TableNotFoundError;
5. the effective policy: StreamingPolicyError;
6. the format: FormatNotSupportedError;
7. the mapping, by name: MappingNotFoundError, MappingReferenceError, MappingInconsistentError
   (:mod:`cluster.ingest.schema_cache` finds it);
8. other ingestion properties: IngestionContextError, since streaming takes none;
9. the source id: InvalidRequestError;
10. the size as sent: EmptyPayloadError, PayloadTooLargeError.

Gates 1 to 5 and 7 are the same for every request to a table and are asked again for each group;
the others look at the request alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from cluster.errors import (
    DatabaseNotFoundError,
    FormatNotSupportedError,
    IngestionContextError,
    InvalidRequestError,
    ReadOnlyError,
    StreamingDisabledError,
    StreamingPolicyError,
    TableNotFoundError,
)
from cluster.ingest import refusals
from cluster.ingest.compression import check_size
from cluster.ingest.request import STREAMING_FORMATS

if TYPE_CHECKING:
    from cluster.catalog.model import Database, Table
    from cluster.ingest.request import DataFormat, IngestPayload
    from cluster.limits import Limits


_NAME_CHARACTERS: Final = 1024
"""More than any name can have: what a message repeats of a name nobody has checked."""


class CatalogView(Protocol):
    """What admission asks of the catalog. Database names are case-insensitive."""

    def get(self, name: str) -> Database:
        """The database's tree now. Raises DatabaseNotFoundError."""

    def is_following(self, name: str) -> bool:
        """Whether it follows a leader. Raises DatabaseNotFoundError."""


class Target(NamedTuple):
    """The table a request goes to, as the catalog has it now."""

    database: Database
    table: Table


def admit_table(
    database: str, table: str, catalog: CatalogView, *, streaming_enabled: bool
) -> Target:
    """Gates 1 to 5. Returns the table; raises the error of the first gate that is closed."""
    if _is_following(catalog, database):
        raise ReadOnlyError(
            f"database '{database}' follows a leader cluster and is read-only here",
            metadata={"database": database},
        )
    if not streaming_enabled:
        raise StreamingDisabledError("streaming ingestion is not enabled on this cluster")
    tree = catalog.get(database)
    found = tree.tables.get(table)
    if found is None:
        name = table[:_NAME_CHARACTERS]
        raise TableNotFoundError(
            f"database '{tree.name}' has no table '{name}'",
            metadata={"database": tree.name, "table": name},
        )
    policy = tree.effective_streaming(found)
    if policy is None or not policy.is_enabled:
        raise StreamingPolicyError(
            f"streaming ingestion policy is not enabled for table '{table}' "
            f"or its database '{tree.name}'",
            remedy=f"Run .alter table ['{table}'] policy streamingingestion enable on the leader.",
            metadata={"database": tree.name, "table": table},
        )
    return Target(tree, found)


def _is_following(catalog: CatalogView, database: str) -> bool:
    try:
        return catalog.is_following(database)
    except DatabaseNotFoundError:
        return False  # gate 3 says so, after gate 2


def admit_request(request: IngestPayload, limits: Limits) -> DataFormat:
    """Gates 6 and 8 to 10. Returns the format; raises the error of the first that is closed."""
    if request.format is None or request.format not in STREAMING_FORMATS:
        raise FormatNotSupportedError(
            "the data format is not set or not one of "
            + ", ".join(sorted(item.value for item in STREAMING_FORMATS))
        )
    if request.properties:
        name = min(request.properties)[:_NAME_CHARACTERS]
        raise IngestionContextError(
            f"streaming ingestion does not take the ingestion property '{name}'",
            remedy="Create a mapping and name it, or ingest into extents with .ingest.",
            metadata={"property": name},
        )
    # A character is at least one byte; only long ids need to be encoded to be measured.
    if len(request.source_id) * 4 > limits.source_id_bytes:
        size = len(request.source_id.encode())
        if size > limits.source_id_bytes:
            raise InvalidRequestError(
                f"the source id has {size} bytes, over source_id_bytes, {limits.source_id_bytes}",
                metadata={"limit": "source_id_bytes", "limit_value": str(limits.source_id_bytes)},
            )
    if not request.payload:
        raise refusals.empty_payload(request.database, request.table)
    check_size(request.payload, limits)
    return request.format
