"""Management commands: texts made from the table of grammars, and what a node does with them."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from command_examples import EXAMPLES
from commands_world import FixedClock, World
from fuzz_calls import scalar_calls
from fuzz_mutations import ODD_TEXTS, mutated_texts
from fuzz_values import quoted
from fuzzing import Target
from hypothesis import strategies as st

from cluster.catalog.driver import Catalog
from cluster.commands.grammar import COMMANDS
from cluster.commands.interpreter import parse_command
from cluster.commands.notation import Choice, Keyword, Sequence, Symbol, Value
from cluster.errors import InternalError, RemoraError, RequestError
from cluster.limits import LIMITS, Limits
from cluster.query.driver import QueryEngine
from cluster.query.process import TranslatorStatistics
from cluster.query.translate import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypothesis.strategies import DrawFn, SearchStrategy

    from cluster.commands.notation import Node
    from cluster.query.messages import Query
    from cluster.query.translation import Translation

NAMES = (
    "T",
    "Sales",
    "a",
    "['b c']",
    '["T"]',
    "F",
    "M",
    "New",
    "x-y",
    "S*",
    "*",
    "",
    "['']",
    "T.a",
)
STRINGS = (
    "'x'", '"x"', "@'x\\'", "h'secret'", "H@\"s\"", "```x\ny```", "''", "'{}'", "'[]'", "'[1,{}]'",
    "'{\"IsEnabled\":true}'", "'\\u0041'", "'\\x'", "'a''b'", "'[{\"column\":\"a\"}]'", "'null'",
)  # fmt: skip
TYPES = ("long", "string", "System.Int64", "dynamic", "real", "guid", "text", "decimal(3)")
SPANS = ("1d", "365d", "1.00:00:00", "-1h", "time(1d)", "0s", "1e9d", "00:60:00", "9" * 30 + "d")
DATES = (
    "datetime(2026-01-01)",
    "datetime(null)",
    "2026-01-01",
    "datetime()",
    "datetime(9999-12-31)",
)
GUIDS = ("0f8fad5b-d9cb-469f-a165-70867728950e", "guid(x)", "0" * 32)
NUMBERS = ("0", "1", "-1", "1.5", "99999999999999999999", "0x10", "1e5")
COLUMNS = ("(a:long)", "(a:long, b:string)", "()", "(a:long, a:long)", "(['b c']:dynamic,)", "(a)")
VALUES: Mapping[str, tuple[str, ...]] = {
    "name": NAMES,
    "entity": NAMES,
    "column": ("T.a", "a", "Sales.T.a", "['T'].['b c']", "T.", ".a"),
    "names": ("(T, S)", "(T)", "()", "(T,)"),
    "patterns": ("(S*)", "(*)", "(T, x*)"),
    "type": TYPES,
    "string": STRINGS,
    "strings": ("('x', 'y')", "('x')", "()"),
    "literal": STRINGS + NUMBERS,
    "columns": COLUMNS,
    "definitions": ("T (a:long), S (b:string)", "T ()", "T (a:long),"),
    "docstrings": ("(a:'x')", "(a:'x', b:'y')", "(a)"),
    "sort_keys": ("(a asc)", "(a desc, b)", "(a sideways)"),
    "guid": GUIDS,
    "guids": tuple(f"({guid})" for guid in GUIDS),
    "timespan": SPANS,
    "datetime": DATES,
    "mapping_kind": ("csv", "json", "avro", "apacheavro", "orc", "W3CLogFile", "xml"),
    "properties": (
        "(a=1)", "(docstring='x', folder='y')", "(x='')", "(tags='[\"a\"]', b=true)", "()", "(=)",
        "(creationTime='x')", "(format='csv', ignoreFirstRecord=true)", "(a=datetime(2026-01-01))",
    ),
    "parameters": ("()", "(a:long)", "(a:long, b:string='x')", "((a:long), (*))", "(a"),
    "body": ("{ T }", "{}", "{ T | where a == '}' }", "{ { } }", "{"),
    "rest": ("1,x\n2,y", "", "T | take 1", "<| T", "{}"),
    "number": NUMBERS,
}  # fmt: skip
ANYTHING = NAMES + STRINGS + SPANS + DATES + NUMBERS + COLUMNS + ODD_TEXTS
BLANKS = (" ", " ", " ", " ", " ", "\n", "\t", "", " // note\n")
ENDS = ("", "", "", "", "", "| count", "| where a == 1", "|", ";", "; x", "// x")

PREPARED = (
    ".create database Sales",
    ".create table T (a:long, ['b c']:dynamic)",
    ".create table S (a:long, b:string)",
    ".create function F() { T }",
)
SECURED = (
    "T", "T | where a == 1", "T | where {call}", "T | extend a = {call}", "T | project a", "F()",
    "F() | where {call}",
    "S", "T | where current_principal_is_member_of('aadgroup=x')", "T | where ['b c'].x == {call}",
    "union T, S", "",
    "T | where a in ((S | project a))", "T | where toscalar(S | where {call} | count) > 0", "T; T",
    "let x = {call}; T",
    "T | evaluate bag_unpack(['b c'])", "database('Sales').T", "cluster('x').database('y').T",
    ".show tables", "Missing",
    "T | join kind=leftanti S on a", "T | as X | union X", "T | facet by a", "T | count",
    "set notruncation; T", "T | take 0",
    "T | where cursor_after('')", "T | extend X = ingestion_time() | project-away X",
    "T | partition by a (take 1)", "//",
    "declare query_parameters(p: long = 1); T | where a == p", "T | where a == {call} or {call}",
    "datatable(a:long) [1]",
)  # fmt: skip
"""Queries of policies of row level security; ``{call}`` is of any function."""
OF_OTHER_PARTS = ("ingest", "export", "extent", "rowstore", "operations")
"""Forms whose executors ask what :class:`World` leaves out: they are parsed only."""


@st.composite
def from_table(draw: DrawFn) -> str:
    """A text of one form, most of its values of the kind that is asked for."""
    spec = draw(st.sampled_from(COMMANDS))
    pieces: list[str] = []
    _write(draw, spec.tree, pieces)
    pieces.append(draw(st.sampled_from(ENDS)))
    blank = draw(st.sampled_from(BLANKS))
    return f".{blank.strip(' ')}{blank.join(pieces)}"


def _write(draw: DrawFn, node: Node, pieces: list[str]) -> None:
    match node:
        case Keyword(text):
            pieces.append(text)
        case Symbol(text):
            pieces.append(text)
        case Value(_, kind):
            known = VALUES.get(kind, ANYTHING)
            is_fitting = draw(st.integers(0, 9))
            pieces.append(draw(st.sampled_from(known if is_fitting else ANYTHING)))
        case Choice(items):
            _write(draw, draw(st.sampled_from(items)), pieces)
        case Sequence(items):
            for item in items:
                _write(draw, item, pieces)


@st.composite
def secured(draw: DrawFn) -> str:
    """A command that puts a table under row level security."""
    call = draw(scalar_calls())
    known = [one.replace("{call}", call) for one in SECURED]
    query = draw(mutated_texts(st.sampled_from(known)))
    table = draw(st.sampled_from(("T", "T", "T", "S", *NAMES)))
    word = draw(
        st.sampled_from(("enable", "enable", "disable", "with (x=1) enable", "enable with (a=1)"))
    )
    return f".alter table {table} policy row_level_security {word} {quoted(query)}"


def texts() -> SearchStrategy[str]:
    """Commands, nearly commands, and anything at all."""
    examples = st.sampled_from(sorted(EXAMPLES.values()))
    made = from_table()
    return st.one_of(
        made, mutated_texts(made), mutated_texts(examples), secured(), st.text(max_size=40)
    )


def parse(text: str) -> str:
    """The parser alone."""
    try:
        command = parse_command(text, LIMITS)
    except RequestError as error:
        return type(error).__name__
    assert text.endswith(command.pipe)
    return "parsed"


class InPlace:
    """Translates in this process: so no process has to be started for an example."""

    async def translate(self, query: Query) -> Translation:
        """What the translator process does, without its bounds."""
        return translate(query, LIMITS)

    async def aclose(self) -> None:
        """Nothing to end."""
        await trio.lowlevel.checkpoint()

    def statistics(self) -> TranslatorStatistics:
        """Of no process."""
        return TranslatorStatistics(None, 0, 0, 0, 0, 0.0, 0)


class Executed:
    """The parser and everything behind it, on a real catalog; a fresh one for every example."""

    def __call__(self, text: str) -> str:
        """What became of the command."""
        return trio.run(self._run, text)

    async def _run(self, text: str) -> str:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            async with await Catalog.open(
                Path(folder) / "catalog.sqlite",
                clock=FixedClock(),
                mint=itertools.count(1).__next__,
                limits=Limits(tables_per_database=4),
            ) as catalog:
                world: Any = World(catalog, LIMITS)
                for command in PREPARED:
                    await world.run(command)
                if _needs_more(text):
                    return "left out"
                engine = QueryEngine(clock=FixedClock(), cores=1, translator=InPlace())
                async with engine:
                    world.node.queries = engine
                    return await self._answer(world, text)

    @staticmethod
    async def _answer(world: Any, text: str) -> str:
        try:
            await world.run(text)
        except InternalError as error:
            raise AssertionError("an error of our own making") from error
        except RemoraError as error:
            return type(error).__name__
        return "done"


def _needs_more(text: str) -> bool:
    try:
        command = parse_command(text, LIMITS)
    except RequestError:
        return False
    return any(part in command.spec.name for part in OF_OTHER_PARTS)


PARSER = Target("parser", texts(), parse, processor_seconds=1.0, memory_mib=64)
COMMANDS_RUN = Target("commands", texts(), Executed())
