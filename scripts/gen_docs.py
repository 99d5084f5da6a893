"""Writes the tables of README.md that come from code: limits and error codes.

``scripts/gen-docs`` rewrites them; ``--check`` fails when they are out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cluster.errors import error_classes
from cluster.limits import KIB, MIB, Limits

README = Path(__file__).resolve().parent.parent / "README.md"


def amount(value: float, unit: str) -> str:
    """A number people can read."""
    if "bytes" in unit.split(" ")[0] and value >= KIB:
        return f"{value / MIB:g} MiB" if value >= MIB else f"{value / KIB:g} KiB"
    return f"{value:,g}"


def limits_table() -> str:
    """One row a limit."""
    rows = ["| limit | default | unit | source | when exceeded |", "|---|---|---|---|---|"]
    rows += [
        f"| `{info.name}` | {amount(info.default, info.unit)} | {info.unit} | {info.source} "
        f"| {info.error} |"
        for info in Limits.describe()
    ]
    return "\n".join(rows)


def errors_table() -> str:
    """One row a Kusto code and reason: what it means and what to do."""
    rows = [
        "| code | reason | HTTP | gRPC | retry? | what it means | what to do |",
        "|---|---|---|---|---|---|---|",
    ]
    for error in error_classes():
        if "reason" not in vars(error):
            continue
        meaning = " ".join((error.__doc__ or "").strip().split("\n\n")[0].split())
        rows.append(
            f"| `{error.code}` | `{error.reason}` | {error.http_status} | {error.status.name} "
            f"| {'no' if error.permanent else 'yes'} | {meaning} | {error.default_remedy} |"
        )
    return "\n".join(rows)


TABLES = {"limits": limits_table, "errors": errors_table}


def rendered(text: str) -> str:
    """The README with its tables made anew."""
    for name, table in TABLES.items():
        block = f"<!-- {name} -->\n{table()}\n<!-- /{name} -->"
        pattern = rf"<!-- {name} -->.*?<!-- /{name} -->"
        text, count = re.subn(pattern, lambda _, b=block: b, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"README.md must have one block <!-- {name} -->, it has {count}")
    return text


def main() -> int:
    """Rewrites or checks README.md."""
    present = README.read_text()
    wanted = rendered(present)
    if "--check" in sys.argv[1:]:
        if present != wanted:
            sys.stderr.write("README.md is out of date: run scripts/gen-docs\n")
            return 1
        return 0
    README.write_text(wanted)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
