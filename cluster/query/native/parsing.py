"""Functions that take texts of a format apart: CSV, command lines, paths. Pure."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from cluster.query.native.spec import MOST_MADE_BYTES, Native, refused
from cluster.query.translation import TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_ROOT: Final = re.compile(r"[A-Za-z]:")
_SEPARATORS: Final = "/\\"
_UNITS: Final = ("Bytes", "KB", "MB", "GB", "TB", "PB", "EB")
_MOST_DIGITS: Final = 15


def parse_csv(text: str) -> list[str]:
    """The fields of the first record of ``text`` (parse-csv-function.md)."""
    fields, field, is_quoted, position = [], "", False, 0
    while position < len(text):
        one = text[position]
        position += 1
        if is_quoted:
            if one != '"':
                field += one
            elif text[position : position + 1] == '"':
                field += '"'
                position += 1
            else:
                is_quoted = False
        elif one == '"' and not field:
            is_quoted = True
        elif one == '"':
            raise refused("parse_csv() of a quote within a field")
        elif one == ",":
            fields.append(field)
            field = ""
        elif one in "\r\n":
            break
        else:
            field += one
    if is_quoted:
        raise refused("parse_csv() of a quote that does not end")
    return [*fields, field]


def parse_command_line(line: str, parser: str) -> list[str] | None:
    """The arguments of a command line of Windows, by the rules of CommandLineToArgvW."""
    if parser.lower() != "windows":
        raise refused(f"parse_command_line() of the kind '{parser}'")
    if not line.strip(" \t"):
        return None
    arguments, position = [], 0
    if line[0] == '"':  # the program's name: no backslash escapes
        end = line.find('"', 1)
        end = len(line) if end < 0 else end
        arguments.append(line[1:end])
        position = end + 1
    elif line[0] not in " \t":
        space = re.search(r"[ \t]", line)
        position = len(line) if space is None else space.start()
        name = line[:position]
        if '"' in name:
            raise refused("parse_command_line() of a quote within the program's name")
        arguments.append(name)
    else:
        raise refused("parse_command_line() of a line that begins with a space")
    while True:
        while line[position : position + 1] in (" ", "\t"):
            position += 1
        if position >= len(line):
            return arguments
        argument, position = _argument(line, position)
        arguments.append(argument)


def _argument(line: str, position: int) -> tuple[str, int]:
    made, is_quoted = "", False
    while position < len(line):
        one = line[position]
        if one == "\\":
            begin, position = position, _past_slashes(line, position)
            slashes = position - begin
            if line[position : position + 1] != '"':
                made += "\\" * slashes
                continue
            made += "\\" * (slashes // 2)
            if slashes % 2:
                made += '"'
                position += 1
            continue
        if one == '"':
            if is_quoted and line[position + 1 : position + 2] == '"':
                made += '"'
                position += 1
            else:
                is_quoted = not is_quoted
        elif one in " \t" and not is_quoted:
            break
        else:
            made += one
        position += 1
    return made, position


def _past_slashes(line: str, position: int) -> int:
    while line[position : position + 1] == "\\":
        position += 1
    return position


def parse_path(path: str) -> dict[str, str]:
    """The parts of a path of a file (parse-path-function.md)."""
    scheme, rest, root = "", path, ""
    found = _SCHEME.match(path)
    if found is not None:
        scheme, rest = found[1], path[found.end() :]
    drive = _ROOT.match(rest)
    if drive is not None:
        root = drive[0]
    if scheme and (scheme != "file" or not root):
        raise refused(f"parse_path() of a path with the scheme {scheme} and no drive")
    split = max(rest.rfind(separator) for separator in _SEPARATORS)
    if split < 0 and root:
        raise refused("parse_path() of a drive without a directory")
    directory, name = rest[: max(split, 0)], rest[split + 1 :]
    if directory.strip(_SEPARATORS) in ("", root) and (root or split >= 0):
        raise refused("parse_path() of a file directly in the root")
    name, _, stream = name.partition(":")
    last = max(directory.rfind(separator) for separator in _SEPARATORS)
    return {
        "Scheme": scheme,
        "RootPath": root,
        "DirectoryPath": directory,
        "DirectoryName": directory[last + 1 :],
        "Filename": name,
        "Extension": name.rpartition(".")[2] if "." in name else "",
        "AlternateDataStreamName": stream,
    }


def format_bytes(size: float | None, precision: int | None, units: str) -> str | None:
    """``size`` in the largest unit it has one of, or in ``units`` (format-bytes-function.md)."""
    if size is None:
        return None
    digits = 0 if precision is None else precision
    if size < 0 or not 0 <= digits <= _MOST_DIGITS:
        raise refused("format_bytes() of a negative size or a precision beyond 15")
    if units and units not in _UNITS:
        raise refused(f"format_bytes() in the unit '{units}'")
    if not math.isfinite(size):
        raise refused("format_bytes() of a size that is not finite")
    exact = Decimal(size)
    power = _UNITS.index(units) if units else 0
    while not units and power < len(_UNITS) - 1 and exact >= 1024 ** (power + 1):
        power += 1
    step = Decimal(1).scaleb(-digits)
    value = exact / Decimal(1024**power)
    try:
        rounded = value.quantize(step, ROUND_HALF_EVEN)
    except InvalidOperation as error:  # 28 digits are not enough for it
        raise refused("format_bytes() of a size so large") from error
    if rounded != value.quantize(step, ROUND_HALF_UP):
        raise refused("format_bytes() of a size half way between two values")
    text = f"{rounded:f}"
    if digits and text.endswith("0"):
        raise refused("format_bytes() of a size that ends in a zero behind the point")
    return f"{text} {_UNITS[power]}"


def treepath(value: Any) -> list[str] | None:
    """Every path of a dynamic, as far as an example shows it."""
    if not isinstance(value, dict):
        return None
    made = 0
    found: dict[str, None] = {}
    for path in _paths("", value):
        made += len(path)
        if made > MOST_MADE_BYTES:
            raise ValueError(TOO_LONG)
        found.setdefault(path)
    return list(found)


def _paths(before: str, value: Any) -> Iterator[str]:
    """Paths as they come; those within an array, one for each of its values."""
    if isinstance(value, dict):
        for name, one in value.items():
            if "'" in name or "\\" in name:
                raise refused("treepath() of a name with a quote or a backslash")
            yield f"{before}['{name}']"
            yield from _paths(f"{before}['{name}']", one)
    elif isinstance(value, list):
        if value:
            yield f"{before}[0]"
        for one in value:
            yield from _paths(f"{before}[0]", one)


NATIVES: Final = (
    Native("parse_csv", parse_csv, "t", "dynamic", 1),
    Native("parse_command_line", parse_command_line, "vs", "dynamic", 2),
    Native("parse_path", parse_path, "v", "dynamic", 1),
    Native("format_bytes", format_bytes, "rls", "string", 1),
    Native("treepath", treepath, "d", "dynamic", 1),
)
