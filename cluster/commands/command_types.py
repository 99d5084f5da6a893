"""What ``.show commands`` and ``.show operations`` call each command (``CommandType``). Pure.

Names seen of the service are entity and then verb (``ExtentsDrop``, ``DatabasesShow``,
``TableSetOrAppend``); those of commands that no page names are made by the same rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.commands.grammar.asynchronous import ASYNC_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEMAS: Final = (
    "show database schema",
    "show databases schema",
    "show cluster schema",
)

_KNOWN: Final[Mapping[str, str]] = {
    "drop extent": "ExtentsDrop",
    "drop extents query": "ExtentsDrop",
    "drop extents whatif": "ExtentsDropPretend",
    "drop extents from": "ExtentsDrop",
    "drop-pretend extents": "ExtentsDropPretend",
    "move extents all": "ExtentsMove",
    "move extents from": "ExtentsMove",
    "move extents query": "ExtentsMove",
    "merge extents": "ExtentsMerge",
    "merge dryrun": "ExtentsMergeDryRun",
    "alter table extent tags": "ExtentTagsAlter",
    "alter-merge table extent tags": "ExtentTagsAlterMerge",
    "drop table extent tags": "ExtentTagsDrop",
    "drop table extent tags query": "ExtentTagsDrop",
    "ingest inline": "DataIngestInline",
    "ingest": "DataIngestPull",
    "set": "TableSet",
    "append": "TableAppend",
    "set-or-append": "TableSetOrAppend",
    "set-or-replace": "TableSetOrReplace",
    "seal table": "RowStoreSeal",
    "seal database": "RowStoreSeal",
}

REBUILD: Final = "ExtentsRebuild"
"""A merge that was asked to rebuild."""


def command_type(name: str) -> str:
    """The type of a command, by its name in the table of grammars."""
    name = name.removesuffix(ASYNC_SUFFIX)
    known = _KNOWN.get(name)
    if known is not None:
        return known
    if name.startswith(_SCHEMAS):
        return "SchemaShow"
    verb, _, entity = name.partition(" ")
    return _words(entity) + _words(verb)


def _words(text: str) -> str:
    for separator in "-_":
        text = text.replace(separator, " ")
    return "".join(word[0].upper() + word[1:] for word in text.split())
