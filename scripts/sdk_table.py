"""The tables of ``tests/sdk/SDKS.md``: which calls of each SDK work, from the tests themselves.

Above each test, in any language, lines say what it shows::

    @sdk_call("python", "KustoClient.execute", "works", "query and command")
    // sdk_call("node", "Client.execute", "works")

A call that several tests are about is one row; all of them must say the same of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "tests" / "sdk"
PAGE: Final = FOLDER / "SDKS.md"
SDKS: Final = ("python", "node", "go", "java", "csharp")
RESULTS: Final = (
    "works",
    "refused as documented",
    "not supported",
    # Tests that are shipped, and are run by hand where there is what they need.
    "not run: needs .NET",
    "not run: needs azkustoingest",
)

_SOURCES: Final = {
    "node": "node/*.mjs",
    "go": "go/**/*.go",
    "java": "java/**/*.java",
    "csharp": "csharp/**/*.cs",
}
_RUNNERS: Final = "test_*.py"
"""The tests of Python, and those that run a language's tests in other surroundings."""

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    rf"^\s*(?:@|//\s*)sdk_call\(\s*{_TEXT},\s*{_TEXT},\s*{_TEXT},?(?:\s*{_TEXT},?)?\s*\)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Row:
    """What the tests in ``file`` show of a call."""

    call: str
    result: str
    notes: tuple[str, ...]
    files: tuple[str, ...]


def rows(sdk: str) -> list[Row]:
    """The calls of an SDK, by name. Raises ValueError for tests that contradict each other."""
    found: dict[str, Row] = {}
    own = () if sdk == "python" else FOLDER.glob(_SOURCES[sdk])
    for file in sorted((*own, *FOLDER.glob(_RUNNERS))):
        text = file.read_text()
        declared = list(_LINE.finditer(text))
        if len(declared) != len(re.findall(r"^\s*(?:@|//\s*)sdk_call\(", text, re.MULTILINE)):
            raise ValueError(f"{file}: a line with sdk_call cannot be read")
        for match in declared:
            named, call, result, note = (part or "" for part in match.groups())
            if file.match(_RUNNERS) and named != sdk and named in SDKS:
                continue
            if named != sdk or result not in RESULTS:
                raise ValueError(f"{file}: {match[0].strip()}: another SDK, or no known result")
            add(found, Row(call, result, (note,) if note else (), (str(file.relative_to(FOLDER)),)))
    return [found[call] for call in sorted(found, key=str.lower)]


def add(found: dict[str, Row], row: Row) -> None:
    """Puts what one more test shows to what is known of the call."""
    before = found.setdefault(row.call, row)
    if before.result != row.result:
        raise ValueError(f"{row.call}: '{before.result}' and '{row.result}'")
    notes = tuple(dict.fromkeys(before.notes + row.notes))
    found[row.call] = Row(
        row.call, row.result, notes, tuple(dict.fromkeys(before.files + row.files))
    )


def table(sdk: str) -> str:
    """The SDK's calls in Markdown."""
    lines = ["| call | | what is tested | test |", "|---|---|---|---|"]
    for row in rows(sdk):
        files = ", ".join(f"[{file}]({file})" for file in row.files)
        notes = "; ".join(row.notes).replace("|", "\\|")
        lines.append(f"| `{row.call}` | {row.result} | {notes} | {files} |")
    return "\n".join(lines)
