"""Functions of strings: positions, replacements, code points. Pure.

Positions and lengths count code points. No regular expression comes from a query here: those are
for DuckDB, whose time does not explode.
"""

from __future__ import annotations

import re
from typing import Any, Final

from cluster.query.native.spec import (
    MOST_MADE_BYTES,
    Native,
    encoded,
    is_whole,
    refused,
    require_room,
    require_steps,
)
from cluster.query.translation import TOO_LONG

MOST_REPEATS: Final = 1024
"""Of strrep (strrep-function.md)."""

MOST_CODE_POINTS: Final = 1024
"""Of what punycode is made of, or for: 1,024 that are not ASCII take 0.3 s, 4,096 take 4.8 s."""

_CHARACTERS_A_STEP: Final = 256
"""Characters looked through in the time of one step of Python."""

_QUOTED: Final = frozenset("\\*+?|{[()^$.")
_ACE: Final = "xn--"
_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")
"""What parts the labels of a domain name (RFC 3490, 3.1)."""


def indexof(
    text: str,
    match: str,
    start: int | None = None,
    length: int | None = None,
    occurrence: int | None = None,
) -> int | None:
    """The position of ``match`` from ``start`` on within ``length`` characters, or -1."""
    first = 0 if start is None else start
    most = -1 if length is None else length
    wanted = 1 if occurrence is None else occurrence
    if wanted < 0 or most < -1:
        return None
    if wanted == 0 or not match:
        raise refused("indexof() with an occurrence of 0, or of an empty text")
    if first < 0:
        first = max(len(text) + first, 0)
    if most == -1:
        most = len(text)
    apart = _occurrence(text, match, (first, most), wanted, len(match))
    if wanted > 1 and apart != _occurrence(text, match, (first, most), wanted, 1):
        raise refused("indexof() of an occurrence that overlaps another")
    return apart


def _occurrence(text: str, match: str, within: tuple[int, int], wanted: int, step: int) -> int:
    """``within``: where to begin, and how many characters to look at behind each occurrence."""
    position, most = within
    while True:
        found = text.find(match, position, position + most)
        wanted -= 1
        if found < 0 or wanted == 0:
            return found
        position = found + step


