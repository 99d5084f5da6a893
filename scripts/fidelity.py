"""The fidelity table: each documented rule, the test that shows it, and what differs here.

A test says which rule it shows::

    @pytest.mark.fidelity("retention-policy.md", "A table's policy wins over its database's")
    @pytest.mark.fidelity("follower.md", "A follower is read-only", differs="no code is documented")

The page is one of Microsoft's documentation (its file name), or ``published grammar``, or ``white
paper``. ``differs`` says why and what happens here instead. The marks are read from the source:
no test is run or imported. What is not modelled comes from the commands that are refused, and from
:data:`NOT_MODELLED` for rules that are no commands.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.commands.grammar import COMMANDS
from cluster.commands.grammar.spec import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EMULATED: Final = "emulated"
DIFFERS: Final = "differs"
NOT_MODELLED_STATE: Final = "not modelled"

NOT_MODELLED: Final[tuple[tuple[str, str, str], ...]] = (
    ("ingest-data-streaming.md", "Turning streaming on reserves local disk of each node",
     "disks are not divided; a row store has the limit of limits.py"),
    ("ingest-data-streaming.md", "Turning streaming on takes several minutes",
     "it is in force when the answer comes"),
    ("ingest-data-streaming.md", "An update policy of streaming may not use the Python plugin",
     "plugins are not supported at all"),
    ("databasecursor.md", "A cursor may trail streamed rows by up to 60 seconds",
     "cursors are exact at once"),
    ("cache-policy.md", "95 % of the disk is for hot data, 5 % for cold",
     "hot extents are kept in memory, up to a limit of the node"),
    ("query-consistency.md", "Weak consistency answers from metadata that is minutes old",
     "queries read the newest metadata; followers tell how old their answer is"),
    ("extents-overview.md", "Extents are spread over the nodes of a cluster",
     "a cluster has one node"),
    ("partitioning-policy.md", "Extents are partitioned by the values of a column",
     "the policy is kept and shown, nothing acts on it"),
    ("encoding-policy.md", "The encoding of a column is chosen",
     "the policy is kept and shown, extents are Parquet with its own encodings"),
    ("follower.md", "With customer-managed keys neither cluster follows others",
     "there are no keys of storage"),
    ("follower.md", "Leader clusters are exempt from stopping by themselves",
     "no cluster stops by itself"),
    ("journal.md", "The journal says who made a change", "it keeps the command, not the caller"),
)  # fmt: skip
"""Page, rule, and why, of rules that are no commands."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. ``test`` is ``path::name``; a rule that is not modelled has the row's name there."""

    page: str
    rule: str
    state: str
    test: str
    why: str


class MarkError(Exception):
    """A mark cannot be read; says where."""


def rules(root: Path) -> tuple[Rule, ...]:
    """Every rule, by page. Raises MarkError for a mark that is not two literal texts."""
    found = [
        rule for path in sorted((root / "tests").rglob("test_*.py")) for rule in _of(path, root)
    ]
    found += [Rule(page, rule, NOT_MODELLED_STATE, "", why) for page, rule, why in NOT_MODELLED]
    found += [
        Rule("published grammar", f"`{spec.usage}`", NOT_MODELLED_STATE, spec.name, spec.refusal)
        for spec in COMMANDS
        if spec.kind is Kind.REFUSE
    ]
    twice = [rule for rule, count in Counter((r.page, r.rule) for r in found).items() if count > 1]
    if twice:
        raise MarkError(f"said by two tests: {twice}")
    return tuple(sorted(found, key=lambda rule: (rule.page, rule.state == NOT_MODELLED_STATE)))


def _of(path: Path, root: Path) -> Iterator[Rule]:
    source = path.read_text()
    if "mark.fidelity" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fidelity":
                yield _rule(mark, f"{path.relative_to(root)}::{node.name}")


def _rule(mark: ast.Call, test: str) -> Rule:
    words = {word.arg: word.value for word in mark.keywords}
    try:
        page, rule = (ast.literal_eval(argument) for argument in mark.args)
        differs = ast.literal_eval(words.pop("differs", ast.Constant("")))
    except ValueError:
        page = rule = differs = None
    if words or not all(isinstance(text, str) for text in (page, rule, differs)) or not rule:
        raise MarkError(f"{test}: fidelity takes a page, a rule and differs, all as texts")
    return Rule(page, rule, DIFFERS if differs else EMULATED, test, differs)


def counts_text(found: tuple[Rule, ...]) -> str:
    """One sentence with the counts."""
    states = Counter(rule.state for rule in found)
    pages = len({rule.page for rule in found})
    return (
        f"{len(found)} documented rules of {pages} pages: {states[EMULATED]} are emulated, "
        f"{states[DIFFERS]} differ, {states[NOT_MODELLED_STATE]} are not modelled."
    )


def table_text(found: tuple[Rule, ...]) -> str:
    """One row a rule, with a link to its test."""
    rows = [
        "| page | rule | here | why, and what happens instead | test or row |",
        "|---" * 5 + "|",
    ]
    for rule in found:
        cells = (rule.page, rule.rule, rule.state, rule.why, _shown(rule))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _shown(rule: Rule) -> str:
    path, _, name = rule.test.partition("::")
    if name:
        return f"[{name.removeprefix('test_')}](../../{path})"
    return f"row '{path}'" if path else ""
