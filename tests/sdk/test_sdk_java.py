"""The unmodified Java SDKs, in ``java/``: one process, one test here for each there."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from sdk_setup import AUTHORITY, Outcomes, Suite, cache, junit_outcomes, need

if TYPE_CHECKING:
    from pathlib import Path

JAVA = Suite("java", files="*Test.java", test=r"^    void (\w+)\(\)", comment="//")

pytestmark = pytest.mark.timeout(600)

STORE_PASSWORD = "changeit"


@pytest.fixture(scope="session")
def jars() -> Path:
    """A folder with what ``pom.xml`` names and what that needs, brought by Maven once."""
    need("Java", "java", "javac", "keytool", "mvn")
    pom = JAVA.folder / "pom.xml"
    folder = cache(f"java-{hashlib.sha256(pom.read_bytes()).hexdigest()[:16]}")
    if not (folder / "installed").exists():
        goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        where = f"-DoutputDirectory={folder}"
        subprocess.run(
            ("mvn", "--batch-mode", "--quiet", "--file", pom, goal, where), check=True, timeout=500
        )
        (folder / "installed").touch()
    return folder


def trust_options(authority: str, folder: Path) -> tuple[str, ...]:
    """What makes Java trust the clusters' authority, as ``remora certs`` says."""
    store = folder / "truststore.p12"
    command = ("keytool", "-importcert", "-noprompt", "-alias", "remora", "-file", authority)
    more = ("-keystore", store, "-storetype", "PKCS12", "-storepass", STORE_PASSWORD)
    subprocess.run((*command, *more), check=True, capture_output=True, timeout=60)
    option = "-Djavax.net.ssl.trustStore"
    return (f"{option}={store}", f"{option}Password={STORE_PASSWORD}")


@pytest.fixture(scope="module")
def outcomes(
    jars: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Outcomes:
    """All of them, compiled and run."""
    folder = tmp_path_factory.mktemp("java")
    sources = sorted(JAVA.folder.rglob("src/test/java/*.java"))
    path = f"{folder}:{jars}/*"
    compiler = ("javac", "--release", "11", "-nowarn", "-cp", path, "-d", folder, *sources)
    subprocess.run(tuple(map(str, compiler)), check=True, timeout=300)
    run = subprocess.run(
        (
            "java",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            *trust_options(environment[AUTHORITY], folder),
            "-cp",
            path,
            "org.junit.platform.console.ConsoleLauncher",
            "execute",
            "--disable-banner",
            f"--scan-classpath={folder}",
            f"--reports-dir={folder}",
        ),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,  # the report says what failed
        timeout=500,
    )
    report = folder / "TEST-junit-jupiter.xml"
    assert report.exists(), run.stdout
    return junit_outcomes(report.read_text(), run.stdout)


@pytest.mark.parametrize("name", JAVA.tests())
def test_java(outcomes: Outcomes, name: str) -> None:
    outcomes.check(f"{name}()")