def has_any_index(text: str, values: Any) -> int:
    """The index of the first of ``values`` that ``text`` has (has-any-index-function.md)."""
    if not isinstance(values, list):
        return -1
    folded = text.casefold()
    require_steps(len(values) * (1 + len(text) // _CHARACTERS_A_STEP), "has_any_index()")
    for index, one in enumerate(values):
        looked_for = (one if isinstance(one, str) else encoded(one)).casefold()
        if not looked_for:
            raise refused("has_any_index() of an empty text")
        if looked_for in folded:
            if not re.search(rf"(?<!\w){re.escape(looked_for)}(?!\w)", folded):
                raise refused("has_any_index() of a text that is found within a longer term")
            return index
    return -1


def translate(searched: str, replacing: str, text: str) -> str:
    """``text`` with each character of ``searched`` replaced by that at its place in ``replacing``.

    The last one stands for those that are missing; with none at all they are taken away.
    """
    table: dict[int, str | None] = {}
    for index, one in enumerate(searched):
        other = replacing[min(index, len(replacing) - 1)] if replacing else None
        table.setdefault(ord(one), other)
    return text.translate(table)


def replace_strings(text: str, lookups: Any, rewrites: Any) -> str:
    """``text`` with every lookup rewritten; an earlier one goes first, and what it has found
    is not looked at again (replace-strings-function.md)."""
    if not isinstance(lookups, list) or not isinstance(rewrites, list):
        return text
    if len(lookups) != len(rewrites):
        raise refused("replace_strings() of two arrays of different lengths")
    pieces: list[tuple[str, bool]] = [(text, False)]
    steps = made = 0
    for lookup, rewrite in zip(lookups, rewrites, strict=True):
        if not isinstance(lookup, str) or not lookup:
            continue
        written = rewrite if isinstance(rewrite, str) else lookup
        steps += len(pieces) + len(text) // _CHARACTERS_A_STEP
        require_steps(steps, "replace_strings()")
        made += len(written) * text.count(lookup)
        if made > MOST_MADE_BYTES:
            raise ValueError(TOO_LONG)
        pieces = [piece for one in pieces for piece in _rewritten(one, lookup, written)]
    return "".join(piece for piece, _ in pieces)


def _rewritten(piece: tuple[str, bool], lookup: str, written: str) -> list[tuple[str, bool]]:
    text, is_done = piece
    if is_done or lookup not in text:
        return [piece]
    between = [(part, False) for part in text.split(lookup)]
    joined = [one for part in between for one in (part, (written, True))]
    return joined[:-1]


def strrep(value: str, times: int | None, delimiter: str = "") -> str:
    """``value`` so many times, at most 1024, with ``delimiter`` between."""
    count = min(times or 0, MOST_REPEATS)
    require_room(value + delimiter, count)
    return delimiter.join([value] * count)


def codepoints_from_string(text: str) -> list[int]:
    """The code points of ``text``."""
    return [ord(one) for one in text]


def codepoints_to_string(values: list[Any]) -> str | None:
    """The text of code points, which come as numbers and arrays of numbers."""
    given = [p for value in values for p in (value if isinstance(value, list) else [value])]
    if not all(is_whole(p) and 0 <= p < 0x110000 and not 0xD800 <= p < 0xE000 for p in given):
        return None
    return "".join(map(chr, given))


def regex_quote(text: str) -> str:
    """``text`` as a regular expression that matches just it."""
    quoted = []
    for one in text:
        if one in _QUOTED:
            quoted.append("\\" + one)
        elif one.isalnum() or one == "_" or not one.isascii():
            quoted.append(one)
        else:
            raise refused(f"regex_quote() of the character {one!r}")
    return "".join(quoted)


def is_utf8(_: str) -> bool:
    """True: a string that is stored is valid."""
    return True


def punycode_from_string(text: str) -> str:
    """``text`` in punycode, without a prefix."""
    _require_short(text)
    return text.encode("punycode").decode("ascii")


def punycode_to_string(text: str) -> str:
    """What ``text`` is the punycode of; '' if it is none."""
    _require_short(text)
    try:
        return text.encode("ascii").decode("punycode")
    except (UnicodeError, ValueError):
        return ""


def punycode_domain_from_string(text: str) -> str:
    """A domain name with the labels that begin with xn-- decoded; '' if one is wrong."""
    _require_short(text)
    labels = []
    for label in _DOTS.split(text):
        if not label.lower().startswith(_ACE):
            labels.append(label)
            continue
        decoded = punycode_to_string(label[len(_ACE) :])
        if not decoded:
            return ""
        labels.append(decoded)
    return ".".join(labels)


def punycode_domain_to_string(text: str) -> str:
    """A domain name with the labels that are not ASCII in punycode behind xn--."""
    _require_short(text)
    return ".".join(
        label if label.isascii() else _ACE + punycode_from_string(label)
        for label in _DOTS.split(text)
    )


def _require_short(text: str) -> None:
    if len(text) > MOST_CODE_POINTS:
        raise refused(f"punycode of more than {MOST_CODE_POINTS} characters")


NATIVES: Final = (
    Native("indexof", indexof, "vvlll", "long", 2),
    Native("has_any_index", has_any_index, "td", "long", 2),
    Native("translate", translate, "sss", "string", 3),
    Native("replace_strings", replace_strings, "sdd", "string", 3),
    Native("strrep", strrep, "vlv", "string", 2),
    Native("unicode_codepoints_from_string", codepoints_from_string, "v", "dynamic", 1),
    Native("unicode_codepoints_to_string", codepoints_to_string, "a+", "string", 1),
    Native("make_string", codepoints_to_string, "a+", "string", 1),
    Native("regex_quote", regex_quote, "v", "string", 1),
    Native("isutf8", is_utf8, "v", "bool", 1),
    Native("punycode_from_string", punycode_from_string, "s", "string", 1),
    Native("punycode_to_string", punycode_to_string, "s", "string", 1),
    Native("punycode_domain_from_string", punycode_domain_from_string, "s", "string", 1),
    Native("punycode_domain_to_string", punycode_domain_to_string, "s", "string", 1),
)
