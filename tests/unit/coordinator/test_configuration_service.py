"""Attachment configurations over the service: every word of them, from both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from coordinator_setup import Setup, until

from cluster.catalog.following import ModificationKind
from cluster.coordinator.reports import DatabaseReport
from cluster.errors import ConflictError, EntityNotFoundError, InvalidRequestError
from cluster.replication.authority import Origin
from cluster.rpc.v1 import coordinator_pb2 as pb
from cluster.rpc.v1 import types_pb2

if TYPE_CHECKING:
    from trio.testing import MockClock

EVERY_LIST = types_pb2.TableLevelSharing(
    tables_to_include=["a"],
    tables_to_exclude=["b"],
    external_tables_to_include=["c"],
    external_tables_to_exclude=["d"],
    materialized_views_to_include=["e"],
    materialized_views_to_exclude=["f"],
    functions_to_include=["g"],
    functions_to_exclude=["h"],
)


@pytest.fixture
async def setup(nursery: trio.Nursery) -> Setup:
    return Setup(nursery)


def configuration(**changes: object) -> pb.AttachmentConfiguration:
    values = {
        "follower_cluster": "follower",
        "name": "Mine",
        "leader_cluster": "leader",
        "database": "db",
        "database_name_override": "Copy",
        "database_name_prefix": "p-",
        "sharing": EVERY_LIST,
        "default_principals_modification_kind": "Replace",
        "origin": "datashare",
    }
    return pb.AttachmentConfiguration(**{**values, **changes})


async def put(setup: Setup, **changes: object) -> pb.PutAttachmentConfigurationResponse:
    request = pb.PutAttachmentConfigurationRequest(configuration=configuration(**changes))
    return await setup.call("PutAttachmentConfiguration", request)


async def listed(setup: Setup, follower: str) -> list[str]:
    request = pb.ListAttachmentConfigurationsRequest(follower_cluster=follower)
    answer = await setup.call("ListAttachmentConfigurations", request)
    return [status.configuration.name for status in answer.configurations]


async def test_a_configuration_is_put_got_listed_and_deleted(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    leader, follower = await setup.node("leader"), await setup.node("follower")
    made = await put(setup)
    assert made.certainty == pb.CERTAINTY_IMMEDIATE
    kept = made.status.configuration
    assert kept == configuration(
        database="Db", default_principals_modification_kind="replace", origin="DataShare"
    )
    with trio.fail_after(1):
        await until(follower.open)
        await until(lambda: bool(leader.authority.view.followed))
    for grant in (*follower.authority.view.following, *leader.authority.view.followed):
        assert grant.follower_database == "p-Copy"
        assert [names for _, names in grant.sharing.lists()] == [(n,) for n in "abcdefgh"]
        assert grant.principals_kind is ModificationKind.REPLACE
        assert grant.origin is Origin.DATA_SHARE
        assert grant.configuration == "Mine"
    got = await setup.call(
        "GetAttachmentConfiguration",
        pb.GetAttachmentConfigurationRequest(follower_cluster="follower", name="mine"),
    )
    assert got.status == made.status
    assert await listed(setup, "follower") == ["Mine"]
    assert await listed(setup, "leader") == []
    followers = await setup.call(
        "ListFollowerDatabases", pb.ListFollowerDatabasesRequest(leader_cluster="leader")
    )
    assert list(followers.configurations) == [made.status]
    status = await setup.call("GetStatus", pb.GetStatusRequest())
    assert list(status.configurations) == [made.status]
    assert [cluster.location for cluster in status.clusters] == ["local", "local"]
    done = await setup.call(
        "DeleteAttachmentConfiguration",
        pb.DeleteAttachmentConfigurationRequest(follower_cluster="follower", name="MINE"),
    )
    assert done.certainty == pb.CERTAINTY_CONFIRMED
    assert not follower.open()
    assert await listed(setup, "follower") == []


async def test_put_means_all_of_it_and_attach_what_is_set(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    await setup.node("leader")
    await setup.node("follower")
    await put(setup, origin="", default_principals_modification_kind="none")
    request = pb.AttachRequest(
        leader_cluster="leader", database="Db", follower_cluster="follower", configuration="mine"
    )
    unchanged = await setup.call("Attach", request)
    assert unchanged.grant.sharing == EVERY_LIST
    assert unchanged.status.configuration.default_principals_modification_kind == "none"
    assert unchanged.certainty == pb.CERTAINTY_IMMEDIATE
    request.sharing.CopyFrom(types_pb2.TableLevelSharing())
    changed = await setup.call("Attach", request)
    assert changed.grant.sharing == types_pb2.TableLevelSharing()
    assert changed.certainty == pb.CERTAINTY_CONFIRMED
    await put(setup, origin="")
    whole = await put(setup, sharing=None, default_principals_modification_kind="", origin="Direct")
    assert whole.status.configuration.sharing == types_pb2.TableLevelSharing()
    assert whole.status.configuration.default_principals_modification_kind == "union"
    with pytest.raises(ConflictError, match="database name prefix"):
        await put(setup, origin="", database_name_prefix="")


async def test_a_leader_detaches_its_followers(autojump_clock: MockClock, setup: Setup) -> None:
    _, follower = await setup.pair()

    async def detach(leader: str) -> pb.DetachFollowerDatabasesResponse:
        request = pb.DetachFollowerDatabasesRequest(
            leader_cluster=leader, follower_cluster="follower", configuration="leader.Db"
        )
        return await setup.call("DetachFollowerDatabases", request)

    with pytest.raises(InvalidRequestError):
        await detach("")
    with pytest.raises(EntityNotFoundError):
        await detach("follower")
    assert follower.open()
    assert (await detach("leader")).certainty == pb.CERTAINTY_CONFIRMED
    assert not follower.open()


async def test_a_database_made_later_is_followed_as_soon_as_it_is_reported(
    autojump_clock: MockClock, setup: Setup
) -> None:
    await setup.start()
    leader, follower = await setup.node("leader"), await setup.node("follower")
    answer = await setup.call(
        "Attach",
        pb.AttachRequest(leader_cluster="leader", database="*", follower_cluster="follower"),
    )
    assert not answer.HasField("grant")
    assert [grant.database for grant in answer.status.attached] == ["Db"]
    leader.databases.append(DatabaseReport("Later"))
    leader.link.poke()
    with trio.fail_after(0.5):
        await until(lambda: follower.open(database="Later"))


async def test_two_attachments_that_meet_on_their_way_are_answered_once_each(
    autojump_clock: MockClock, setup: Setup
) -> None:
    """A follower that does not confirm holds up a change of sharing until its lease is over."""
    _, follower = await setup.pair()
    follower.stuck = True
    answers: list[int] = []

    async def share(*tables: str) -> None:
        request = pb.AttachRequest(
            leader_cluster="leader",
            database="Db",
            follower_cluster="follower",
            sharing=types_pb2.TableLevelSharing(tables_to_include=tables),
        )
        answers.append((await setup.call("Attach", request)).certainty)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(share, "A")
        await trio.sleep(0.1)
        nursery.start_soon(share, "B")
        await trio.sleep(0.1)
        assert answers == []
        setup.cut(follower)
    assert answers == [pb.CERTAINTY_LEASE_EXPIRED] * 2
    (grant,) = (await setup.call("GetStatus", pb.GetStatusRequest())).grants
    assert list(grant.sharing.tables_to_include) == ["B"]


@pytest.mark.parametrize(
    "method",
    [
        "GetAttachmentConfiguration",
        "ListAttachmentConfigurations",
        "DeleteAttachmentConfiguration",
    ],
)
async def test_what_is_not_there_is_not_found(
    autojump_clock: MockClock, setup: Setup, method: str
) -> None:
    await setup.start()
    request = getattr(pb, f"{method}Request")(follower_cluster="nobody")
    with pytest.raises(EntityNotFoundError):
        await setup.call(method, request)
    with pytest.raises(EntityNotFoundError):
        await setup.call(
            "ListFollowerDatabases", pb.ListFollowerDatabasesRequest(leader_cluster="nobody")
        )
    await setup.node("follower")
    if method != "ListAttachmentConfigurations":
        with pytest.raises(EntityNotFoundError, match="no attachment configuration 'x'"):
            await setup.call(
                method, getattr(pb, f"{method}Request")(follower_cluster="follower", name="x")
            )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "has no name"),
        ({"default_principals_modification_kind": "some"}, "known are none, union, replace"),
        ({"origin": "Other"}, "known are Direct, DataShare"),
        ({"location": "mars"}, "names region 'mars'"),
    ],
)
async def test_words_that_mean_nothing_are_refused(
    autojump_clock: MockClock, setup: Setup, changes: dict[str, str], words: str
) -> None:
    await setup.start()
    await setup.node("leader")
    await setup.node("follower")
    with pytest.raises(InvalidRequestError, match=words):
        await put(setup, **changes)
