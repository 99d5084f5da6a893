"""What every process of a setup does alike: read one line, serve, say where, end with a code."""

from __future__ import annotations

import json
import logging
import os
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from cluster.errors import RemoraError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from types import ModuleType

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1

Config = TypeVar("Config")

logger = logging.getLogger("remora")


def announce(ready_fd: int, address: str, http_url: str = "", https_url: str = "") -> None:
    """Tells the launcher where this process serves: one JSON line, then the end of the pipe.

    The URLs are empty where there is no HTTP, or none with TLS.
    """
    line = {"grpc": address, "http": http_url, "https": https_url, "pid": os.getpid()}
    os.write(ready_fd, json.dumps(line).encode() + b"\n")
    if ready_fd > sys.stderr.fileno():
        os.close(ready_fd)


class NoPandas(MetaPathFinder):
    """Makes pandas look as if it were not installed.

    Nothing here uses it, but pyarrow imports it with the first value it makes, if it can: 0.4 s in
    which a node does nothing else, and 35 MiB.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> None:
        """Raises ModuleNotFoundError for pandas; all other modules are for other finders."""
        del path, target
        if fullname == "pandas":
            raise ModuleNotFoundError("this process does without pandas", name=fullname)


def run_process(parse: Callable[[str], Config], serve: Callable[[Config], Awaitable[None]]) -> int:
    """Reads the configuration from standard input, serves, and returns the exit code.

    A typed error or one of the operating system is logged with its remedy; any other is a defect
    and leaves with its traceback.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    sys.meta_path.insert(0, NoPandas())
    code = EXIT_STOPPED
    try:
        trio.run(serve, parse(sys.stdin.readline()))
    except* (RemoraError, OSError) as group:
        for error in _leaves(group):
            logger.critical("%s %s", error, getattr(error, "remedy", ""))
        code = EXIT_FAILED
    return code


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
