"""What the tests of every SDK share: a running pair of clusters, and the runs of other languages.

Tests in Python use the fixtures of ``conftest.py``. Tests in another language are files in a folder
of their own; one process runs all of them, and each is one test here::

    NODE = Suite("node", files="*.test.mjs", test=r'^test\\("(.+)"', comment="//")

    @pytest.mark.parametrize("name", NODE.tests())
    def test_node(outcomes: Outcomes, name: str) -> None:
        outcomes.check(name)

Which call of an SDK a test is about is said where the test is, in any language alike; it becomes a
row of ``SDKS.md`` (see ``scripts/sdk_table.py``)::

    // sdk_call("node", "Client.execute", "works")
    test("a query has its rows", async () => {

A line ``xfail("reason")`` above a test, in a comment, says that it fails, and why; when it does not
fail any more, the run fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as Xml

import pytest
from snippets import REGION

from cluster.access.settings import Application, AuthSettings
from cluster.gateway.identity.certificates import TRANSPARENT_NAMES, TlsFiles
from cluster.launcher.links import AUTHORITY_FILE, TLS_FOLDER
from cluster.launcher.security import Security
from cluster.launcher.topology import ClusterSpec, Topology
from cluster.testing.kusto import KustoPair
from cluster.testing.local import launch
from cluster.testing.plugin_life import Life, Streaming
from cluster.testing.plugin_setup import SessionSetup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE: Final = Path(__file__).parent

LIMITS: Final = {"heartbeat_seconds": 0.25}
TIGHT_LIMITS: Final = {**LIMITS, "queries_per_core": 1, "row_store_bytes": 64 * 1024}

TENANT: Final = "adfs"
APPLICATION: Final = Application("11111111-2222-3333-4444-555555555555", "its-key", TENANT)
STRANGER: Final = Application("99999999-2222-3333-4444-555555555555", "its-key", TENANT)
"""Applications with a key: one may do everything, the other nothing."""

DOCUMENTED: Final = Application(
    "22222222-3333-4444-5555-666666666666", "its-key", "77777777-8888-9999-aaaa-bbbbbbbbbbbb"
)
"""An application of a tenant as it is in Azure, for code that reaches the names of Azure."""

TOPOLOGY: Final = Topology(
    (
        ClusterSpec("leader", streaming_ingestion=True, limits=LIMITS),
        ClusterSpec("follower", streaming_ingestion=True, limits=LIMITS),
        # Two more that refuse what the leader takes: too much at once, and any streaming.
        ClusterSpec("tight", streaming_ingestion=True, limits=TIGHT_LIMITS),
        ClusterSpec("off", streaming_ingestion=False, limits=LIMITS),
    ),
    LIMITS,
    security=Security(
        has_tls=True,
        # The service's own names too, as code of documents says them, and those of its regions.
        names=(*TRANSPARENT_NAMES, f"*.{REGION}.kusto.windows.net"),
        auth=AuthSettings(
            admins=(APPLICATION.principal, DOCUMENTED.principal),
            applications=(APPLICATION, DOCUMENTED, STRANGER),
        ),
    ),
)

LEADER: Final = "REMORA_SDK_LEADER"
"""Variable with the leader's address, ``http://localhost:PORT``, for tests in other languages."""

FOLLOWER: Final = "REMORA_SDK_FOLLOWER"
"""Variable with the follower's address."""

DATABASE: Final = "REMORA_SDK_DATABASE"
"""Variable with the name of a database of the leader that the follower follows."""

FOLDER: Final = "REMORA_SDK_FOLDER"
"""Variable with a folder to write files in."""

TIGHT: Final = "REMORA_SDK_TIGHT"
"""Variable with the address of a cluster whose row store takes 64 KiB, and no more."""

OFF: Final = "REMORA_SDK_OFF"
"""Variable with the address of a cluster without streaming ingestion."""

PATIENCE: Final = 30.0
"""Seconds that rows, or words about them, may take to come."""

LEADER_HTTPS: Final = "REMORA_SDK_LEADER_HTTPS"
"""Variable with the leader's address with TLS, ``https://localhost:PORT``."""

FOLLOWER_HTTPS: Final = "REMORA_SDK_FOLLOWER_HTTPS"
"""Variable with the follower's."""

AUTHORITY: Final = "REMORA_SDK_AUTHORITY"
"""Variable with the file of the private authority, PEM."""

APPLICATION_ID: Final = "REMORA_SDK_APPLICATION"
"""Variable with the id of an application that may do everything."""

APPLICATION_KEY: Final = "REMORA_SDK_APPLICATION_KEY"
"""Variable with its key."""

TRUST: Final = "REMORA_SDK_TRUST"
"""Variable with a file of that authority and those the system trusts, PEM."""

PATIENCE_SECONDS: Final = "REMORA_SDK_PATIENCE_SECONDS"
"""Variable with the same, for tests in other languages."""


def sdk_call(sdk: str, call: str, result: str, note: str = "") -> pytest.MarkDecorator:
    """Says which call of an SDK the test is about, and what it shows of it.

    ``result`` is ``works``, ``refused as documented`` or ``not supported``.
    """
    return pytest.mark.sdk_call(sdk, call, result, note)


def localhost(url: str) -> str:
    """The address as people write it. Some SDKs treat ``localhost`` in a way of its own."""
    return url.replace("//127.0.0.1:", "//localhost:")


