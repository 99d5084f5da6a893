"""Writes the tables that come from code: limits, error codes and policies in README.md, commands.

``scripts/gen-docs`` rewrites them; ``--check`` fails when they are out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cluster.catalog.policy_kinds import POLICY_KINDS
from cluster.commands.grammar import COMMANDS
from cluster.commands.grammar.spec import Kind
from cluster.errors import error_classes
from cluster.limits import KIB, MIB, Limits

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
COMMANDS_PAGE = ROOT / "cluster" / "commands" / "COMMANDS.md"


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


def policies_table() -> str:
    """One row a kind of policy: where it can be set and what acts on it."""
    rows = ["| policy | set on | when it is not set | what honours it |", "|---|---|---|---|"]
    rows += [
        f"| `{kind.name}` | {', '.join(scope.value.lower() for scope in kind.scopes)} "
        f"| {kind.when_unset} | {kind.honoured_by or '*stored and shown only*'} |"
        for kind in sorted(POLICY_KINDS.values(), key=lambda kind: kind.name)
    ]
    return "\n".join(rows)


def commands_table() -> str:
    """One row a form that is executed."""
    rows = ["| command | columns of its result | permission |", "|---|---|---|"]
    rows += [
        f"| `{cell(spec.usage)}` | {cell(spec.result)} | {spec.permission} |"
        for spec in COMMANDS
        if spec.kind is not Kind.REFUSE
    ]
    return "\n".join(rows)


def refused_table() -> str:
    """One row a form that is known and refused."""
    rows = ["| command | why it is refused |", "|---|---|"]
    rows += [
        f"| `{cell(spec.usage)}` | {cell(spec.refusal)} |"
        for spec in COMMANDS
        if spec.kind is Kind.REFUSE
    ]
    return "\n".join(rows)


def cell(text: str) -> str:
    """Text that may have a bar in it, as one cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


PAGES = {
    README: {"limits": limits_table, "errors": errors_table, "policies": policies_table},
    COMMANDS_PAGE: {"commands": commands_table, "refused": refused_table},
}


def rendered(page: Path) -> str:
    """The page with its tables made anew."""
    text = page.read_text()
    for name, table in PAGES[page].items():
        block = f"<!-- {name} -->\n{table()}\n<!-- /{name} -->"
        pattern = rf"<!-- {name} -->.*?<!-- /{name} -->"
        text, count = re.subn(pattern, lambda _, b=block: b, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{page} must have one block <!-- {name} -->, it has {count}")
    return text


def main() -> int:
    """Rewrites or checks the pages."""
    stale = 0
    for page in PAGES:
        wanted = rendered(page)
        if "--check" not in sys.argv[1:]:
            page.write_text(wanted)
        elif page.read_text() != wanted:
            sys.stderr.write(f"{page} is out of date: run scripts/gen-docs\n")
            stale = 1
    return stale


if __name__ == "__main__":
    raise SystemExit(main())
