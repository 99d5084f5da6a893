"""Real storage services for tests: Azurite (Azure Blob) and moto's server (S3), on loopback.

Azurite comes by npm into a folder of the virtual environment, once. moto is a development
dependency. Both are started here and ended by the id of their process.
"""

from __future__ import annotations

import base64
import email.utils
import fcntl
import hashlib
import hmac
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from cluster.extents.opening import azure_options

AZURITE = "azurite@3.35.0"
"""The last one that runs on the Node.js versions still in use (18 and later)."""

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("listens on http://127.0.0.1:%d" % server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


def azurite_program() -> Path:
    """Where Azurite is; installs it at first.

    Skips the test where there is no npm; in CI that is an error.
    """
    folder = Path(sys.prefix) / AZURITE
    program = folder / "node_modules/.bin/azurite-blob"
    npm = shutil.which("npm")
    if npm is None and not program.exists():
        if os.environ.get("CI"):
            raise RuntimeError("npm is missing: the tests of Azure Blob need it")
        pytest.skip("npm is missing: apt-get install npm, to test Azure Blob as well")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            command = [npm, "install", "--no-audit", "--no-fund", "--prefix", folder, AZURITE]
            subprocess.run(command, check=True, capture_output=True, timeout=170)
    return program


class Service:
    """A storage service in a process of its own."""

    def __init__(self, command: list[str], *, port: int = 0) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = port or self._wait_for_port()

    def _wait_for_port(self) -> int:
        for line in self.process.stdout:
            found = re.search(r"listens on http://127\.0\.0\.1:(\d+)", line)
            if found:
                return int(found[1])
        raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def send(self, signal: int) -> None:
        """Sends a signal to the process."""
        self.process.send_signal(signal)

    def stop(self) -> None:
        """Lets the process end by itself: Azurite then saves what it holds."""
        self.process.terminate()
        self.process.communicate(timeout=30)

    def end(self) -> None:
        """Kills the process and waits for its end."""
        self.process.kill()
        self.process.communicate()


class Azurite(Service):
    """Azure Blob with one container, ``extents``."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        program = str(azurite_program())
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
        flags = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        super().__init__([program, *options, *flags], port=0)
        self.url = "az://extents/data"
        self.options = {
            "AZURE_STORAGE_CONNECTION_STRING": f"AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{self.port}/{ACCOUNT};"
        }

    def make_container(self) -> None:
        """Makes ``extents``, with a request signed by the account's key."""
        now = email.utils.formatdate(usegmt=True)
        headers = f"x-ms-date:{now}\nx-ms-version:2021-10-04"
        text = f"PUT{chr(10) * 12}{headers}\n/{ACCOUNT}/{ACCOUNT}/extents\nrestype:container"
        key = base64.b64decode(
            azure_options(self.options["AZURE_STORAGE_CONNECTION_STRING"])["account_key"]
        )
        signature = base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{ACCOUNT}/extents?restype=container",
            method="PUT",
            data=b"",
            headers={
                "x-ms-date": now,
                "x-ms-version": "2021-10-04",
                "Authorization": f"SharedKey {ACCOUNT}:{signature}",
                "Content-Type": "",
            },
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 201


class Moto(Service):
    """S3 with one bucket, ``extents``."""

    def __init__(self) -> None:
        super().__init__([sys.executable, "-c", MOTO])
        self.url = "s3://extents/data"
        endpoint = f"http://127.0.0.1:{self.port}"
        self.options = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }
        request = urllib.request.Request(f"{endpoint}/extents", method="PUT")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200
