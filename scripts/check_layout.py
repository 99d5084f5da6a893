"""Rules of the house that no linter knows: sizes, pure modules, names of hosts, places of errors.

Prints one line for each violation, ``file:line: what``, and fails if there is any.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_LINES = 400
FUNCTION_LINES = 70

ERRORS = Path("cluster/errors.py")
"""Where all errors that callers see are: each has a reason that no other has."""

TABLES = frozenset({Path("cluster/errors.py"), Path("cluster/limits.py")})
"""Files that are one long table; there is nothing in them to take apart."""

PURE_PACKAGES = (
    "cluster.catalog",
    "cluster.commands",
    "cluster.conformance",
    "cluster.coordinator",
    "cluster.extents",
    "cluster.faults",
    "cluster.ingest",
    "cluster.query",
    "cluster.replication",
    "cluster.rowstore",
    "follower",
)
"""Packages whose modules are pure unless their name says that they do I/O."""

IO_NAMES = (
    frozenset(
        {"__main__", "disk", "driver", "link", "main", "process", "service", "store", "worker"}
    )
    | frozenset(
        {
            "copies",
            "files",
            "inflight",
            "opening",
            "reading",
            "staging",
            "stores",
            "switching",
            "ticket",
            "writer",
        }
    )
    | frozenset(
        {
            "doors_grpc",
            "doors_rest",
            "playing",
            "recording",
            "runner",
            "settling",
        }
    )
)
"""Last part of a module's name that says: this does I/O, or is what tasks wait for (the others).

See DESIGN, section 6.
"""

# In pieces, so that this file does not break its own rule.
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
)


def files(root: Path) -> list[Path]:
    """Every file that git knows or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := root / name).is_file()]


def module_name(path: Path) -> str:
    """``cluster/catalog/model.py`` is ``cluster.catalog.model``."""
    return ".".join(path.with_suffix("").parts)


def is_pure(module: str) -> bool:
    """True if the module's place and name promise that it does no I/O."""
    name = module.rpartition(".")[2]
    return name not in IO_NAMES and any(module.startswith(f"{pure}.") for pure in PURE_PACKAGES)


def size_violations(path: Path, text: str) -> Iterator[str]:
    """Files and functions that do not fit a reader's head."""
    lines = text.count("\n")
    if lines > FILE_LINES and path not in TABLES:
        yield f"{path}:{lines}: {lines} lines, the limit is {FILE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                limit = f"the limit is {FUNCTION_LINES}"
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, {limit}"


def host_violations(path: Path, text: str) -> Iterator[str]:
    """Package registries: which one is used is the business of whoever installs."""
    for number, line in enumerate(text.splitlines(), 1):
        for host in HOSTS:
            if host in line:
                yield f"{path}:{number}: names a package registry's host"


def known_errors(text: str) -> frozenset[str]:
    """Names of the errors that callers see."""
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    return frozenset(node.name for node in classes if node.name.endswith("Error"))


def error_violations(path: Path, text: str, known: frozenset[str]) -> Iterator[str]:
    """Errors that callers see, outside the one file where reasons are compared."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
            if bases & known:
                yield f"{path}:{node.lineno}: {node.name} belongs into {ERRORS}"


def purity_violations(modules: set[str], listed: set[str]) -> Iterator[str]:
    """New modules must be listed as pure in pyproject.toml, or be named for what they do."""
    for module in sorted(modules):
        path = module.replace(".", "/") + ".py"
        if is_pure(module) and module not in listed:
            yield (
                f"{path}:1: list {module} in pyproject.toml under the import contract 'pure', or "
                f"name it for the I/O it does: {', '.join(sorted(IO_NAMES))}"
            )
    for module in sorted(listed - modules):
        yield f"pyproject.toml:1: the import contract 'pure' lists {module}, which does not exist"


def pure_modules(root: Path) -> set[str]:
    """The modules that pyproject.toml lists as pure."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    return set(next(item for item in contracts if item["id"] == "pure")["source_modules"])


def main() -> int:
    """Checks the clone this script is in."""
    root = Path(__file__).resolve().parent.parent
    modules: set[str] = set()
    violations: list[str] = []
    known = known_errors((root / ERRORS).read_text())
    for path in files(root):
        short = path.relative_to(root)
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # not text
        violations.extend(host_violations(short, text))
        if path.suffix == ".py":
            violations.extend(size_violations(short, text))
            if short.parts[0] in ("cluster", "follower") and short.name != "__init__.py":
                modules.add(module_name(short))
                if short != ERRORS:
                    violations.extend(error_violations(short, text, known))
    violations.extend(purity_violations(modules, pure_modules(root)))
    sys.stdout.writelines(f"{line}\n" for line in violations)
    return 1 if violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
