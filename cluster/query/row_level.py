"""Row level security as the node knows it: which policies a query is under, and what these name.

``rowlevelsecuritypolicy.md``: where the policy of a table is enabled, everybody who reads the table
reads what its query gives, administrators and who set it included. Only the translator puts the
one in the place of the other (``row_level_views``), so there is one way to a table. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cluster.catalog.policies import row_level_security_of
from cluster.query.lexical import functions_mentioned, may_call, names_mentioned

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cluster.catalog.model import Function, Table
    from cluster.query.binding import BoundTable, QuerySnapshot
    from cluster.query.messages import PolicyText


def names_behind(
    names: Collection[str], tables: Mapping[str, Table], functions: Mapping[str, Function]
) -> set[str]:
    """``names`` of tables, and those that the policies of these may name, enabled or not."""
    found = set(names)
    begun: set[str] = set()
    while waiting := [n for n in found - begun if "row_level_security" in tables[n].policies]:
        begun.update(waiting)
        for name in waiting:
            policy = row_level_security_of(tables[name])
            if policy is not None:
                text = whole_text(policy.query, functions)
                found |= names_mentioned(text, tables)
    return found


def whole_text(query: str, functions: Mapping[str, Function]) -> str:
    """A query with the texts of the stored functions that it may call."""
    called = functions_mentioned(query, functions)
    return " ".join([query, *(part for function in called for part in function[1:])])


def is_bare(text: str, name: str) -> bool:
    """Whether a text has a name as one of a table: not behind a dot, and not called."""
    return re.search(rf"(?<![.\w]){re.escape(name)}\b(?!\s*\()", text) is not None


def is_unclear(name: str, table: str, text: str) -> bool:
    """Whether a name that another table and a function have may be either one in a policy.

    ``text`` is all of the policy of ``table``. Its own name is of the table, unless it is called.
    """
    return is_bare(text, name) and (name != table or may_call(text, name))


def unclear_names(
    table: str, query: str, functions: Mapping[str, Function], tables: Collection[str]
) -> set[str]:
    """Names in the policy of ``table`` that may be of a table or of a function of its database."""
    called = functions_mentioned(query, functions)
    text = " ".join([query, *(body for _, _, body in called)])
    return {name for name, _, _ in called if name in tables and is_unclear(name, table, text)}


class Policies:
    """The policies that the tables of a query are under, and the tables that they need.

    ``used`` are the tables that a text may name, ``others`` those of other databases, by database.
    ``is_forced``: policies that are disabled count too.
    """

    def __init__(
        self,
        snapshot: QuerySnapshot,
        used: Collection[str],
        others: Mapping[str, Collection[str]],
        *,
        is_forced: bool,
    ) -> None:
        self._is_forced = is_forced
        self._texts: list[str] = []
        self._found: list[PolicyText] = []
        self.used = self._behind(snapshot.database, snapshot.tables, used, snapshot.functions)
        self.others = {
            name: self._behind(
                name, snapshot.others[name], names, snapshot.other_functions.get(name, {})
            )
            for name, names in others.items()
        }

    @property
    def policies(self) -> tuple[PolicyText, ...]:
        """Those in force, for the translator."""
        return tuple(self._found)

    @property
    def text(self) -> str:
        """Everything that their queries and the functions of these say."""
        return " ".join(self._texts)

    def _behind(
        self,
        database: str,
        tables: Mapping[str, BoundTable],
        names: Collection[str],
        functions: Mapping[str, Function],
    ) -> set[str]:
        found = set(names)
        begun: set[str] = set()
        while waiting := sorted(found - begun):
            begun.update(waiting)
            for name in waiting:
                bound = tables[name]
                policy = row_level_security_of(bound.table)
                if policy is None or not (policy.is_enabled or self._is_forced):
                    continue
                home = bound.database
                known = functions if home is None else home.functions
                text = whole_text(policy.query, known)
                self._texts.append(text)
                # Tables that are kept from the caller: no function stands for one of them.
                kept = () if home is None else home.tables.keys() - tables.keys()
                called = tuple(
                    function
                    for function in functions_mentioned(policy.query, known)
                    if function[0] not in kept or not is_bare(text, function[0])
                )
                self._found.append((database, name, policy.query, called))
                found |= names_mentioned(text, tables)
        return found
