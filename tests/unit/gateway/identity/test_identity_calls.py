"""Who calls over gRPC, and what only processes of the setup may call; on the memory transport."""

from __future__ import annotations

import pytest

from cluster.access.authenticator import Authenticator
from cluster.access.control import AccessControl
from cluster.access.settings import AuthSettings, StaticToken
from cluster.access.tokens import TokenKey
from cluster.errors import (
    AccessDeniedError,
    DatabaseNotFoundError,
    InvalidRequestError,
    UnauthenticatedError,
)
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.identity.calls import CallAccess, only_for_setup, with_setup_secret
from cluster.gateway.identity.door import LoginEndpoint, open_identity
from cluster.gateway.identity.links import Links
from cluster.request import Caller, ClientRequest
from cluster.transport.interceptors import OutgoingCall

SECRET = "a secret of the setup 0123456789"
TOKEN = "static-token-0123"
SETTINGS = AuthSettings(is_required=True, tokens=(StaticToken(TOKEN, "aadapp=ann"),))


class Clock:
    def now_ns(self):
        return 10**18

    def monotonic(self):
        return 0.0


class NoTrees:
    def get(self, name):
        raise DatabaseNotFoundError(name)


class FakeCall:
    def __init__(self, *metadata, method="/cluster.rpc.v1.QueryService/Query"):
        self.metadata = metadata
        self.method = method


CALLS = CallAccess(
    Authenticator(SETTINGS, TokenKey(SECRET.encode()), Clock(), setup_secret=SECRET),
    AccessControl(NoTrees(), SETTINGS),
)


def test_a_call_is_a_client_request():
    call = FakeCall(
        ("authorization", f"Bearer {TOKEN}"),
        ("x-ms-client-request-id", "mine"),
        ("x-ms-app", "program"),
        ("x-ms-user", "ann"),
        ("trace-bin", b"\x00"),
    )
    expected = ClientRequest(
        Caller("aadapp=ann"),
        "mine",
        application="program",
        user="ann",
        authorization=f"Bearer {TOKEN}",
    )
    assert CALLS.request_of(call) == expected
    with pytest.raises(AccessDeniedError):
        CALLS.require(Caller("aadapp=ann"), "Table Ingestor", "Db", "T")
    CALLS.require(Caller(is_node=True), "Table Ingestor", "Db", "T")


def test_a_call_without_a_token_is_refused_and_one_with_the_secret_is_the_node():
    with pytest.raises(UnauthenticatedError):
        CALLS.request_of(FakeCall())
    assert CALLS.caller_of(FakeCall(("x-remora-setup", SECRET))).is_node


def test_without_authentication_everybody_is_anonymous():
    calls = CallAccess()
    assert calls.request_of(FakeCall()) == ClientRequest(Caller())
    calls.require(Caller(), "AllDatabasesAdmin", "Db")


@pytest.mark.parametrize(
    ("method", "given", "proceeds"),
    [
        ("/cluster.rpc.v1.ReplicationService/Follow", (), False),
        ("/cluster.rpc.v1.CoordinatorService/GetStatus", (), False),
        ("/cluster.rpc.v1.FaultService/AddFault", (), False),
        ("/cluster.rpc.v1.ReplicationService/Follow", (("x-remora-setup", SECRET),), True),
        ("/cluster.rpc.v1.ReplicationService/Follow", (("x-remora-setup", SECRET + "x"),), False),
        ("/cluster.rpc.v1.ReplicationService/Follow", (("authorization", TOKEN),), False),
        ("/cluster.rpc.v1.QueryService/Query", (), True),
        ("/grpc.health.v1.Health/Check", (), True),
    ],
)
async def test_what_only_the_setup_may_call(method, given, proceeds):
    went = []

    async def proceed():
        went.append(True)

    guard = only_for_setup(SECRET)
    if proceeds:
        await guard(FakeCall(*given, method=method), proceed)
    else:
        with pytest.raises(UnauthenticatedError):
            await guard(FakeCall(*given, method=method), proceed)
    assert bool(went) is proceeds


async def test_the_secret_is_added_to_what_a_call_carries():
    async with with_setup_secret(SECRET)(OutgoingCall("/a/B", None, (("k", "v"),))) as call:
        assert call.metadata == (("k", "v"), ("x-remora-setup", SECRET))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"other": 1}, "links.other"),
        ({"secret": 12345678}, "text as 'links.secret'"),
        ({"is_guarded": "yes"}, "links.is_guarded"),
        ({"is_guarded": True}, "without 'links.secret'"),
    ],
)
def test_a_wrong_link_is_named_without_its_secret(values, message):
    with pytest.raises(InvalidRequestError, match=message) as caught:
        Links.from_values(values)
    assert "12345678" not in str(caught.value)


def test_links_survive_the_way_to_a_process():
    links = Links(SECRET, True, "/c", "/k", "/a")
    assert Links.from_values(links.to_values()) == links
    assert SECRET not in repr(links)


class Config:
    cluster = "leader"
    auth = SETTINGS

    def __init__(self, secret):
        self.links = Links(secret)


def test_required_authentication_takes_a_secret_to_sign_with():
    with pytest.raises(InvalidRequestError, match="no secret"):
        open_identity(Config(""), NoTrees(), Clock())
    assert open_identity(Config(SECRET), NoTrees(), Clock()).authenticator.is_required


@pytest.mark.parametrize(
    ("https", "host", "expected"),
    [
        ("", "localhost:8080", "https://login.microsoftonline.com"),
        ("https://127.0.0.1:18443", "localhost:8080", "https://localhost:18443/adfs"),
        ("https://127.0.0.1:18443", "127.0.0.1:18443", "https://127.0.0.1:18443/adfs"),
        ("https://0.0.0.0:443", "kusto", "https://kusto/adfs"),
        ("https://127.0.0.1:18443", "[::1]:9", "https://[::1]:18443/adfs"),
        ("https://127.0.0.1:18443", "", "https://localhost:18443/adfs"),
        (
            "https://127.0.0.1:443",
            "mycluster.kusto.windows.net",
            "https://login.microsoftonline.com",
        ),
    ],
)
def test_where_a_client_is_sent_for_its_token(https, host, expected):
    login = LoginEndpoint()
    if https:
        login.serve_at(https)
    assert login(HttpRequest("GET", "/", headers={"host": host})) == expected
