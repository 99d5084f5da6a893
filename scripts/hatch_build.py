"""Build hook: generates the gRPC stubs from proto/ into cluster/rpc/v1/.

Run as a script (``scripts/gen-proto``) it does the same in a checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script in an environment without hatchling
    BuildHookInterface = object  # type: ignore[assignment,misc]


def generate_stubs(root: Path) -> list[Path]:
    """Writes messages, type stubs and services for every proto file.

    Raises RuntimeError if protoc refuses a file.
    """
    sources = sorted((root / "proto").rglob("*.proto"))
    target = root / "cluster" / "rpc" / "v1"
    target.mkdir(parents=True, exist_ok=True)
    outputs = [f"--{kind}_out={root}" for kind in ("python", "mypy", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root / 'proto'}", *outputs]
    # protoc looks its mypy plugin up on PATH, where an unactivated environment is not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [*command, *map(str, sources)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    if done.returncode:
        raise RuntimeError(f"protoc failed:\n{done.stderr}")
    (target / "__init__.py").write_text('"""Generated from proto/; do not edit."""\n')
    return sorted(target.iterdir())


class Hook(BuildHookInterface):
    """Makes what is not in git."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before every wheel, sdist and editable install."""
        generate_stubs(Path(self.root))
        build_data["artifacts"].append("cluster/rpc/v1/*")


if __name__ == "__main__":
    for path in generate_stubs(Path(__file__).resolve().parent.parent):
        print(path)
