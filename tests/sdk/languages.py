"""Runs tests of other languages, in a process of their own, with the packages they name."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from sdk_setup import (
    AUTHORITY,
    LEADER_HTTPS,
    Outcomes,
    Suite,
    cache,
    junit_outcomes,
    need,
    npm_packages,
)

if TYPE_CHECKING:
    from pathlib import Path

NODE: Final = Suite("node", files="*.test.mjs", test=r'^test\("(.+?)"', comment="//")
JAVA: Final = Suite("java", files="*Test.java", test=r"^    void (\w+)\(\)", comment="//")

STORE_PASSWORD: Final = "changeit"


def node_packages() -> Path:
    """The folder ``node_modules`` of Node's tests."""
    return npm_packages("Node", NODE.folder)


def run_node(environment: dict[str, str], folder: Path, *, names: str = "") -> Outcomes:
    """What becomes of Node's tests, or of those whose names match the expression ``names``.

    ``folder`` is empty, and theirs.
    """
    packages = node_packages()
    # Imports are looked up from where a file is, so the files go to where the packages are.
    for file in NODE.folder.glob("*.mjs"):
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(packages)
    report = folder / "report.xml"
    run = subprocess.run(
        (
            "node",
            "--test",
            "--test-concurrency=2",
            *((f"--test-name-pattern={names}",) if names else ()),
            "--test-reporter=junit",
            f"--test-reporter-destination={report}",
            *sorted(file.name for file in folder.glob(NODE.files)),
        ),
        cwd=folder,
        # Node's variables for a private authority and for who makes tokens.
        env={
            **environment,
            "NODE_EXTRA_CA_CERTS": environment[AUTHORITY],
            "AZURE_AUTHORITY_HOST": environment[LEADER_HTTPS],
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,  # the report says what failed
        timeout=500,
    )
    return junit_outcomes(report.read_text(), run.stdout)


def java_jars() -> Path:
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


def run_java(environment: dict[str, str], folder: Path, *methods: str) -> Outcomes:
    """What becomes of Java's tests, or of ``methods`` like ``IngestTest#queued``.

    ``folder`` is empty, and theirs. Names of the outcomes are like ``queued()``.
    """
    jars = java_jars()
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
            *(f"--select-method={method}" for method in methods),
            *(() if methods else (f"--scan-classpath={folder}",)),
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
