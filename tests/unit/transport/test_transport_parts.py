"""The small parts of the transports: metadata, methods, window, hub, malloc, selection."""

from __future__ import annotations

import subprocess
import sys
import threading

import grpc
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cluster.limits import LIMITS, Limits
from cluster.transport.core import GrpcTransport
from cluster.transport.fallback import FallbackTransport
from cluster.transport.hub import Hub
from cluster.transport.metadata import checked_metadata
from cluster.transport.methods import MethodTable
from cluster.transport.options import channel_options, server_options
from cluster.transport.select import transport_from_environment
from cluster.transport.window import Window

# ---- metadata


def test_metadata_that_is_right():
    pairs = [("a", "x y~!"), ("a", ""), ("k.0_-", "v"), ("raw-bin", b"\0\xff"), ("e-bin", b"")]
    assert checked_metadata(pairs) == tuple(pairs)
    assert checked_metadata(None) == ()
    assert checked_metadata(iter(pairs)) == tuple(pairs)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Upper", "x"),
        ("", "x"),
        ("sp ace", "x"),
        (":path", "x"),
        ("grpc-timeout", "1S"),
        ("grpc-status-details-bin", b""),
        ("a-bin", "text"),
        ("a", b"bytes"),
        ("a", "ü"),
        ("a", "line\nbreak"),
        ("a", " blank"),
        ("a", "blank "),
        ("a", 5),
    ],
)
def test_metadata_that_is_wrong(key, value):
    with pytest.raises(ValueError, match="metadata"):
        checked_metadata([("fine", "x"), (key, value)])


# ---- methods


def handler_of(name):
    async def handler(*_):
        await trio.lowlevel.checkpoint()

    handler.__name__ = name
    return handler


def test_registered_methods_win_over_generic_ones():
    table = MethodTable()
    first, second, third = (handler_of(name) for name in ("first", "second", "third"))
    table.add_generic(
        [
            grpc.method_handlers_generic_handler(
                "a.A",
                {
                    "X": grpc.unary_unary_rpc_method_handler(first),
                    "Y": grpc.stream_stream_rpc_method_handler(second),
                },
            )
        ]
    )
    table.add_registered("a.A", {"X": grpc.unary_stream_rpc_method_handler(third)})
    assert table.find("/a.A/X").handler is third
    assert table.find("/a.A/X").response_streaming
    found = table.find("/a.A/Y")
    assert found.handler is second
    assert (found.request_streaming, found.response_streaming) == (True, True)
    assert table.find("/a.A/Z") is None
    assert table.services() == ("a.A",)


def test_a_handler_without_function_is_refused():
    with pytest.raises(ValueError, match="no function"):
        MethodTable().add_registered("a.A", {"X": grpc.unary_unary_rpc_method_handler(None)})


# ---- window


@pytest.mark.parametrize("counted", ["messages", "bytes"])
async def test_window_limit(counted, autojump_clock):
    if counted == "messages":
        window = Window(Limits(stream_window_messages=10))
        payloads = [b""] * 11
    else:
        window = Window(Limits(stream_window_bytes=10))
        payloads = [b"x"] * 11
    for count, payload in enumerate(payloads, 1):
        window.reserve(len(payload))
        window.arrive(payload)
        assert window.is_full == (count >= 10)  # 9: room, 10: full, 11: full
    with trio.move_on_after(1) as scope:
        await window.wait_for_room()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(window.wait_for_room)
        await wait_all_tasks_blocked()
        assert await window.recv_many() == payloads
    assert not window.is_full


async def test_window_frees_its_senders_at_half(autojump_clock):
    room = []
    window = Window(Limits(stream_window_messages=4), on_room=lambda: room.append(1))
    for _ in range(4):
        window.reserve(0)
    window.release(1, 0)
    assert room == []
    window.release(1, 0)
    assert room == [1]


async def test_window_end_and_fail_let_arrived_messages_be_received():
    for end in (Window.end, Window.fail):
        window = Window(LIMITS)
        window.reserve(1)
        window.arrive(b"1")
        end(window)
        assert await window.recv_many() == [b"1"]
        assert await window.recv_many() == []
        assert window.is_over == (end is Window.fail)


async def test_window_abandoned_by_its_sender_does_not_end(autojump_clock):
    window = Window(Limits(stream_window_messages=1))
    window.reserve(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(window.wait_for_room)
        await wait_all_tasks_blocked()
        window.abandon()
    with trio.move_on_after(1) as scope:
        await window.recv_many()
    assert scope.cancelled_caught


# ---- hub


async def test_hub_runs_everything_in_order_in_the_trio_thread():
    hub = Hub()
    got = []
    done = trio.Event()
    here = threading.get_ident()

    def post_all():
        for number in range(5000):
            hub.post(lambda number: got.append((number, threading.get_ident())), number)
        hub.post(done.set)

    thread = threading.Thread(target=post_all)
    thread.start()
    await done.wait()
    thread.join()
    assert got == [(number, here) for number in range(5000)]


def test_hub_drops_what_is_posted_after_the_run():
    async def make():
        await trio.lowlevel.checkpoint()
        return Hub()

    hub = trio.run(make)
    hub.post(pytest.fail, "must not run")
    hub.post(pytest.fail, "must not run")


# ---- the rest


def test_malloc_is_tuned_in_a_process_of_its_own():
    program = "from cluster.transport.malloc import tune_malloc; print(tune_malloc())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    expected = "True" if sys.platform == "linux" else "False"
    assert done.stdout.strip() == expected


def test_selection_by_environment():
    assert isinstance(transport_from_environment({}), GrpcTransport)
    assert isinstance(transport_from_environment({"REMORA_TRANSPORT": ""}), GrpcTransport)
    limits = Limits(grpc_message_bytes=5)
    chosen = transport_from_environment({"REMORA_TRANSPORT": "fallback"}, limits=limits)
    assert isinstance(chosen, FallbackTransport)
    assert chosen.limits is limits
    with pytest.raises(ValueError, match="core, fallback, not 'memory'"):
        transport_from_environment({"REMORA_TRANSPORT": "memory"})


def test_options_come_from_limits():
    limits = Limits(
        grpc_message_bytes=7,
        grpc_metadata_bytes=8,
        grpc_calls_per_connection=9,
        grpc_keepalive_seconds=2.5,
        grpc_keepalive_timeout_seconds=1.5,
    )
    for options in (dict(server_options(limits)), dict(channel_options(limits, None))):
        assert options["grpc.max_receive_message_length"] == 7
        assert options["grpc.max_metadata_size"] == 8
        assert options["grpc.keepalive_time_ms"] == 2500
        assert options["grpc.keepalive_timeout_ms"] == 1500
    assert dict(server_options(limits))["grpc.max_concurrent_streams"] == 9
    assert dict(server_options(limits))["grpc.so_reuseport"] == 0
