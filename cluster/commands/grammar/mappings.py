"""Forms about ingestion mappings (``adx-behaviour.md`` 5.2). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    DATABASE_INGESTOR,
    NOT_DOCUMENTED,
    TABLE_INGESTOR,
    VIEWER,
    WITH,
    CommandSpec,
    Kind,
    refused,
)

_DATABASE_ROW: Final = "Name, Kind, Mapping, LastUpdatedOn:datetime, Database"
_TABLE_ROW: Final = f"{_DATABASE_ROW}, Table"
_AZMONSTREAM: Final = "the format comes from Event Hub connections only, which are not here."
_OF_KIND: Final = "ingestion <kind:mapping_kind> mapping <mapping:literal>"


def _forms(entity: str, row: str, permission: str) -> tuple[CommandSpec, ...]:
    subject = f"{entity} <{entity}:name>"
    return (
        *(
            CommandSpec(f"{verb} {entity} mapping",
                        f"{verb} {subject} {_OF_KIND} <json:string> {WITH}",
                        row, Kind.MUTATE, permission)
            for verb in ("create", "create-or-alter", "alter", "alter-merge")
        ),
        CommandSpec(f"drop {entity} mapping", f"drop {subject} {_OF_KIND}",
                    row, Kind.MUTATE, permission),
        CommandSpec(f"show {entity} mapping",
                    f"show {subject} ingestion [<kind:mapping_kind>] mapping <mapping:string>",
                    row, Kind.SHOW, VIEWER),
    )  # fmt: skip


COMMANDS: Final[tuple[CommandSpec, ...]] = (
    *_forms("table", _TABLE_ROW, TABLE_INGESTOR),
    CommandSpec("show table mappings",
                "show table <table:name> ingestion [<kind:mapping_kind>] (mappings | mapping) "
                f"{WITH}",
                _TABLE_ROW, Kind.SHOW, VIEWER),
    *_forms("database", _DATABASE_ROW, DATABASE_INGESTOR),
    CommandSpec("show database mappings",
                "show database [<database:name>] ingestion [<kind:mapping_kind>] mappings "
                f"[<mapping:string>] {WITH}",
                _DATABASE_ROW, Kind.SHOW, VIEWER),
    CommandSpec("show mappings",
                f"show [cluster] ingestion [<kind:mapping_kind>] mappings {WITH}",
                _TABLE_ROW, Kind.SHOW, NOT_DOCUMENTED),
    refused("show azmonstream mappings", f"show [cluster] ingestion azmonstream mappings {WITH}",
            _AZMONSTREAM),
    refused("azmonstream mapping",
            "(create | create-or-alter | alter | alter-merge | drop | show) (table | database) "
            "[<entity:name>] ingestion (azmonstream | sstream) "
            f"(mapping <mapping:literal> [<json:string>] | mappings [<mapping:string>]) {WITH}",
            _AZMONSTREAM),
)  # fmt: skip
