"""Stands for a coordinator or a node: ``python fake_process.py FOLDER ID``.

What it does is said by ``FOLDER/modes.json``, ``{id: mode}``. It keeps the configuration it got in
``config.json`` of its data folder.
"""

import json
import os
import pathlib
import signal
import socket
import sys
import time

folder, process = pathlib.Path(sys.argv[1]), sys.argv[2]
try:
    mode = json.loads((folder / "modes.json").read_text()).get(process, "serve")
except FileNotFoundError:
    mode = "serve"
line = sys.stdin.readline()
if not line:
    sys.exit(9)
config = json.loads(line)
(pathlib.Path(config["data"]) / "config.json").write_text(line)
if mode == "die":
    sys.stderr.write("".join(f"line {number}\n" for number in range(30)))
    sys.exit(3)
if mode == "mute":
    os.close(config["ready_fd"])
if mode == "babble":
    os.write(config["ready_fd"], b"hello\n")
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode in ("serve", "stubborn"):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", config["grpc_port"]))
    server.listen()
    ready = {"grpc": f"127.0.0.1:{server.getsockname()[1]}", "pid": os.getpid()}
    os.write(config["ready_fd"], json.dumps(ready).encode() + b"\n")
    os.close(config["ready_fd"])
while True:
    time.sleep(60)  # until a signal ends it; nobody waits for this
