"""The code of Microsoft's documents in Go and Java, compiled and run as the others' is."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from languages import java_jars, trust_options
from sdk_setup import APPLICATION, DOCUMENTED, need
from snippets import OLD_PAGE, PAGE, blocks, filled
from test_sdk_go import GO
from test_sdk_snippets import CSV, EXPECTED, TABLE, network, rows, run, table, values

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Ends
    from namespace import Transparent
    from sdk_setup import SdkClusters

__all__ = ["network", "table"]

pytestmark = pytest.mark.timeout(600)

GO_MAPPING = (
    '[{"column": "Name", "Properties": {"Path": "$.a"}},'
    ' {"column": "Metric", "Properties": {"Path": "$.b"}}]'
)
MAIN = "\nfunc main() { stream() }\n"


def go_build(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Compiles a program with the SDK of the pages' time; what became of it."""
    need("Go", "go")
    for name in ("go.mod", "go.sum"):
        shutil.copy(GO.folder / "seeds" / name, folder)
    (folder / "snippet.go").write_text(code)
    command = ("go", "build", "-o", "snippet", "snippet.go")
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=500
    )


@pytest.mark.parametrize("page", [OLD_PAGE, PAGE])
def test_go_with_nothing_changed_but_a_name(
    clusters: SdkClusters, table: Ends, network: Transparent, tmp_path: Path, page: str
) -> None:
    """The SDK has no way to another address or login than the service's own names."""
    table.command(f".create table {TABLE} ingestion json mapping 'GoMapping' '{GO_MAPPING}'")
    (code,) = blocks(page, "go")
    code = filled(code, {**values(table, DOCUMENTED), "mappingName": "GoMapping"})
    # A function called as a package that is imported is refused by every compiler.
    built = go_build(
        tmp_path, "package main\n\n" + code.replace("func ingest(", "func stream(") + MAIN
    )
    assert built.returncode == 0, built.stderr
    trust = {"SSL_CERT_FILE": str(clusters.trust)}
    run(network.command(str(tmp_path / "snippet")), tmp_path, b"", trust)
    found = table.rows(f"{TABLE} | order by Metric asc | project Name, Metric")
    assert found == [["1", 10], ["2", 20]]


def test_go_does_not_compile_as_it_is(tmp_path: Path) -> None:
    (code,) = blocks(PAGE, "go")
    built = go_build(tmp_path, f"package main\n\n{code}\nfunc main() {{ ingest() }}\n")
    assert "ingest already declared through import of package" in built.stderr


def java_program(folder: Path, code: str) -> tuple[str, ...]:
    """Compiles the class of a page; the command that runs it."""
    (folder / "FileIngestion.java").write_text(code)
    path = f"{folder}:{java_jars()}/*"
    compiler = ("javac", "-nowarn", "-cp", path, "-d", str(folder), "FileIngestion.java")
    subprocess.run(compiler, cwd=folder, check=True, timeout=300)
    return ("java", "-XX:TieredStopAtLevel=1", "-cp", path, "FileIngestion")


@pytest.fixture
def batched_soon(table: Ends) -> Ends:
    """What the page calls streaming makes a queued client, so there is a batch to be waited for."""
    policy = '{"MaximumBatchingTimeSpan": "00:00:10"}'
    table.command(f".alter table {TABLE} policy ingestionbatching '{policy}'")
    return table


@pytest.mark.parametrize("page", [OLD_PAGE, PAGE])
def test_java_with_its_address_changed(
    clusters: SdkClusters, batched_soon: Ends, tmp_path: Path, page: str
) -> None:
    (code,) = blocks(page, "java")
    code = filled(code, values(batched_soon, APPLICATION), clusters.url("leader"))
    run(java_program(tmp_path, code), tmp_path, CSV, {})
    batched_soon.pair.leader.wait_for_rows(TABLE, 1)
    assert rows(batched_soon) == EXPECTED


def test_java_with_nothing_changed(
    clusters: SdkClusters, batched_soon: Ends, network: Transparent, tmp_path: Path
) -> None:
    (code,) = blocks(PAGE, "java")
    program, *rest = java_program(tmp_path, filled(code, values(batched_soon, DOCUMENTED)))
    options = trust_options(str(clusters.authority), tmp_path)
    run(network.command(program, *options, *rest), tmp_path, CSV, {})
    batched_soon.pair.leader.wait_for_rows(TABLE, 1)
    assert rows(batched_soon) == EXPECTED
