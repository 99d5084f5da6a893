"""The code of Microsoft's documents, run: with its address changed, and with nothing changed.

Only blanks are filled in. Where nothing is changed, the names in it lead to the leader.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from languages import node_packages
from namespace import Transparent, is_possible
from sdk_setup import APPLICATION, DOCUMENTED, installed, need
from snippets import NAMES, OLD_PAGE, PAGE, POLICY_PAGE, blocks, filled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Ends
    from sdk_setup import SdkClusters

    from cluster.access.settings import Application


TABLE = "TestTable"
SCHEMA = "(TimeStamp: datetime, Name: string, Metric: int, Source: string)"
CSV = b"2026-01-02T03:04:05Z,boiler,71,plant\n"
JSON = b'{"at": "2026-01-02T03:04:05Z", "name": "boiler", "metric": 71, "source": "plant"}\n'
MAPPING = (
    '[{"column": "TimeStamp", "Properties": {"Path": "$.at"}},'
    ' {"column": "Name", "Properties": {"Path": "$.name"}},'
    ' {"column": "Metric", "Properties": {"Path": "$.metric"}},'
    ' {"column": "Source", "Properties": {"Path": "$.source"}}]'
)

LEGACY = ("azure-kusto-data==2.3.2", "azure-kusto-ingest==2.3.2")
"""The SDKs of the older page's time: it imports what later ones have elsewhere."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def table(ends: Ends) -> Ends:
    """The table of the document, and the mapping that one needs."""
    ends.command(f".create table {TABLE} {SCHEMA}")
    ends.command(f".alter table {TABLE} policy streamingingestion enable")
    ends.command(f".create table {TABLE} ingestion json mapping 'TestMapping' '{MAPPING}'")
    return ends


@pytest.fixture
def network(clusters: SdkClusters) -> Iterator[Transparent]:
    """A network in which the service's names are the leader's."""
    if not is_possible():
        if os.environ.get("CI") == "true":
            pytest.fail("NOT TESTED: this machine makes no namespaces (unshare)", pytrace=False)
        pytest.skip("NOT TESTED: this machine makes no namespaces (unshare)")
    port = int(clusters.https_url("leader").rpartition(":")[2])
    with Transparent(port, NAMES) as network:
        yield network
    assert network.connections, "the code has not reached the leader"


@pytest.fixture(scope="session")
def legacy_python() -> str:
    """A Python with the SDKs of the older page's time."""

    def install(folder: Path) -> None:
        subprocess.run((sys.executable, "-m", "venv", "--clear", folder), check=True)
        pip = (folder / "bin" / "python", "-m", "pip", "install", "-q")
        subprocess.run((*pip, *LEGACY, "setuptools<81"), check=True, timeout=500)

    return str(installed("python-2.3.2", install) / "bin" / "python")


def values(ends: Ends, application: Application) -> dict[str, str]:
    """What a reader fills in."""
    return {
        "appId": application.id,
        "appKey": application.secret,
        "appTenant": application.tenant,
        "dbName": ends.database,
        "tableName": TABLE,
        "mappingName": "TestMapping",
    }


def run(command: tuple[str, ...], folder: Path, data: bytes, variables: dict[str, str]) -> None:
    """Runs a program beside the file that all of them read."""
    (folder / "MyFile.gz").write_bytes(gzip.compress(data))
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REMORA_")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**ours, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout


def rows(ends: Ends) -> list[list[object]]:
    return ends.rows(f"{TABLE} | project Name, Metric, Source, format_datetime(TimeStamp, 'yyyy')")


EXPECTED = [["boiler", 71, "plant", "2026"]]


def python_trust(clusters: SdkClusters) -> dict[str, str]:
    return {"REQUESTS_CA_BUNDLE": str(clusters.trust), "SSL_CERT_FILE": str(clusters.trust)}


def test_python_with_its_address_changed(
    clusters: SdkClusters, table: Ends, tmp_path: Path
) -> None:
    (code,) = blocks(PAGE, "python")
    address = clusters.https_url("leader")
    (tmp_path / "snippet.py").write_text(filled(code, values(table, APPLICATION), address))
    run((sys.executable, "snippet.py"), tmp_path, CSV, python_trust(clusters))
    assert rows(table) == EXPECTED


