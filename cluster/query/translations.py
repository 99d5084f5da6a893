"""Translations of queries, remembered. Pure but for whoever translates."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from cluster.query.lexical import functions_mentioned, names_mentioned, words_among
from cluster.query.messages import Query
from cluster.query.row_level import Policies

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cluster.catalog.model import Column
    from cluster.limits import Limits
    from cluster.query.binding import BoundTable, QuerySnapshot
    from cluster.query.discovery import Found
    from cluster.query.execution import Shape
    from cluster.query.messages import Schemas
    from cluster.query.process import TranslatorStatistics
    from cluster.query.translation import Translation

_NOTHING: Final = MappingProxyType[str, str]({})
_CACHED_CHARACTERS: Final = 64 * 1024


class Translator(Protocol):
    """Where KQL becomes SQL."""

    async def translate(self, query: Query) -> Translation:
        """Translates one query."""

    async def aclose(self) -> None:
        """Frees what it holds."""

    def statistics(self) -> TranslatorStatistics:
        """Its figures."""


@dataclass(slots=True)
class Prepared:
    """A translation, and the shape of its answer once it has been answered."""

    translation: Translation
    shape: Shape | None = None


class Translations:
    """A bounded memory of translations, by text and by what the text may refer to."""

    def __init__(self, translator: Translator, limits: Limits) -> None:
        self._translator = translator
        self._limits = limits
        self._cache: OrderedDict[object, Prepared] = OrderedDict()
        self.hits = 0

    def __len__(self) -> int:
        return len(self._cache)

    async def of(
        self,
        kql: str,
        snapshot: QuerySnapshot,
        prefix: str = "",
        facts: Mapping[str, str] = _NOTHING,
        *,
        is_forced: bool = False,
        discovered: tuple[Found, ...] = (),
    ) -> Prepared:
        """The translation of one query. Raises what the translator raises.

        ``prefix``, ``facts``, ``discovered`` as in :class:`cluster.query.messages.Query`;
        ``is_forced``: under policies of row level security that are disabled too.
        """
        functions = functions_mentioned(kql, snapshot.functions)
        text = " ".join([kql, *(part for function in functions for part in function[1:])])
        elsewhere = {
            name: functions_mentioned(text, snapshot.other_functions[name])
            for name in snapshot.others
            if name in snapshot.other_functions
        }
        elsewhere = {name: found for name, found in elsewhere.items() if found}
        text += " ".join(p for found in elsewhere.values() for f in found for p in f[1:])
        under = Policies(
            snapshot,
            names_mentioned(text, snapshot.tables),
            {name: names_mentioned(text, tables) for name, tables in snapshot.others.items()},
            is_forced=is_forced,
        )
        used = _columns(snapshot.tables, under.used)
        others = {n: _columns(tables, under.others[n]) for n, tables in snapshot.others.items()}
        text += " " + under.text
        said = tuple((name, facts[name]) for name in sorted(words_among(text, facts)))
        key = (
            kql,
            snapshot.database,
            tuple(sorted(used.items(), key=_name)),
            tuple((n, tuple(sorted(t.items(), key=_name))) for n, t in sorted(others.items())),
            functions,
            tuple(sorted(elsewhere.items())),
            prefix,
            said,
            under.policies,
            discovered,
        )
        if (hit := self._cache.get(key)) is not None:
            self.hits += 1
            self._cache.move_to_end(key)
            return hit
        translation = await self._translator.translate(
            Query(
                kql,
                snapshot.database,
                _schemas(used),
                {name: _schemas(tables) for name, tables in others.items()},
                functions,
                elsewhere,
                prefix,
                said,
                under.policies,
                discovered,
            )
        )
        prepared = Prepared(translation)
        if len(kql) + len(translation.sql) <= _CACHED_CHARACTERS:
            self._cache[key] = prepared
            if len(self._cache) > self._limits.query_cache_entries:
                self._cache.popitem(last=False)
        return prepared

    async def aclose(self) -> None:
        """Ends the translator."""
        await self._translator.aclose()

    def statistics(self) -> TranslatorStatistics:
        """The translator's figures."""
        return self._translator.statistics()


def _columns(
    tables: Mapping[str, BoundTable], names: Collection[str]
) -> dict[str, tuple[Column, ...]]:
    if len(names) < 2:
        return {name: tables[name].columns for name in names}
    return {name: tables[name].columns for name in tables if name in names}  # in their order


def _name(item: tuple[str, object]) -> str:
    return item[0]


def _schemas(tables: dict[str, tuple[Column, ...]]) -> Schemas:
    return {
        name: tuple((column.name, column.type.value) for column in columns)
        for name, columns in tables.items()
    }
