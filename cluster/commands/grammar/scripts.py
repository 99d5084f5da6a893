"""Forms that run several commands (``execute-database-script.md``). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import DATABASE_ADMIN, WITH, CommandSpec, Kind, refused

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("execute database script", f"execute [database] script {WITH} '<|' <script:rest>",
                "OperationId:guid, CommandType, CommandText, Result, Reason",
                Kind.MUTATE, DATABASE_ADMIN),
    refused("execute cluster script", f"execute cluster script {WITH} '<|' <script:rest>",
            "no page documents it: .execute database script has commands of the cluster too."),
)  # fmt: skip
