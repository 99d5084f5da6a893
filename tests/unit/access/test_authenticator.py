"""Who callers are: the table of the module, expiry at its limit, and nothing secret in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cluster.access.authenticator import SETUP_HEADER, Authenticator
from cluster.access.settings import (
    Application,
    AuthSettings,
    StaticToken,
    auth_from_values,
    auth_to_values,
)
from cluster.access.tokens import TOKEN_SECONDS, TokenKey
from cluster.errors import InvalidRequestError, UnauthenticatedError
from cluster.request import Caller

NOW = 1_800_000_000
SECRET = "s3cr3t-of-the-setup-0123456789"
STATIC = "static-token-0123456789"
OPTIONAL = AuthSettings(
    applications=(Application("app-1", "app-secret"),),
    tokens=(StaticToken(STATIC, "aaduser=ann@x.com", frozenset(["aadgroup=staff"])),),
)
REQUIRED = replace(OPTIONAL, is_required=True)
KEY = TokenKey(SECRET.encode())


class At:
    """A clock that stands."""

    def __init__(self, seconds=NOW):
        self.seconds = seconds

    def now_ns(self):
        return round(self.seconds * 10**9)

    def monotonic(self):
        return 0.0


def authenticator(settings=OPTIONAL, at=NOW):
    return Authenticator(settings, KEY, At(at), setup_secret=SECRET)


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def issued(at=NOW):
    return KEY.issue("aadapp=app-1;adfs", frozenset(["aadgroup=apps"]), at)


APP = Caller("aadapp=app-1;adfs", frozenset(["aadgroup=apps"]))
ANN = Caller("aaduser=ann@x.com", frozenset(["aadgroup=staff"]))
FOREIGN = TokenKey(b"another secret of 16 bytes").issue("aadapp=app-1;adfs", frozenset(), NOW)


@pytest.mark.parametrize(
    ("headers", "optional", "required"),
    [
        ({}, Caller(), None),
        ({"authorization": ""}, Caller(), None),
        (bearer(STATIC), ANN, ANN),
        ({"authorization": f"bEARER  {STATIC} "}, ANN, ANN),
        (bearer(issued()), APP, APP),
        (bearer("anything"), Caller(), None),
        (bearer(""), Caller(), None),
        (bearer("\udcff.x"), Caller(), None),
        (bearer(FOREIGN), Caller(), None),
        (bearer(issued()[:-2]), Caller(), None),
        (bearer(issued().replace(".", "..")), Caller(), None),
        (bearer("x" * 20_000), Caller(), None),
        ({"authorization": "Basic YTpi"}, Caller(), None),
        ({SETUP_HEADER: SECRET}, Caller(is_node=True), Caller(is_node=True)),
    ],
)
def test_who_sent_it(headers, optional, required):
    assert authenticator().caller_of(headers) == optional
    if required is None:
        with pytest.raises(UnauthenticatedError) as caught:
            authenticator(REQUIRED).caller_of(headers)
        assert caught.value.http_status == 401
    else:
        assert authenticator(REQUIRED).caller_of(headers) == required


@pytest.mark.parametrize("settings", [OPTIONAL, REQUIRED])
def test_a_token_is_good_until_it_expires(settings):
    token = issued()
    assert authenticator(settings, NOW + TOKEN_SECONDS - 1).caller_of(bearer(token)) == APP
    for late in (0, 1):
        with pytest.raises(UnauthenticatedError, match="expired"):
            authenticator(settings, NOW + TOKEN_SECONDS + late).caller_of(bearer(token))


def test_a_token_that_was_read_before_expires_all_the_same():
    clock = At(NOW)
    known = Authenticator(OPTIONAL, KEY, clock)
    token = issued()
    assert known.caller_of(bearer(token)) == known.caller_of(bearer(token)) == APP
    for number in range(1100):
        other = KEY.issue(f"aadapp={number}", frozenset(), NOW)
        assert known.caller_of(bearer(other)).principal == f"aadapp={number}"
    clock.seconds = NOW + TOKEN_SECONDS
    with pytest.raises(UnauthenticatedError, match="expired"):
        known.caller_of(bearer(token))


def test_the_secret_of_another_setup_is_refused_and_none_opens_nothing():
    with pytest.raises(UnauthenticatedError):
        authenticator().caller_of({SETUP_HEADER: SECRET + "x"})
    without = Authenticator(OPTIONAL, KEY, At())
    assert without.caller_of({SETUP_HEADER: ""}) == Caller()


def test_a_header_that_promises_another_algorithm_changes_nothing():
    head, body, _ = issued().split(".")
    assert authenticator().caller_of(bearer(f"{head}.{body}.")) == Caller()


def test_no_error_and_no_repr_has_a_secret():
    texts = [repr(REQUIRED), repr(REQUIRED.applications), repr(REQUIRED.tokens), repr(KEY)]
    for token in (STATIC[:-1], issued()[:-1], SECRET):
        with pytest.raises(UnauthenticatedError) as caught:
            authenticator(REQUIRED).caller_of(bearer(token))
        error = caught.value
        texts += [str(error), error.remedy, json.dumps(error.metadata), repr(error)]
    for secret in (STATIC[:-1], "app-secret", SECRET, issued()[:-1]):
        assert not any(secret in text for text in texts)


def test_settings_survive_the_way_to_the_node():
    values = json.loads(json.dumps(auth_to_values(REQUIRED)))
    assert auth_from_values(values) == REQUIRED
    assert auth_from_values({}) == AuthSettings()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "sometimes"}, "auth.mode"),
        ({"password": "hunter2"}, "auth.password"),
        ({"admins": "aadapp=x"}, "auth.admins"),
        ({"admins": ["bob"]}, "auth.admins: 'bob'"),
        ({"applications": {}}, "auth.applications: must be tables"),
        ({"applications": [{"id": "x"}]}, r"applications\[0\].secret: is missing"),
        ({"applications": [{"id": "x", "secret": 12345678}]}, r"applications\[0\].secret"),
        ({"applications": [{"id": "x", "secret": "a"}, {"id": "X", "secret": "b"}]}, "twice"),
        ({"tokens": [{"token": "hunter22", "principal": "x"}]}, r"tokens\[0\].principal"),
        ({"tokens": [{"token": "hunter22\n", "principal": "aadapp=x"}]}, r"tokens\[0\].token"),
        ({"tokens": [{"principal": "aadapp=x"}]}, r"tokens\[0\].token: is missing"),
    ],
)
def test_a_wrong_setting_is_named_without_its_secret(values, message):
    with pytest.raises(InvalidRequestError, match=message) as caught:
        auth_from_values(values)
    assert "hunter2" not in str(caught.value)
    assert "12345678" not in str(caught.value)


@pytest.mark.parametrize("length", [15, 16])
def test_a_key_has_at_least_sixteen_bytes(length):
    if length < 16:
        with pytest.raises(ValueError, match="16 bytes"):
            TokenKey(b"x" * length)
    else:
        assert TokenKey(b"x" * length).read("a.b.c") is None
