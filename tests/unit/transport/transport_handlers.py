"""Handlers the transport tests serve."""

from __future__ import annotations

import trio


class Probe:
    """A handler that waits for ever and says what became of it."""

    def __init__(self):
        self.started = trio.Event()
        self.cancelled = trio.Event()

    async def __call__(self, *_):
        self.started.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.set()
            raise


async def echo_one(request, call):
    return request


async def echo(stream):
    while messages := await stream.recv_many():
        for message in messages:
            await stream.send(message)


async def count_to(request, stream):
    for number in range(int(request)):
        await stream.send(b"%d" % number)


async def joined(stream):
    parts = []
    while messages := await stream.recv_many():
        parts.extend(messages)
    return b"".join(parts)
