"""What one row of the table of commands is, and the results several rows share. Pure data."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cluster.commands.notation import Sequence, display, parse_notation
from cluster.commands.results import parse_schema

if TYPE_CHECKING:
    from cluster.catalog.model import Column


class Kind(enum.Enum):
    """What a command does to the catalog."""

    SHOW = "reads; its result can be piped into KQL"
    MUTATE = "changes; refused on a follower database"
    OVERRIDE = "changes what belongs to the follower; refused on a database of this cluster"
    REFUSE = "known to Kusto, refused here"


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One row of the table.

    ``name`` finds the executor. ``result`` lists columns, ``string`` unless typed. ``refusal`` is
    the reason given by commands of kind REFUSE.
    """

    name: str
    grammar: str
    result: str
    kind: Kind
    permission: str
    refusal: str = ""
    tree: Sequence = field(init=False, compare=False)
    columns: tuple[Column, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", parse_notation(self.grammar))
        object.__setattr__(self, "columns", parse_schema(self.result) if self.result else ())

    @property
    def refused(self) -> str:
        """What is said to who sends a form of kind REFUSE; names its row in FIDELITY.md."""
        return (
            f"{self.usage} is not supported by Remora: {self.refusal} "
            f"(FIDELITY.md, row '{self.name}')"
        )

    @property
    def usage(self) -> str:
        """The grammar as people read it."""
        return f".{display(self.grammar)}"


def refused(name: str, grammar: str, reason: str) -> CommandSpec:
    """A form that Kusto has and this service refuses, with the reason it gives."""
    return CommandSpec(name, grammar, "", Kind.REFUSE, NOT_DOCUMENTED, reason)


POLICY_ROW: Final = "PolicyName, EntityName, Policy, ChildEntities, EntityType"
SCHEMA_ROW: Final = "TableName, Schema, DatabaseName, Folder, DocString"
TABLE_ROW: Final = "TableName, DatabaseName, Folder, DocString"

VIEWER: Final = "Database User, Database Viewer or Database Monitor"
TABLE_ADMIN: Final = "Table Admin"
TABLE_INGESTOR: Final = "Table Ingestor"
DATABASE_USER: Final = "Database User"
DATABASE_ADMIN: Final = "Database Admin"
DATABASE_INGESTOR: Final = "Database Ingestor"
CLUSTER_ADMIN: Final = "AllDatabasesAdmin"
CLUSTER_MONITOR: Final = "AllDatabasesMonitor"
NOT_DOCUMENTED: Final = "not documented"

WITH: Final = "[with <properties:properties>]"
"""The property list many forms end with."""
