"""The tests in C# are not run here: they are shipped for where .NET is (``csharp/run.sh``)."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from sdk_setup import HERE


@pytest.mark.skipif(shutil.which("dotnet") is not None, reason="there is .NET: run csharp/run.sh")
def test_without_dotnet_its_script_says_so() -> None:
    done = subprocess.run(
        (str(HERE / "csharp" / "run.sh"),),
        env={**os.environ, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "NOT TESTED: the SDKs of C# need .NET 8 (the command dotnet), not on this machine.\n"
    )
