"""Runs a command on a network of its own, where the service's names lead to a node of ours.

Code of Microsoft's documents names hosts like ``mycluster.kusto.windows.net``. In a network
namespace whose ``/etc/hosts`` says that they are this machine, port 443 is free to be the node's:
nothing of the code is changed, and nothing outside can be reached::

    with Transparent(port, names) as network:
        subprocess.run(network.command("python", "snippet.py"), ...)

Run as a program it is the inside: it makes the namespace's end, and becomes the command.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

_PORT: Final = 443
_PORTS: Final = 2
_PIECE_BYTES: Final = 1 << 16
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1


class Transparent:
    """The outside: hands connections inside to ports 443 and ``port`` to ``port`` here."""

    def __init__(self, port: int, names: Sequence[str]) -> None:
        self._port = port
        self._names = tuple(names)
        self._folder = tempfile.TemporaryDirectory()
        self._path = str(Path(self._folder.name) / "listeners")
        self._gate = socket.socket(socket.AF_UNIX)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.connections = 0

    def command(self, *command: str) -> tuple[str, ...]:
        """What runs ``command`` inside."""
        unshare = ("unshare", "--map-root-user", "--mount", "--net")
        names, ports = ",".join(self._names), f"{_PORT},{self._port}"
        inside = (sys.executable, "-P", __file__, self._path, names, ports)
        return (*unshare, *inside, *command)

    def __enter__(self) -> Self:
        self._gate.bind(self._path)
        self._gate.listen()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.close()
        self._thread.join()
        self._gate.close()
        self._stopped.close()
        self._folder.cleanup()

    def _serve(self) -> None:
        """Takes the listeners of insides, and connections to them."""
        listeners: list[socket.socket] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self._gate, selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._stopped:
                        for listener in listeners:
                            listener.close()
                        return
                    connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                    if key.fileobj is self._gate:
                        with connection:
                            for descriptor in socket.recv_fds(connection, 1, _PORTS)[1]:
                                listeners.append(socket.socket(fileno=descriptor))
                                selector.register(listeners[-1], selectors.EVENT_READ)
                            connection.sendall(b"!")
                    else:
                        self.connections += 1
                        self._join(connection)

    def _join(self, inner: socket.socket) -> None:
        outer = socket.create_connection(("127.0.0.1", self._port))

        def pump(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(_PIECE_BYTES):
                    sink.sendall(data)
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        def both() -> None:
            back = threading.Thread(target=pump, args=(outer, inner), daemon=True)
            back.start()
            pump(inner, outer)
            back.join()
            inner.close()
            outer.close()

        threading.Thread(target=both, daemon=True).start()


def is_possible() -> bool:
    """Whether this machine lets us make namespaces."""
    try:
        command = ("unshare", "--map-root-user", "--mount", "--net", "true")
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def inside(path: str, names: str, ports: str, *command: str) -> None:
    """Brings the loopback up, names it, opens ports for the outside, becomes ``command``."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(any_socket, _GET_FLAGS, request))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", flags | _UP))
    hosts = Path(path).with_name("hosts")
    hosts.write_text(f"127.0.0.1 localhost {' '.join(names.split(','))}\n")
    subprocess.run(("mount", "--bind", str(hosts), "/etc/hosts"), check=True)
    opened = [socket.create_server(("127.0.0.1", int(port))) for port in ports.split(",")]
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(path)
        socket.send_fds(gate, [b"."], [listener.fileno() for listener in opened])
        gate.recv(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    inside(*sys.argv[1:])