def test_python_with_nothing_changed(
    clusters: SdkClusters, table: Ends, network: Transparent, tmp_path: Path
) -> None:
    (code,) = blocks(PAGE, "python")
    (tmp_path / "snippet.py").write_text(filled(code, values(table, DOCUMENTED)))
    command = network.command(sys.executable, "snippet.py")
    run(command, tmp_path, CSV, python_trust(clusters))
    assert rows(table) == EXPECTED


@pytest.mark.parametrize(
    "address", [pytest.param("https://localhost", id="address"), pytest.param("", id="nothing")]
)
def test_older_python_with_what_changed(
    clusters: SdkClusters,
    table: Ends,
    network: Transparent,
    legacy_python: str,
    tmp_path: Path,
    address: str,
) -> None:
    (code,) = blocks(OLD_PAGE, "python")
    application = APPLICATION if address else DOCUMENTED
    (tmp_path / "snippet.py").write_text(filled(code, values(table, application), address))
    command = network.command(legacy_python, "snippet.py")
    run(command, tmp_path, CSV, python_trust(clusters))
    assert rows(table) == EXPECTED


def test_older_python_needs_the_sdk_of_its_time(
    clusters: SdkClusters, table: Ends, tmp_path: Path
) -> None:
    (code,) = blocks(OLD_PAGE, "python")
    (tmp_path / "snippet.py").write_text(
        filled(code, values(table, APPLICATION), clusters.https_url("leader"))
    )
    with pytest.raises(AssertionError, match="ImportError: cannot import name 'DataFormat'"):
        run((sys.executable, "snippet.py"), tmp_path, CSV, python_trust(clusters))


@pytest.fixture
def node_folder(tmp_path: Path) -> Path:
    """Where a program finds Node's packages."""
    need("Node", "node")
    (tmp_path / "node_modules").symlink_to(node_packages())
    return tmp_path


@pytest.mark.parametrize("page", [OLD_PAGE, PAGE])
def test_node_with_its_address_changed(
    clusters: SdkClusters, table: Ends, node_folder: Path, page: str
) -> None:
    (code,) = blocks(page, "nodejs")
    address = clusters.https_url("leader")
    (node_folder / "snippet.mjs").write_text(filled(code, values(table, APPLICATION), address))
    trust = {"NODE_EXTRA_CA_CERTS": str(clusters.authority), "AZURE_AUTHORITY_HOST": address}
    run(("node", "snippet.mjs"), node_folder, JSON, trust)
    assert rows(table) == EXPECTED


@pytest.mark.parametrize("page", [OLD_PAGE, PAGE])
def test_node_with_nothing_changed(
    clusters: SdkClusters, table: Ends, network: Transparent, node_folder: Path, page: str
) -> None:
    (code,) = blocks(page, "nodejs")
    (node_folder / "snippet.mjs").write_text(filled(code, values(table, DOCUMENTED)))
    trust = {"NODE_EXTRA_CA_CERTS": str(clusters.authority)}
    run(network.command("node", "snippet.mjs"), node_folder, JSON, trust)
    assert rows(table) == EXPECTED


def test_the_commands_of_the_documents(ends: Ends) -> None:
    """As they are. The database they name is not the test's, so it is made for them."""
    name = "StreamingTestDb"
    create, enable_table, enable_database, drop = blocks(OLD_PAGE, "kusto")
    (alter,) = blocks(POLICY_PAGE, "kusto")
    shown = f".show table {TABLE} policy streamingingestion | project Policy"

    def policy() -> str:
        ((text,),) = ends.leader.execute_mgmt(name, shown).primary_results[0]
        return str(text)

    ends.command(f".create database {name}")
    try:
        for command in (create, enable_table):
            ends.leader.execute_mgmt(name, command)
        assert '"IsEnabled": true' in policy().replace('":true', '": true')
        ends.leader.execute_mgmt(name, drop)
        assert "true" not in policy()
        ends.leader.execute_mgmt(name, enable_database)
        assert blocks(PAGE, "kusto") == [drop]
        ends.leader.execute_mgmt(name, ".create table Table1 (a: int)")
        ends.leader.execute_mgmt(name, alter)
    finally:
        ends.command(f".drop database {name}")
