"""The table of commands, one module a subject. Pure data.

One row a form: grammar, result, kind, minimum permission. Syntax and result columns are those of
Microsoft's published grammar (``EngineCommandInfos.cs``), which also declares forms no page
documents; semantics are those of the command pages. What permissions mean is in
:mod:`cluster.access.permissions`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from cluster.commands.grammar.columns import COMMANDS as COLUMNS
from cluster.commands.grammar.databases import COMMANDS as DATABASES
from cluster.commands.grammar.diagnostics import COMMANDS as DIAGNOSTICS
from cluster.commands.grammar.extents import COMMANDS as EXTENTS
from cluster.commands.grammar.followers import COMMANDS as FOLLOWERS
from cluster.commands.grammar.functions import COMMANDS as FUNCTIONS
from cluster.commands.grammar.ingestion import COMMANDS as INGESTION
from cluster.commands.grammar.internals import COMMANDS as INTERNALS
from cluster.commands.grammar.mappings import COMMANDS as MAPPINGS
from cluster.commands.grammar.operations import COMMANDS as OPERATIONS
from cluster.commands.grammar.policies import COMMANDS as POLICIES
from cluster.commands.grammar.principals import COMMANDS as PRINCIPALS
from cluster.commands.grammar.refusals import COMMANDS as REFUSALS
from cluster.commands.grammar.resources import COMMANDS as RESOURCES
from cluster.commands.grammar.rowstores import COMMANDS as ROW_STORES
from cluster.commands.grammar.schema import COMMANDS as SCHEMA
from cluster.commands.grammar.scripts import COMMANDS as SCRIPTS
from cluster.commands.grammar.spec import CommandSpec, Kind
from cluster.commands.grammar.system import COMMANDS as SYSTEM
from cluster.commands.grammar.tables import COMMANDS as TABLES
from cluster.commands.notation import openings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMANDS", "VERBS", "CommandSpec", "Kind", "candidates"]

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    *DATABASES,
    *SCHEMA,
    *TABLES,
    *COLUMNS,
    *POLICIES,
    *MAPPINGS,
    *FUNCTIONS,
    *SYSTEM,
    *EXTENTS,
    *INGESTION,
    *ROW_STORES,
    *OPERATIONS,
    *DIAGNOSTICS,
    *PRINCIPALS,
    *FOLLOWERS,
    *RESOURCES,
    *SCRIPTS,
    *INTERNALS,
    *REFUSALS,
)
"""Every form that parses. The interpreter tries them in this order; no text fits two of them."""


def _index() -> Mapping[tuple[str | None, ...], tuple[CommandSpec, ...]]:
    found: defaultdict[tuple[str | None, ...], list[CommandSpec]] = defaultdict(list)
    for spec in COMMANDS:
        for opening in openings(spec.tree, 2):
            found[opening].append(spec)
    return {opening: tuple(specs) for opening, specs in found.items()}


_BY_OPENING: Final = _index()

VERBS: Final = frozenset(first for first, *_ in _BY_OPENING if first is not None)
"""The words that commands begin with."""


def candidates(first: str, second: str) -> tuple[CommandSpec, ...]:
    """The forms that a command with these first two words may have, in the order of the table."""
    return (*_BY_OPENING.get((first, second), ()), *_BY_OPENING.get((first, None), ()))
