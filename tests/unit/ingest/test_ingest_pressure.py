"""The pipeline under pressure: throttling, bounds, failures, stopping."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from ingest_world import ingest_world, people
from trio.testing import wait_all_tasks_blocked

from cluster.errors import (
    InternalError,
    PayloadTooLargeError,
    RowStoreReadOnlyError,
    ThrottledError,
    UnavailableError,
)
from cluster.ingest.decode import TableDecoder
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from cluster.ingest.request import DataFormat


@pytest.mark.fidelity(
    "ingest-data-streaming.md",
    "So many streaming requests are served at once as six times the cores",
)
@pytest.mark.parametrize("cores", [1, 2])
async def test_unary_requests_are_throttled_by_core(cores: int) -> None:
    limits = replace(LIMITS, ingest_requests_per_core=3)
    async with ingest_world(limits=limits, cores=cores, committing=False) as world:
        async with trio.open_nursery() as nursery:
            for _ in range(3 * cores - 1):
                nursery.start_soon(world.pipeline.ingest, people("Ada,36"))
            await wait_all_tasks_blocked()
            nursery.start_soon(world.pipeline.ingest, people("Alan,41"))  # the last that fits
            await wait_all_tasks_blocked()
            with pytest.raises(ThrottledError, match="ingest_requests_per_core") as caught:
                await world.pipeline.ingest(people("Emmy,53"))
            assert caught.value.retry_after_seconds is not None
            assert not caught.value.permanent
            world.pipeline.submit(people("streams are bounded by their window,1"))
            await world.start_committing()
        await world.pipeline.ingest(people("Emmy,53"))
        assert len(world.rows()) == 3 * cores + 2
        statistics = world.pipeline.statistics()
        assert statistics.requests_throttled == 1
        assert (statistics.unary_in_flight, statistics.bytes_in_flight) == (0, 0)


@pytest.mark.parametrize(("spare", "throttled"), [(-1, True), (0, False), (1, False)])
async def test_bytes_in_flight_are_bounded(spare: int, throttled: bool) -> None:
    request = people("Ada,36")
    limits = replace(LIMITS, ingest_inflight_bytes=2 * len(request.payload) + spare)
    async with (
        ingest_world(limits=limits, committing=False) as world,
        trio.open_nursery() as nursery,
    ):
        world.pipeline.submit(request)
        await wait_all_tasks_blocked()
        assert world.pipeline.in_flight.has_room(len(request.payload)) is not throttled
        if throttled:
            with pytest.raises(ThrottledError, match="ingest_inflight_bytes"):
                await world.pipeline.ingest(request)
        else:
            nursery.start_soon(world.pipeline.ingest, request)
            await wait_all_tasks_blocked()
        nursery.start_soon(world.pipeline.in_flight.wait_for_room, len(request.payload))
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == (1 if throttled else 2)
        await world.start_committing()
    assert world.pipeline.statistics().bytes_in_flight == 0


async def test_one_request_is_let_in_however_large() -> None:
    limits = replace(LIMITS, ingest_inflight_bytes=1)
    async with ingest_world(limits=limits) as world:
        assert (await world.pipeline.ingest(people("Ada,36"))).row_count == 1


async def test_a_group_too_large_for_a_record_is_staged_request_by_request() -> None:
    limits = replace(LIMITS, row_store_record_bytes=700)
    texts = [f"{i:0160},{i}" for i in range(3)]  # about 500 bytes a record, more than 700 in two
    too_large = f"{'x' * 700},9"
    async with ingest_world(limits=limits) as world:
        requests = [people(text) for text in (texts[0], too_large, *texts[1:])]
        tickets = [world.pipeline.submit(request) for request in requests]
        with pytest.raises(PayloadTooLargeError, match="700"):
            await tickets[1].wait()
        for place in (0, 2, 3):
            await tickets[place].wait()
        assert [age for _, age in world.rows()] == [0, 1, 2]
        assert world.pipeline.statistics().groups == 1
        assert world.row_store.statistics().total("committed_records") == 3
        with pytest.raises(PayloadTooLargeError, match="700"):
            await world.pipeline.ingest(people(too_large))


async def test_a_failed_sync_is_never_acknowledged() -> None:
    async with ingest_world() as world:
        world.disk.fail("datasync")
        tickets = [world.pipeline.submit(people(f"Ada,{i}", source_id="s")) for i in range(2)]
        for ticket in tickets:
            with pytest.raises(RowStoreReadOnlyError):
                await ticket.wait()
        with pytest.raises(RowStoreReadOnlyError):
            await world.pipeline.ingest(people("Ada,36"))
        assert world.rows() == []


async def test_a_defect_in_decoding_costs_one_request_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = TableDecoder.decode_group

    def broken(decoder: TableDecoder, data_format: DataFormat, payloads: list[bytes]) -> object:
        if any(b"poison" in payload for payload in payloads):
            raise ZeroDivisionError
        return original(decoder, data_format, payloads)

    monkeypatch.setattr(TableDecoder, "decode_group", broken)
    async with ingest_world() as world:
        texts = ("Ada,36", "poison,1", "Alan,41")
        tickets = [world.pipeline.submit(people(text)) for text in texts]
        await tickets[0].wait()
        with pytest.raises(InternalError):
            await tickets[1].wait()
        await tickets[2].wait()
        assert len(world.rows()) == 2
        assert "ZeroDivisionError" in caplog.text


async def test_stopping_refuses_what_is_undecided() -> None:
    async with ingest_world(committing=False, running=False) as world:
        async with trio.open_nursery() as nursery:
            await nursery.start(world.pipeline.run)
            staged = world.pipeline.submit(people("Ada,36"))
            await wait_all_tasks_blocked()
            waiting = world.pipeline.submit(people("Alan,41"))
            nursery.cancel_scope.cancel()
        with pytest.raises(UnavailableError, match="may have been stored"):
            await staged.wait()
        with pytest.raises(UnavailableError, match="nothing was stored"):
            await waiting.wait()
        with pytest.raises(UnavailableError, match="stopping"):
            await world.pipeline.ingest(people("Emmy,53"))
        assert world.pipeline.statistics().bytes_in_flight == 0
