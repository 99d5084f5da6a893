"""Forms that Kusto can run in the background: one row that waits, one that does not. Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import CommandSpec, Kind

ASYNC_SUFFIX: Final = " async"
"""What the name of a form in the background ends with; the rest names the form that waits."""

ASYNC_RESULT: Final = "OperationId:guid"


def with_async(
    name: str, grammar: str, result: str, permission: str
) -> tuple[CommandSpec, CommandSpec]:
    """A form with ``[async]`` in its grammar, as two rows: their results have other columns.

    What the form in the background would have returned is ``.show operation ID details`` later.
    """
    before, optional, after = grammar.partition("[async]")
    if not optional:
        raise ValueError(f"no [async] in {grammar!r}")
    return (
        CommandSpec(name, f"{before}{after.lstrip()}", result, Kind.MUTATE, permission),
        CommandSpec(
            f"{name}{ASYNC_SUFFIX}",
            f"{before}async{after}",
            ASYNC_RESULT,
            Kind.MUTATE,
            permission,
        ),
    )
