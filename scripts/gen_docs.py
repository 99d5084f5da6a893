"""Writes the tables that come from code: limits, error codes and policies in README.md, commands.

``scripts/gen-docs`` rewrites them; ``--check`` fails when they are out of date.
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fidelity
import kql_page
import sdk_table
from cluster.catalog.policy_kinds import POLICY_KINDS
from cluster.commands.grammar import COMMANDS
from cluster.commands.grammar.spec import Kind
from cluster.coordinator import attachment, capability
from cluster.errors import error_classes
from cluster.limits import KIB, MIB, Limits
from cluster.replication.authority import DOUBTS, Standing
from cluster.replication.leader import DUTIES
from follower import gate, session_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import Enum

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
COMMANDS_PAGE = ROOT / "cluster" / "commands" / "COMMANDS.md"
FIDELITY_PAGE = ROOT / "cluster" / "commands" / "FIDELITY.md"
COORDINATOR_PAGE = ROOT / "cluster" / "coordinator" / "DESIGN.md"
REPLICATION_PAGE = ROOT / "cluster" / "replication" / "DESIGN.md"
FOLLOWER_PAGE = ROOT / "follower" / "DESIGN.md"


def amount(value: float, unit: str) -> str:
    """A number people can read."""
    if "bytes" in unit:
        for size, name in ((KIB * MIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
            if value >= size:
                return f"{value / size:g} {name}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


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


def fidelity_counts() -> str:
    """How many rules are emulated, differ, and are not modelled."""
    return fidelity.counts_text(fidelity.rules(ROOT))


def transitions_table(
    table: Mapping[tuple[Any, Any], tuple[Any, Any]], states: type[Enum], inputs: type[Enum]
) -> str:
    """A line an input, a column a state: the state after it, and what is done. A dash: never."""
    rows = [
        "| what happens | " + " | ".join(state.value for state in states) + " |",
        "|---|" + "---|" * len(states),
    ]
    for event in inputs:
        cells = []
        for state in states:
            after = table.get((state, event))
            if after is None:
                cells.append("-")
                continue
            words = f"**{after[0].value}**: " if after[0] is not state else ""
            cells.append(words + cell(after[1].value))
        rows.append(f"| {cell(event.value)} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def standings_table() -> str:
    """One row a kind of answer: when it is that, and what people read."""
    rows = ["| an answer is of | then |", "|---|---|"]
    then = {Standing.SAME: "obeyed, unless its revision is older", Standing.NEXT: "obeyed"}
    for standing in Standing:
        words = then.get(standing) or DOUBTS.get(standing) or "ignored"
        rows.append(f"| {standing.value} | {cell(words)} |")
    return "\n".join(rows)


def duties_table() -> str:
    """One row a duty of the leader's end, in order of priority."""
    rows = ["| | duty | what it does |", "|---|---|---|"]
    for number, duty in enumerate(DUTIES, 1):
        words = " ".join((duty.__doc__ or "").split())
        name = duty.__name__.strip("_").replace("_", " ")
        rows.append(f"| {number} | {name} | {cell(words)} |")
    return "\n".join(rows)


def cell(text: str) -> str:
    """Text that may have a bar in it, as one cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


PAGES: Mapping[Path, Mapping[str, Callable[[], str]]] = {
    sdk_table.PAGE: {sdk: functools.partial(sdk_table.table, sdk) for sdk in sdk_table.SDKS},
    README: {
        "limits": limits_table,
        "errors": errors_table,
        "policies": policies_table,
        "fidelity_counts": fidelity_counts,
    },
    FIDELITY_PAGE: {
        "fidelity_counts": fidelity_counts,
        "fidelity": lambda: fidelity.table_text(fidelity.rules(ROOT)),
    },
    COMMANDS_PAGE: {"commands": commands_table, "refused": refused_table},
    COORDINATOR_PAGE: {
        "capability": lambda: transitions_table(
            capability.TABLE, capability.Phase, capability.Input
        ),
        "attachment": lambda: transitions_table(
            attachment.TABLE, attachment.Phase, attachment.Input
        ),
        "standings": standings_table,
    },
    FOLLOWER_PAGE: {
        "gate": gate.table_as_markdown,
        "session": session_table.table_as_markdown,
    },
    REPLICATION_PAGE: {"duties": duties_table},
    kql_page.PAGE: kql_page.TABLES,
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
