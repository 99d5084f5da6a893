"""Runs a program while the clusters of the SDKs' tests are up; for SDKs no suite here can run.

    python tests/sdk/with_clusters.py PROGRAM ARGUMENT...

The program finds them as tests do, in variables (see ``sdk_setup.py``). The exit code is its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from sdk_setup import TRUST, SdkClusters, following, variables


def main(command: list[str]) -> int:
    """Starts the clusters, runs ``command``, and ends them; gives its exit code."""
    if not command:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as home:
        work = Path(home) / "work"
        work.mkdir()
        session = SdkClusters(Path(home) / "clusters")
        try:
            with following(session) as pair:
                found = variables(session, pair, work)
                # .NET and Go take the authorities that they trust from this variable.
                environment = {**found, "SSL_CERT_FILE": found[TRUST]}
                return subprocess.run(command, env=environment, check=False).returncode
        finally:
            session.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
