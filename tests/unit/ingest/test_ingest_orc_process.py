"""The process that reads an ORC file: waited for within a limit, and never left behind."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow as pa
import pyarrow.orc as pa_orc
import pytest
from ingest_tables import file_rows

from cluster.errors import LimitExceededError
from cluster.ingest.process import orc_batches
from cluster.ingest.request import DataFormat
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def readers() -> Callable[[], list[psutil.Process]]:
    """Processes begun by a test; others may share this one and have begun some."""
    others = {process.pid for process in psutil.Process().children()}

    def present() -> list[psutil.Process]:
        return [one for one in psutil.Process().children() if one.pid not in others]

    return present


def waiting(seconds: float) -> Any:
    return replace(LIMITS, ingest_reader_seconds=seconds)


class SilentReader(subprocess.Popen[bytes]):
    """One that hangs before it has read anything."""

    def __init__(self, arguments: Any, **more: Any) -> None:
        super().__init__([sys.executable, "-c", "import signal; signal.pause()"], **more)


class LingeringReader(subprocess.Popen[bytes]):
    """One that has said all and does not end."""

    def __init__(self, arguments: Any, **more: Any) -> None:
        text = "import os, signal; os.close(1); signal.pause()"
        super().__init__([sys.executable, "-c", text], **more)


@pytest.mark.parametrize("reader", [SilentReader, LingeringReader])
def test_a_reader_that_never_ends_is_killed(
    monkeypatch: pytest.MonkeyPatch,
    reader: type[subprocess.Popen[bytes]],
    readers: Callable[[], list[psutil.Process]],
) -> None:
    monkeypatch.setattr("cluster.ingest.process.subprocess.Popen", reader)
    with pytest.raises(LimitExceededError, match=r"longer than 0\.2 seconds") as caught:
        file_rows(b"ORC", DataFormat.ORC, limits=waiting(0.2))
    assert caught.value.metadata == {"limit": "ingest_reader_seconds"}
    assert readers() == []


def test_within_the_limit_a_file_is_read_however_slowly_its_rows_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, readers: Callable[[], list[psutil.Process]]
) -> None:
    """Time passes only where the reader is waited for: by the clock of the test, none of it."""
    path = tmp_path / "many.orc"
    pa_orc.write_table(pa.table({"age": pa.array(range(200_000))}), path)
    now = 0.0
    monkeypatch.setattr("cluster.ingest.process.time.monotonic", lambda: now)
    rows = 0
    with path.open("rb") as file:
        for batch in orc_batches(file, None, waiting(60.0)):
            now += 1000.0
            rows += batch.num_rows
    assert rows == 200_000
    assert readers() == []


def test_a_reader_whose_rows_nobody_wants_any_more_is_killed(
    tmp_path: Path, readers: Callable[[], list[psutil.Process]]
) -> None:
    path = tmp_path / "many.orc"
    pa_orc.write_table(pa.table({"age": pa.array(range(2_000_000))}), path, stripe_size=65_536)
    with path.open("rb") as file:
        batches = orc_batches(file, None, waiting(60.0))
        assert next(batches).num_rows > 0
        assert len(readers()) == 1
        batches.close()
    assert readers() == []


def test_at_the_limit_it_is_late(
    monkeypatch: pytest.MonkeyPatch, readers: Callable[[], list[psutil.Process]]
) -> None:
    sink = io.BytesIO()
    pa_orc.write_table(pa.table({"name": ["Ada"], "age": [36]}), sink)

    def rows_after(seconds: float) -> list[Any]:
        """The first wait takes that long."""
        times = iter([0.0, seconds])
        monkeypatch.setattr("cluster.ingest.process.time.monotonic", lambda: next(times, seconds))
        return file_rows(sink.getvalue(), DataFormat.ORC, limits=waiting(60.0))

    assert rows_after(59.0) == [("Ada", 36)]
    for seconds in (60.0, 61.0):
        with pytest.raises(LimitExceededError):
            rows_after(seconds)
    assert readers() == []
