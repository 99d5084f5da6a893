"""Executors of what clients of queued ingestion ask before they upload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from cluster.catalog.changes import find_table
from cluster.errors import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row
    from cluster.request import ClientRequest


class NoResources:
    """The door of a node that serves no storage for queued ingestion: it refuses."""

    async def ingestion_resources(self, request: ClientRequest) -> NoReturn:
        """Raises NotSupportedError."""
        raise _not_served(request)

    async def identity_token(self, request: ClientRequest) -> NoReturn:
        """Raises NotSupportedError."""
        raise _not_served(request)

    async def export_containers(self, request: ClientRequest) -> NoReturn:
        """Raises NotSupportedError."""
        raise _not_served(request)

    async def temporary_storage(self, request: ClientRequest) -> NoReturn:
        """Raises NotSupportedError."""
        raise _not_served(request)

    async def refresh_batching(self, database: str, table: str) -> None:
        """Nothing is kept."""


def _not_served(request: ClientRequest) -> NotSupportedError:
    return NotSupportedError(
        "This node serves no storage for queued ingestion.",
        remedy="Ingest by streaming, or start the node with its HTTP door.",
        metadata={"origin": request.origin},
    )


async def ingestion_resources(context: Context) -> list[Row]:
    """``.get ingestion resources``: the kind and the URI of each resource."""
    found = await context.node.services.resources.ingestion_resources(context.request)
    return list(found)


async def identity_token(context: Context) -> list[Row]:
    """``.get kusto identity token``: what goes into each message of the caller."""
    return [(await context.node.services.resources.identity_token(context.request),)]


async def export_containers(context: Context) -> list[Row]:
    """``.show export containers``: where exports may go."""
    found = await context.node.services.resources.export_containers(context.request)
    return [(root,) for root in found]


async def temporary_storage(context: Context) -> list[Row]:
    """``.create tempstorage``: where a caller may put files that need not last."""
    found = await context.node.services.resources.temporary_storage(context.request)
    return [(root,) for root in found]


async def refresh_batching(context: Context) -> list[Row]:
    """``.refresh database D [table T] cache ingestionbatchingpolicy``: looks at the policy now."""
    database = context.catalog.get(context.values["database"])
    table: str = context.values.get("table", "")
    if table:
        find_table(database, table)
    await context.node.services.resources.refresh_batching(database.name, table)
    return [(context.node.facts().node_id, "Succeeded")]


EXECUTORS: Final[Mapping[str, Executor]] = {
    "get ingestion resources": ingestion_resources,
    "get kusto identity token": identity_token,
    "show export containers": export_containers,
    "create tempstorage": temporary_storage,
    "refresh batching policy": refresh_batching,
}
