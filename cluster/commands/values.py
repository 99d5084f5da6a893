"""Kinds of values a grammar may use. Pure.

Each kind is a function of the matcher, a position and what the value is called; it gives the value
and the position after it, or notes what it expected there and gives None.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.model import Column, ScalarType
from cluster.commands.data_values import label, number, row_store, tag_terms
from cluster.commands.inline_records import records
from cluster.commands.lexer import TokenKind, block_end, literal_at
from cluster.commands.literals import DATETIME, TIMESPAN, read_datetime, read_timespan
from cluster.commands.names import ColumnName, EntityName, Rename, Since, TableDefinition
from cluster.commands.scalar_names import scalar_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from cluster.commands.interpreter import Matcher

    Match = Callable[[Matcher, int, str], tuple[Any, int] | None]

MAPPING_KINDS: Final = ("csv", "json", "avro", "parquet", "orc", "w3clogfile")


def _name(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
    token = matcher.at(position)
    if token.kind is TokenKind.BRACKETED:
        return token.value, token.end
    if token.kind is TokenKind.WORD:
        if "-" not in token.value:
            return token.value, token.end
        matcher.fail(position, f"a {what} name (with dashes it is written ['{token.value}'])")
        return None
    matcher.fail(position, f"a {what} name")
    return None


def _path(
    matcher: Matcher, position: int, what: str, fewest: int, most: int
) -> tuple[tuple[str, ...], int] | None:
    """Names with dots between them, ``fewest`` to ``most``."""
    names: list[str] = []
    while True:
        found = _name(matcher, position, what)
        if found is None:
            return None
        names.append(found[0])
        position = found[1]
        if len(names) == most or not matcher.is_symbol(position, "."):
            return (tuple(names), position) if len(names) >= fewest else None
        position = matcher.at(position).end


def _entity(matcher: Matcher, position: int, what: str) -> tuple[EntityName, int] | None:
    found = _path(matcher, position, what, 1, 2)
    if found is None:
        return None
    (*database, name), end = found
    return EntityName(database[0] if database else None, name), end


def _column_name(matcher: Matcher, position: int, what: str) -> tuple[ColumnName, int] | None:
    del what
    found = _path(matcher, position, "column", 2, 3)
    if found is None:
        return None
    (*database, table, column), end = found
    return ColumnName(database[0] if database else None, table, column), end


def _string(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
    token = matcher.at(position)
    if token.kind is TokenKind.STRING:
        return token.value, token.end
    matcher.fail(position, f"the {what} as a quoted string")
    return None


def _literal(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
    """One string literal, where another one may follow that is a value of its own."""
    token = literal_at(matcher.text, position)
    if token.kind is TokenKind.STRING:
        matcher.took_raw(token.start, token.end)
        return token.value, token.end
    matcher.fail(position, f"the {what} as a quoted string")
    return None


def _items(
    item: Match, matcher: Matcher, position: int, what: str
) -> tuple[tuple[Any, ...], int] | None:
    """One or more, commas between them."""
    items: list[Any] = []
    while True:
        found = item(matcher, position, what)
        if found is None:
            return None
        value, position = found
        items.append(value)
        if not matcher.is_symbol(position, ","):
            return tuple(items), position
        position = matcher.at(position).end


def _row_of(item: Match) -> Match:
    """One or more without parentheses."""
    return lambda matcher, position, what: _items(item, matcher, position, what.removesuffix("s"))


def _list_of(item: Match) -> Match:
    """One or more in parentheses."""

    def match_list(matcher: Matcher, position: int, what: str) -> tuple[Any, int] | None:
        if not matcher.is_symbol(position, "("):
            return None
        found = _items(item, matcher, matcher.at(position).end, what.removesuffix("s"))
        if found is None or not matcher.is_symbol(found[1], ")"):
            return None
        return found[0], matcher.at(found[1]).end

    return match_list


def _type(matcher: Matcher, position: int, what: str) -> tuple[ScalarType, int] | None:
    del what
    token = matcher.at(position)
    parts = [token.value] if token.kind is TokenKind.WORD else []
    while parts and matcher.follows(token.end, "."):
        token = matcher.at(matcher.at(token.end).end)
        parts.append(token.value)
    kind = scalar_type(".".join(parts))
    if kind is None:
        matcher.fail(position, "a scalar type (bool, datetime, decimal, dynamic, guid, int, long, "
                     "real, string or timespan)")  # fmt: skip
        return None
    return kind, token.end


def _column(matcher: Matcher, position: int, what: str) -> tuple[Column, int] | None:
    named = _name(matcher, position, what)
    if named is None or not matcher.is_symbol(named[1], ":"):
        return None
    typed = _type(matcher, matcher.at(named[1]).end, what)
    return None if typed is None else (Column(named[0], typed[0]), typed[1])


def _docstring(matcher: Matcher, position: int, what: str) -> tuple[tuple[str, str], int] | None:
    del what
    named = _name(matcher, position, "column")
    if named is None or not matcher.is_symbol(named[1], ":"):
        return None
    text = _string(matcher, matcher.at(named[1]).end, "docstring")
    return None if text is None else ((named[0], text[0]), text[1])


def _sort_key(matcher: Matcher, position: int, what: str) -> tuple[tuple[str, str], int] | None:
    named = _name(matcher, position, what)
    if named is None:
        return None
    order = matcher.at(named[1])
    if order.kind is TokenKind.WORD and order.value in ("asc", "desc"):
        return (named[0], order.value), order.end
    matcher.fail(named[1], "'asc'")
    matcher.fail(named[1], "'desc'")
    return None


def _definition(matcher: Matcher, position: int, what: str) -> tuple[TableDefinition, int] | None:
    named = _name(matcher, position, what)
    if named is None:
        return None
    columns = _COLUMNS(matcher, named[1], "columns")
    return None if columns is None else (TableDefinition(named[0], columns[0]), columns[1])


def _rename_of(old: Match) -> Match:
    def match_rename(matcher: Matcher, position: int, what: str) -> tuple[Rename, int] | None:
        del what
        new = _name(matcher, position, "new")
        if new is None or not matcher.is_symbol(new[1], "="):
            return None
        named = old(matcher, matcher.at(new[1]).end, "table")
        if named is None:
            return None
        word = matcher.at(named[1])
        if word.kind is TokenKind.WORD and word.value == "ifexists":
            return Rename(new[0], named[0], if_exists=True), word.end
        return Rename(new[0], named[0]), named[1]

    return match_rename


def _since(matcher: Matcher, position: int, what: str) -> tuple[Since, int] | None:
    named = _name(matcher, position, what)
    if named is None:
        return None
    word = matcher.at(named[1])
    if word.kind is not TokenKind.WORD or word.value != "if_later_than":
        return Since(named[0], None), named[1]
    version = _string(matcher, word.end, "version")
    return None if version is None else (Since(named[0], version[0]), version[1])


_PATTERN: Final = re.compile(r"[\w*]*\*[\w*]*")


def _pattern(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
    """A name in which ``*`` stands for any characters."""
    start = matcher.at(position).start
    found = _PATTERN.match(matcher.text, start)
    if found is not None:
        return found.group(), found.end()
    return _name(matcher, position, what)


def _guid(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
    """A guid, bare, quoted or as ``guid(...)``; lower case."""
    token = matcher.at(position)
    if token.kind is TokenKind.WORD and token.value == "guid":
        inner = matcher.at(matcher.at(token.end).end)
        if matcher.is_symbol(token.end, "(") and inner.kind is TokenKind.GUID:
            end = matcher.at(inner.end)
            return (inner.value.lower(), end.end) if matcher.is_symbol(inner.end, ")") else None
    if token.kind is TokenKind.GUID:
        return token.value.lower(), token.end
    if token.kind is TokenKind.STRING and _GUID.fullmatch(token.value):
        return token.value.lower(), token.end
    matcher.fail(position, f"the {what} as a guid")
    return None


_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _timespan(matcher: Matcher, position: int, what: str) -> tuple[timedelta, int] | None:
    start = matcher.at(position).start
    found = TIMESPAN.match(matcher.text, start)
    value = read_timespan(found.group()) if found else None
    if found is None or value is None:
        matcher.fail(position, f"the {what} as a timespan, for example 7d or 01:00:00")
        return None
    return value, found.end()


def _datetime(matcher: Matcher, position: int, what: str) -> tuple[datetime, int] | None:
    start = matcher.at(position).start
    found = DATETIME.match(matcher.text, start)
    value = read_datetime(found.group()) if found else None
    if found is None or value is None:
        matcher.fail(position, f"the {what} as a datetime, for example datetime(2024-01-31)")
        return None
    return value, found.end()


def _hot_window(matcher: Matcher, position: int, what: str) -> tuple[Any, int] | None:
    word = matcher.at(position)
    if word.kind is not TokenKind.WORD or word.value != "hot_window":
        matcher.fail(position, "'hot_window'")
        return None
    if not matcher.is_symbol(word.end, "="):
        return None
    first = _datetime(matcher, matcher.at(word.end).end, what)
    if first is None:
        return None
    dots = matcher.at(first[1]).start
    if not matcher.text.startswith("..", dots):
        matcher.fail(first[1], "'..'")
        return None
    last = _datetime(matcher, dots + 2, what)
    return None if last is None else ((first[0], last[0]), last[1])


def _property_value(matcher: Matcher, position: int) -> tuple[Any, int] | None:
    token = matcher.at(position)
    text = matcher.text
    if token.kind in (TokenKind.STRING, TokenKind.GUID):
        return token.value, token.end
    for pattern, read in ((DATETIME, read_datetime), (TIMESPAN, read_timespan)):
        found = pattern.match(text, token.start)
        if found is not None and (value := read(found.group())) is not None:
            return value, found.end()
    if token.kind is TokenKind.NUMBER:
        whole = re.fullmatch(r"-?\d+", token.value)
        return int(token.value) if whole else float(token.value), token.end
    if token.kind is TokenKind.WORD and token.value.lower() in ("true", "false"):
        return token.value.lower() == "true", token.end
    if token.kind is TokenKind.WORD:
        return token.value, token.end
    matcher.fail(position, "a property value")
    return None


def _property(matcher: Matcher, position: int, what: str) -> tuple[tuple[str, Any], int] | None:
    del what
    named = _name(matcher, position, "property")
    if named is None or not matcher.is_symbol(named[1], "="):
        return None
    found = _property_value(matcher, matcher.at(named[1]).end)
    return None if found is None else ((named[0], found[0]), found[1])


def _mapping_kind(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
    del what
    token = matcher.at(position)
    if token.kind is TokenKind.WORD and token.value.lower() in MAPPING_KINDS:
        return token.value.lower(), token.end
    if token.kind is TokenKind.WORD and token.value.lower() == "apacheavro":
        return "avro", token.end
    for kind in MAPPING_KINDS:
        matcher.fail(position, f"'{kind}'")
    return None


def _block_of(opening: str) -> Match:
    """Raw text from an opening bracket to the one that closes it, both included."""

    def match_block(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
        if not matcher.is_symbol(position, opening):
            return None
        start = matcher.at(position).start
        end = block_end(matcher.text, start)
        if end is None:
            matcher.fail(position, f"the {what}, from '{opening}' to what closes it")
            return None
        matcher.took_raw(start, end)
        return matcher.text[start:end], end

    return match_block


def _rest(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
    """All that follows, as it is; it may be empty."""
    del what
    end = len(matcher.text)
    matcher.took_raw(position, end)
    return matcher.text[position:], end


_COLUMNS: Final = _list_of(_column)

KINDS: Final[Mapping[str, Match]] = {
    "name": _name,
    "names": _list_of(_name),
    "patterns": _list_of(_pattern),
    "since": _list_of(_since),
    "entity": _entity,
    "column": _column_name,
    "type": _type,
    "string": _string,
    "strings": _list_of(_string),
    "literal": _literal,
    "label": label,
    "columns": _COLUMNS,
    "definitions": _row_of(_definition),
    "docstrings": _list_of(_docstring),
    "sort_keys": _list_of(_sort_key),
    "renames": _row_of(_rename_of(_name)),
    "column_renames": _row_of(_rename_of(_column_name)),
    "guid": _guid,
    "guids": _list_of(_guid),
    "timespan": _timespan,
    "datetime": _datetime,
    "hot_windows": _row_of(_hot_window),
    "mapping_kind": _mapping_kind,
    "properties": _list_of(_property),
    "parameters": _block_of("("),
    "body": _block_of("{"),
    "rest": _rest,
    "records": records,
    "number": number,
    "rowstore": row_store,
    "tag_terms": tag_terms,
}
"""Kinds of values by the names grammars use."""