class SdkClusters(SessionSetup):
    """The running processes."""

    async def _launch(self, folder: Path) -> None:
        await launch(folder, limits=LIMITS, topology=TOPOLOGY)

    def url(self, cluster: str) -> str:
        """The address of a cluster, as people write it: ``http://localhost:PORT``."""
        return localhost(self.setup.node_of(cluster).http)

    def https_url(self, cluster: str) -> str:
        """The same with TLS: ``https://localhost:PORT``."""
        return localhost(self.setup.node_of(cluster).https)

    @property
    def authority(self) -> Path:
        """The private authority's certificate."""
        return self.setup.folder / AUTHORITY_FILE

    @property
    def trust(self) -> Path:
        """It and the authorities that the system trusts, in one file."""
        return TlsFiles(self.launcher.home.folder / TLS_FOLDER).trust


@contextlib.contextmanager
def following(session: SdkClusters) -> Iterator[KustoPair]:
    """A fresh database on the leader that the follower follows; both are gone afterwards."""
    life = Life(session, Streaming())
    try:
        pair = KustoPair(life)
        pair.attach()
        yield pair
    finally:
        life.close()


def variables(session: SdkClusters, pair: KustoPair, folder: Path) -> dict[str, str]:
    """The environment of tests in another language: ours, and where the clusters are."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REMORA_")}
    return {
        **ours,
        LEADER: session.url("leader"),
        FOLLOWER: session.url("follower"),
        TIGHT: session.url("tight"),
        OFF: session.url("off"),
        LEADER_HTTPS: session.https_url("leader"),
        FOLLOWER_HTTPS: session.https_url("follower"),
        AUTHORITY: str(session.authority),
        TRUST: str(session.trust),
        APPLICATION_ID: APPLICATION.id,
        APPLICATION_KEY: APPLICATION.secret,
        DATABASE: pair.database,
        FOLDER: str(folder),
        PATIENCE_SECONDS: str(PATIENCE),
    }


def need(language: str, *tools: str) -> None:
    """Skips without these programs; where CI is true that is an error."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if not missing:
        return
    words = f"NOT TESTED: the SDKs of {language} need {', '.join(missing)}, not on this machine"
    if os.environ.get("CI") == "true":
        pytest.fail(words, pytrace=False)
    pytest.skip(words)


def cache(name: str) -> Path:
    """A folder outside the tree that is kept from run to run, for installed packages."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "remora" / "sdk" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def installed(name: str, install: Callable[[Path], None]) -> Path:
    """The folder ``cache(name)`` after ``install`` was called with it, once for all who ask."""
    folder = cache(name)
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two workers: the second waits, and finds it done
        if not (folder / "installed").exists():
            install(folder)
            (folder / "installed").touch()
    return folder


def npm_packages(language: str, project: Path) -> Path:
    """The folder ``node_modules`` with what a project's lock file names, installed once."""
    need(language, "node", "npm")
    sources = [project / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()

    def install(folder: Path) -> None:
        for source in sources:
            shutil.copy(source, folder)
        command = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        subprocess.run(command, cwd=folder, check=True, timeout=500)

    return installed(f"{project.name}-{digest[:16]}", install) / "node_modules"


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one language: ``files`` in its folder, and how a ``test`` begins in them.

    ``test`` matches a line, its first group is the test's name.
    """

    language: str
    files: str
    test: str
    comment: str

    @property
    def folder(self) -> Path:
        """Where they are."""
        return HERE / self.language

    def tests(self) -> list[Any]:
        """One parameter a test, with its expected failure if there is one."""
        found = []
        for file in sorted(self.folder.rglob(self.files)):
            reason = ""
            for line in file.read_text().splitlines():
                expected = re.match(rf'\s*{re.escape(self.comment)}\s*xfail\("(.+)"\)', line)
                if expected:
                    reason = expected[1]
                elif match := re.match(self.test, line):
                    marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
                    found.append(pytest.param(match[1], marks=marks))
                    reason = ""
        names = [found_one.values[0] for found_one in found]
        assert names, f"no {self.files} with tests in {self.folder}"
        assert len(set(names)) == len(names), f"two tests of {self.language} have one name"
        return found


class Outcomes(Mapping[str, str]):
    """What became of a language's tests: by name, why it failed, or ``""``."""

    def __init__(self, failures: Mapping[str, str], output: str) -> None:
        self._failures = failures
        self._output = output

    def __getitem__(self, name: str) -> str:
        return self._failures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._failures)

    def __len__(self) -> int:
        return len(self._failures)

    def check(self, name: str) -> None:
        """Fails as that test did, or because it did not run."""
        if name not in self._failures:
            pytest.fail(f"{name!r} did not run. The output:\n{self._output}", pytrace=False)
        if self._failures[name]:
            pytest.fail(self._failures[name], pytrace=False)


def junit_outcomes(text: str, output: str) -> Outcomes:
    """Reads a JUnit report, as the runners of several languages write it.

    A test that was skipped counts as failed: nothing here may be left out silently.
    """
    failures = {}
    for case in Xml.fromstring(text).iter("testcase"):
        wrong = [part for part in case if part.tag in ("failure", "error", "skipped")]
        words = "\n".join(
            f"{part.tag}: {part.get('message') or ''}\n{part.text or ''}".strip() for part in wrong
        )
        failures[str(case.get("name"))] = words
    return Outcomes(failures, output)
