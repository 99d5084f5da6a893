"""Targets that need a real node: one is started for them, and ended with them."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz_kql import SETUP, kql_target
from fuzz_rest import socket_target

from cluster.testing.kusto import Kusto
from cluster.testing.plugin_life import Life, Streaming
from cluster.testing.plugin_setup import LEADER, SessionSetup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fuzzing import Target


@contextmanager
def _kusto() -> Iterator[Kusto]:
    with tempfile.TemporaryDirectory() as folder:
        session = SessionSetup(Path(folder))
        try:
            life = Life(session, Streaming())
            yield Kusto(life, LEADER)
            for process, lines in session.logs().items():
                if "Traceback" in lines:
                    print(f"the last words of {process}:\n{lines}", file=sys.stderr)  # noqa: T201
            life.close()
        finally:
            session.close()


@contextmanager
def over_socket() -> Iterator[Target]:
    """:func:`fuzz_rest.socket_target`."""
    with _kusto() as kusto:
        yield socket_target(kusto.url)


@contextmanager
def kql() -> Iterator[Target]:
    """:func:`fuzz_kql.kql_target`."""
    with _kusto() as kusto:
        for command in SETUP:
            kusto.command(command)
        yield kql_target(kusto.url, kusto.database)
