"""Pairs of keys and values in a text, as ``parse-kv`` with delimiters reads them. Pure.

A function that DuckDB calls for each row. parse-kv-operator.md says what becomes of texts that are
well formed; for others it does not, and a guess would be a wrong answer, so they are refused: a
quote that is not closed or that something follows, an escape of a character that needs none, a
blank around ``kv_delimiter`` where blanks separate pairs, and in greedy mode a key that is not
among those asked for, which may be one or a part of the value before it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.query.run_errors import message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.query.native.runs import Runs

SQL_NAME: Final = "read_pairs"
"""The function's name in SQL, which no query can call."""


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """How pairs are read."""

    keys: tuple[str, ...]
    pair_delimiter: str
    kv_delimiter: str
    quotes: tuple[str, ...] = ()
    """Each an opening and a closing character, or one that is both."""
    escapes: tuple[str, ...] = ()
    is_greedy: bool = False


def install(database: Any, runs: Runs) -> None:
    """Makes the function known to a DuckDB connection and all its cursors."""

    def read(run: int, text: str, reading: str) -> str:
        runs.require_going(run)
        return _read(text, reading)

    types = ["BIGINT", "VARCHAR", "VARCHAR"]
    database.create_function(SQL_NAME, read, types, "VARCHAR")


def _read(text: str, reading: str) -> str:
    """The values of the keys of ``reading``, null for those that are missing, as a JSON list."""
    how = msgspec.json.decode(reading, type=Reading)
    found = values_of(text, how)
    return json.dumps([found.get(key) for key in how.keys], ensure_ascii=False)


def values_of(text: str, how: Reading) -> dict[str, str]:
    """The first value of each key asked for. Raises ValueError for a text that is refused."""
    found: dict[str, str] = {}
    last: str | None = None  # of greedy mode: the key whose value may go on
    for part, has_key, key, value in _parts(text, how):
        if not has_key:
            if how.is_greedy and last is not None:
                found[last] += how.pair_delimiter + part
            continue
        if how.is_greedy and last is not None and key not in how.keys:
            raise _refused(f"greedy: the key '{key[:64]}' is not among those asked for")
        last = None
        if key in how.keys and key not in found:
            found[key] = value
            last = key
    return {key: value.strip() for key, value in found.items()}


def _parts(text: str, how: Reading) -> Sequence[tuple[str, bool, str, str]]:
    """What stands between the delimiters of pairs: as it is, whether it has a key, key, value."""
    parts = []
    position = 0
    blank = how.pair_delimiter.isspace()
    pair_ends = re.compile(re.escape(how.pair_delimiter))
    key_ends = re.compile(f"{re.escape(how.kv_delimiter)}|{pair_ends.pattern}")
    while position <= len(text):
        start = position
        key, position = _piece(text, start, key_ends, how)
        if not text.startswith(how.kv_delimiter, position):
            parts.append((text[start:position], False, "", ""))
            position += len(how.pair_delimiter)
            continue
        if blank and not key.strip():
            raise _refused("a blank before kv_delimiter, where blanks separate pairs")
        begin = position + len(how.kv_delimiter)
        if blank and text.startswith(how.pair_delimiter, begin):
            raise _refused("a blank behind kv_delimiter, where blanks separate pairs")
        value, position = _piece(text, begin, pair_ends, how)
        parts.append((text[start:position], True, key.strip(), value))
        position += len(how.pair_delimiter)
    return parts


def _piece(text: str, start: int, ends: re.Pattern[str], how: Reading) -> tuple[str, int]:
    """A key or value from ``start``, and where the first of ``ends`` behind it stands."""
    begin = start
    while begin < len(text) and text[begin].isspace() and not ends.match(text, begin):
        begin += 1
    quote = next((q for q in how.quotes if begin < len(text) and text[begin] == q[0]), None)
    if quote is None:
        found = ends.search(text, start)
        stop = len(text) if found is None else found.start()
        return text[start:stop], stop
    pieces = []
    place = begin + 1
    special = {*how.escapes, *(character for one in how.quotes for character in one)}
    while place < len(text) and text[place] != quote[-1]:
        if text[place] in how.escapes:
            place += 1
            if text[place : place + 1] not in special:
                raise _refused("an escape of a character that needs none")
        pieces.append(text[place])
        place += 1
    if place >= len(text):
        raise _refused("a quote that is not closed")
    place += 1
    while place < len(text) and not ends.match(text, place):
        if not text[place].isspace():
            raise _refused("something behind a closing quote")
        place += 1
    return "".join(pieces), place


def _refused(what: str) -> ValueError:
    return ValueError(message("pairs", what))
