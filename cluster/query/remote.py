"""Tables of other clusters in a query: which it names, and what is asked of them. Pure.

``cluster('x').database('y').T`` is read whole from a node of cluster x, by a query of its own that
names the columns and conditions this one needs, under the rights of whoever asks here. What comes
back stands in the snapshot as a table of a database called :func:`remote_name`.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cluster.query.lexical import TOKEN, encoded, literal_string
from cluster.query.translation import INGESTION_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from cluster.query.binding import ResultColumn
    from cluster.query.translation import Filter, TableUse
    from cluster.request import ClientRequest

_STRING: Final = r"""("[^"\\\n]*"|'[^'\\\n]*')"""
_REFERENCE: Final = re.compile(
    rf"\bcluster\s*\(\s*{_STRING}\s*\)\s*\.\s*database\s*\(\s*{_STRING}\s*\)\s*\.\s*"
    rf"(?:([A-Za-z_]\w*)\b(?!\s*\()|\[\s*{_STRING}\s*\])"
)
_MENTION: Final = re.compile(r"\bcluster\s*\(")
_EPOCH: Final = dt.datetime(1970, 1, 1)  # no zone: Kusto datetimes are UTC by definition
_COMPARED: Final = frozenset(["==", "<", "<=", ">", ">="])
_NUMBERS: Final = frozenset(["int", "long", "real", "decimal"])

ASKED: Final = "remora_asked_by_cluster"
"""Setting of the text that goes to the other cluster, which must not ask a third one for it."""


@dataclass(frozen=True, slots=True)
class OtherRows:
    """The answer of another cluster to a query with one result."""

    columns: tuple[ResultColumn, ...]
    table: pa.Table
    hidden_reason: str = ""
    """Why rows that were streamed are not in it, on a follower; empty: they are."""


class OtherClusters(Protocol):
    """How other clusters of the setup are asked."""

    def is_own(self, cluster: str) -> bool:
        """Whether this is the name of the node's own cluster."""

    async def ask(self, cluster: str, database: str, kql: str, request: ClientRequest) -> OtherRows:
        """The answer of a node of ``cluster`` to a query with one result, for ``request``.

        Raises EntityNotFoundError if there is no such cluster, UnavailableError if no node of it
        is there, and what the other cluster refuses with.
        """


def cluster_name(text: str) -> str:
    """The name of a cluster as ``cluster('...')`` spells it: a name, a host or an address."""
    host = text.strip().partition("://")[2] or text.strip()
    return host.partition("/")[0].partition(":")[0].partition(".")[0].casefold()


def mentions_cluster(text: str) -> bool:
    """Whether a text may name a table of another cluster."""
    return _MENTION.search(text) is not None


def references(text: str) -> list[tuple[str, str, str]]:
    """Cluster, database and table of every ``cluster('c').database('d').T`` in a text, once."""
    bare = TOKEN.sub(lambda match: " " if match.lastgroup == "comment" else match[0], text)
    found: dict[tuple[str, str, str], None] = {}
    for match in _REFERENCE.finditer(bare):
        cluster, database, name, quoted = match.groups()
        table = name or literal_string(quoted) or ""
        key = (literal_string(cluster) or "", literal_string(database) or "", table)
        found[key] = None
    return list(found)


def remote_name(cluster: str, database: str) -> str:
    """The name under which a database of a cluster is in a snapshot; no query can spell it."""
    return f"$cluster {cluster_name(cluster)} {database}".casefold()


def shape_of(table: str, *, is_forced: bool = False) -> str:
    """A query with the columns of a table and no rows.

    ``is_forced``: disabled policies of row level security count, there as here.
    """
    return f"{_settings(is_forced)}[{encoded(table)}] | take 0"


def rows_of(
    use: TableUse, kinds: Mapping[str, str], now_us: int, *, is_forced: bool = False
) -> str:
    """A query with the columns and rows of a table that ``use`` needs, or more rows."""
    settings = f"{_settings(is_forced)}set query_now=datetime({_moment(now_us)}); "
    text = f"{settings}[{encoded(use.table)}]"
    if use.counted:
        return f"{text} | count"
    groups = [_conditions(group, kinds, now_us) for group in use.filters]
    if groups and all(groups):
        text += " | where " + " or ".join(f"({' and '.join(group)})" for group in groups)
    return f"{text} | project {', '.join(f'[{encoded(name)}]' for name in use.columns)}"


def _settings(is_forced: bool) -> str:
    return f"set {ASKED}; " + ("set query_force_row_level_security; " if is_forced else "")


def _conditions(group: Sequence[Filter], kinds: Mapping[str, str], now_us: int) -> list[str]:
    """Conditions as KQL. Those that are not understood are left out: all rows come, then."""
    found = []
    for one in group:
        if one.column == INGESTION_TIME or one.comparison not in _COMPARED:
            continue
        kind = kinds.get(one.column, "")
        shift = now_us if one.relative else 0
        literals = [_literal(value, kind, shift) for value in one.values]
        known = [literal for literal in literals if literal is not None]
        if not known or len(known) < len(literals):
            continue
        column = f"[{encoded(one.column)}]"
        if one.comparison == "==":
            found.append(f"{column} in ({', '.join(known)})")
        elif len(known) == 1:
            found.append(f"{column} {one.comparison} {known[0]}")
    return found


def _literal(value: object, kind: str, shift: int) -> str | None:
    if kind == "datetime" and isinstance(value, int):
        try:
            return f"datetime({_moment(value + shift)})"
        except OverflowError:
            return None
    if shift:
        return None
    if kind == "string" and isinstance(value, str):
        return encoded(value)
    if kind in ("int", "long") and type(value) is int:
        return str(value) if -(2**63) < value < 2**63 else None
    if kind == "bool" and isinstance(value, bool):
        return str(value).lower()
    return None


def _moment(microseconds: int) -> str:
    return (_EPOCH + dt.timedelta(microseconds=microseconds)).isoformat()
