"""What executors are given: the catalog, the node's facts, the command's context. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from cluster.access.reading import readable
from cluster.commands.results import CommandResult, Row
from cluster.commands.row_level_checks import check_row_level_meaning
from cluster.request import NODE_REQUEST, Caller, ClientRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.access.control import AccessControl
    from cluster.catalog.changes import Change
    from cluster.catalog.following import FollowingSettings
    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Column, Database, FollowingSource, RowStoreKey
    from cluster.catalog.policies import UpdatePolicy
    from cluster.clock import Clock
    from cluster.commands.doors import (
        AttachmentsDoor,
        DatabasesDoor,
        ExtentsDoor,
        FollowersDoor,
        IngestionDoor,
        NodeLoad,
        OperationsDoor,
        ResourcesDoor,
        RowStoresDoor,
    )
    from cluster.commands.interpreter import Command
    from cluster.history.log import History
    from cluster.limits import Limits
    from cluster.query.binding import QueryResult, QuerySnapshot

_USER_CHARACTERS: Final = 256
"""So much of who sent a command is kept in the journal; clients say it as they like."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What ``.show cluster`` and ``.show version`` print of this node.

    Times are nanoseconds since 1970 UTC, memory is in bytes. ``address`` is where clients reach
    the node; ``build_version`` is the version of the program.
    """

    cluster: str
    node_id: str
    address: str
    started_at_ns: int
    is_admin: bool
    total_memory_bytes: int
    available_memory_bytes: int
    processor_count: int
    build_version: str
    built_at_ns: int


class QueryRunner(Protocol):
    """What commands need of the query engine."""

    async def run_over(
        self, columns: Sequence[Column], rows: Sequence[Row], kql: str
    ) -> QueryResult:
        """Sends a table through KQL, which starts with a ``|``."""

    async def run(
        self, kql: str, snapshot: QuerySnapshot, *, caller: Caller | None = None
    ) -> QueryResult:
        """Answers a query over a snapshot, which ``caller`` asked for; None: the node itself."""

    async def run_to_store(
        self, kql: str, snapshot: QuerySnapshot, *, caller: Caller | None = None
    ) -> QueryResult:
        """Answers a query whose rows are stored and not sent: they may be many more."""


class UpdatePolicyRules(Protocol):
    """What commands need of whatever runs update policies."""

    async def check(
        self, database: Database, target: str, policies: Sequence[UpdatePolicy]
    ) -> None:
        """Refuses queries that break a rule: what they read, the columns they give.

        ``database`` is the tree in which the table ``target`` has these policies. Raises
        RequestError.
        """


class SchemaCacheDoor(Protocol):
    """What commands need of the streaming schema cache."""

    def clear(self, keys: frozenset[RowStoreKey]) -> None:
        """Forgets what is known of tables, by their first keys."""


@dataclass(frozen=True, slots=True)
class Services:
    """What a node gives its commands beside the catalog.

    ``cancel_query`` ends the running query of an activity id or client request id; False: there
    is none. ``load`` is what the node is busy with now.
    """

    clock: Clock
    queries: QueryRunner
    update_policies: UpdatePolicyRules
    schema_cache: SchemaCacheDoor
    history: History
    operations: OperationsDoor
    extents: ExtentsDoor
    ingestion: IngestionDoor
    row_stores: RowStoresDoor
    databases: DatabasesDoor
    followers: FollowersDoor
    attachments: AttachmentsDoor
    resources: ResourcesDoor
    cancel_query: Callable[[str], bool]
    load: Callable[[], NodeLoad]
    limits: Limits


class Node(Protocol):
    """The node that executes commands."""

    @property
    def services(self) -> Services:
        """What commands may use."""

    def streaming_capability(self) -> bool:
        """True only if the cluster's streaming capability is known to be on."""

    def facts(self) -> NodeFacts:
        """Facts of this moment."""


class CatalogDoor(Protocol):
    """What commands need of :class:`cluster.catalog.driver.Catalog`."""

    def get(self, name: str) -> Database: ...

    def databases(self) -> tuple[Database, ...]: ...

    def is_following(self, name: str) -> bool: ...

    def following_source(self, name: str) -> FollowingSource | None: ...

    def following_settings(self, name: str) -> FollowingSettings: ...

    async def set_following(
        self, name: str, plan: Callable[[FollowingSettings], FollowingSettings]
    ) -> FollowingSettings: ...

    def history(self, name: str) -> Sequence[Delta]: ...

    def new_key(self) -> RowStoreKey: ...

    def new_id(self) -> str: ...

    async def transact(
        self, name: str, plan: Callable[[Database], Sequence[Change]], *, text: str, user: str = ""
    ) -> tuple[Database, Delta | None]: ...

    async def create_database(
        self, name: str, *, if_not_exists: bool = False
    ) -> tuple[Database, bool]: ...

    async def drop_database(self, name: str) -> Database: ...


@dataclass(frozen=True, slots=True)
class Context:
    """One execution. ``database`` is the name in context, as the caller wrote it.

    ``show`` runs a command that shows, as part of this one, in the same database. ``execute`` runs
    any command for the same request, as one of its own under the activity id given. ``request``
    tells who asked for it, and how; ``access`` what roles allow.
    """

    catalog: CatalogDoor
    node: Node
    database: str
    command: Command
    show: Callable[[str], Awaitable[CommandResult]]
    execute: Callable[[str, str], Awaitable[CommandResult]]
    access: AccessControl
    request: ClientRequest = NODE_REQUEST

    @property
    def values(self) -> Mapping[str, Any]:
        """Values of the command, by their names in the grammar."""
        return self.command.values

    @property
    def now_us(self) -> int:
        """The wall clock, microseconds since 1970 UTC."""
        return self.node.services.clock.now_ns() // 1000

    @property
    def database_named(self) -> str:
        """The database the command names as ``database``, else the one in context."""
        name: str = self.values.get("database", self.database)
        return name

    @property
    def words(self) -> frozenset[str]:
        """Keywords of the command."""
        return self.command.words

    def snapshot(self, text: str) -> QuerySnapshot:
        """What a query of the caller may see now, in the database in context.

        Raises DatabaseNotFoundError.
        """
        found = self.node.services.databases.snapshot(self.database, text)
        return readable(found, self.access, self.request.caller)

    async def transact(
        self, database: str, plan: Callable[[Database], Sequence[Change]]
    ) -> Database:
        """Changes a database on behalf of the command; returns the tree in force after it.

        Raises NotSupportedError if a policy of row level security could no longer be read.
        """
        limits = self.node.services.limits

        def planned(before: Database) -> Sequence[Change]:
            changes = plan(before)
            check_row_level_meaning(before, changes, limits)
            return changes

        who = (self.request.caller.name or self.request.user)[:_USER_CHARACTERS]
        tree, _ = await self.catalog.transact(database, planned, text=self.command.text, user=who)
        return tree


Executor = Callable[[Context], Awaitable[list[Row] | CommandResult]]
"""Runs one command; gives the rows of its declared result, or a result with columns of its own."""
