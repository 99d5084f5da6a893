"""The translator process: ``python -m cluster.query.worker``. Started by ``process.py`` only.

Translation is a process of its own because a hostile query can hold the interpreter for many
seconds and make hundreds of megabytes of SQL. This one may be killed at any moment; it bounds its
own address space, and its processor time for each question, should nobody be left to kill it.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import msgspec

from cluster.errors import RemoraError
from cluster.limits import LIMITS
from cluster.query.messages import HEADER, Answer, Hello, Question, encode, refusal_of
from cluster.query.translate import translate


def main(address_space_bytes: int) -> None:
    """Answers questions until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if hasattr(os, "sched_setaffinity"):  # the node keeps itself to one; see cluster.processors
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the node to handle
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, prints to the log
    answers.write(encode(Hello(_resident_bytes())))
    answers.flush()
    decoder = msgspec.msgpack.Decoder(Question)
    while (body := _read_frame(sys.stdin.buffer)) is not None:
        answers.write(encode(_answer(decoder.decode(body))))
        answers.flush()


def _answer(question: Question) -> Answer:
    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = math.ceil(used.ru_utime + used.ru_stime + question.cpu_seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))
    try:
        translation = translate(
            question.query,
            limits=replace(
                LIMITS,
                query_sql_bytes=question.sql_bytes,
                string_value_bytes=question.string_bytes,
                query_operators=question.operators,
                query_tables=question.tables,
                query_partitions=question.partitions,
            ),
        )
    except RemoraError as error:
        return Answer(_resident_bytes(), refusal=refusal_of(error))
    return Answer(_resident_bytes(), translation=translation)


def _read_frame(stream: BinaryIO) -> bytes | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    body = stream.read(length)
    return body if len(body) == length else None


def _resident_bytes() -> int:
    """The most memory this process has had resident, in bytes.

    Not ``getrusage``: what it calls the maximum counts the process this one was forked from.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
