"""Names, types and syntax of our answers against Microsoft's own parser and binder, under node.

``corpus.kql`` has one query a line. For each the oracle says whether it is a query at all, and the
names and types of its columns; the engine answers the same query over the same tables. Where the
two differ and are meant to, ``DIFFERENCES`` says why; where we refuse what is a query, ``REFUSED``.
One node process answers the whole corpus.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from oracle_differences import DIFFERENCES, REFUSED

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import Column, ScalarType
from cluster.errors import NotSupportedError, RemoraError
from cluster.limits import LIMITS
from cluster.query.binding import QuerySnapshot, given_table
from cluster.query.driver import QueryEngine
from cluster.query.process import TranslatorStatistics
from cluster.query.translate import translate

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

FOLDER = Path(__file__).parent
CORPUS = tuple((FOLDER / "corpus.kql").read_text().splitlines())
ALL = {
    "b": "bool", "t": "datetime", "d": "decimal", "j": "dynamic", "g": "guid", "i": "int",
    "l": "long", "r": "real", "s": "string", "ts": "timespan",
}  # fmt: skip
PAIRS = {"l": "long", "z": "string"}
TABLES = {
    "Home": {"T": ALL, "U": PAIRS, "Empty": PAIRS, "Sorted": {"Description": "string",
             "desc_no": "long"}, 'od"d name': PAIRS},
    "Away": {"U": PAIRS},
}  # fmt: skip
UNKNOWN = "unknown"


def installed() -> bool:
    """Whether the oracle can run; npm installs it from the lock file if only that is missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        return False
    package = FOLDER / "node_modules" / "@kusto" / "language-service-next"
    if not package.exists() and npm is not None:
        subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"], cwd=FOLDER, check=False, capture_output=True
        )
    return package.exists()


@pytest.fixture(scope="module")
def oracle() -> dict[str, dict]:
    """What the oracle says of each query."""
    if not installed():
        if os.environ.get("CI"):
            pytest.fail("node and the package of tests/oracle/package.json are needed in CI")
        pytest.skip("KQL ORACLE SKIPPED: no node, or npm could not install tests/oracle")
    tables = {
        database: {
            table: f"({', '.join(f'{name}:{kind}' for name, kind in columns.items())})"
            for table, columns in known.items()
        }
        for database, known in TABLES.items()
    }
    asked = {"database": "Home", "tables": tables, "queries": CORPUS}
    done = subprocess.run(
        [shutil.which("node") or "node", "oracle.js"],
        cwd=FOLDER,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return dict(zip(CORPUS, json.loads(done.stdout), strict=True))


class InPlace:
    """Translates in this process."""

    async def translate(self, query):
        return translate(query, LIMITS)

    async def aclose(self) -> None:
        """Nothing to free."""

    def statistics(self) -> TranslatorStatistics:
        return TranslatorStatistics(None, 0, 0, 0, 0, 0.0, 0)


class FixedClock:
    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def monotonic(self) -> float:
        return 0.0


def snapshot() -> QuerySnapshot:
    """The tables, empty: what an answer looks like does not depend on rows."""

    def bound(name, columns):
        schema = tuple(Column(one, ScalarType(kind)) for one, kind in columns.items())
        arrow = arrow_schema(schema)
        empty = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in arrow], schema=arrow)
        return given_table(name, schema, (empty,))

    known = {
        database: {name: bound(name, columns) for name, columns in tables.items()}
        for database, tables in TABLES.items()
    }
    return QuerySnapshot("Home", known["Home"], {"Away": known["Away"]})


@pytest.fixture(scope="module")
def ours() -> dict[str, object]:
    """The columns we answer with, or the error we refuse with, of each query."""
    import trio

    said: dict[str, object] = {}

    async def ask() -> None:
        async with QueryEngine(
            clock=FixedClock(), cores=1, limits=LIMITS, translator=InPlace()
        ) as engine:
            for kql in CORPUS:
                try:
                    answer = await engine.answer(kql, snapshot())
                    said[kql] = [[c.name, c.type.value] for c in answer.results[-1].columns]
                except RemoraError as error:
                    said[kql] = error

    trio.run(ask)
    return said


def difference(expected: dict, got: object) -> str:
    """What differs, empty if nothing does; types the oracle does not know match every type."""
    if isinstance(got, RemoraError):
        if expected["errors"]:
            return ""
        return f"refused: {got}"
    if expected["errors"]:
        return f"answered, but: {expected['errors'][0]['message']}"
    wanted = expected["columns"] or []
    if len(wanted) != len(got):
        return f"columns {got}, expected {wanted}"
    for (name, kind), (our_name, our_kind) in zip(wanted, got, strict=True):
        if name != our_name or kind not in (our_kind, UNKNOWN):
            return f"{our_name}:{our_kind}, expected {name}:{kind}"
    return ""


def test_the_corpus_is_large_and_has_no_query_twice():
    assert len(CORPUS) >= 300
    assert len(set(CORPUS)) == len(CORPUS)


@pytest.mark.parametrize("kql", CORPUS)
def test_names_types_and_verdict_are_those_of_the_binder(kql, oracle, ours):
    found = difference(oracle[kql], ours[kql])
    if kql in REFUSED:
        assert isinstance(ours[kql], NotSupportedError), f"no longer refused: {found}"
    elif kql in DIFFERENCES:
        assert found, "no longer differs: take it off the list"
    else:
        assert not found


def test_every_difference_is_of_the_corpus_and_has_a_reason():
    for listed in (DIFFERENCES, REFUSED):
        assert set(listed) <= set(CORPUS)
        assert all(listed.values())
