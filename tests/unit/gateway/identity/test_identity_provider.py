"""Every path SDKs ask for tokens, what they get, and what they are refused."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlencode

import pytest

from cluster.access.authenticator import Authenticator
from cluster.access.settings import Application, AuthSettings
from cluster.access.tokens import TOKEN_SECONDS, TokenKey
from cluster.errors import MethodNotAllowedError
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.http.routes import Routes
from cluster.gateway.identity.provider import IdentityProvider, identity_routes

NOW = 1_800_000_000
APPS = (Application("app-1", "s3cret+&=", groups=frozenset(["aadgroup=g"])),)
OPTIONAL = AuthSettings(applications=APPS)
REQUIRED = AuthSettings(is_required=True, applications=APPS)
HOST = "localhost:18443"
DISCOVERIES = [
    "/adfs/.well-known/openid-configuration",
    "/adfs/v2.0/.well-known/openid-configuration",
    "/adfs/contoso/.well-known/openid-configuration",
    "/adfs/contoso/v2.0/.well-known/openid-configuration",
    "/contoso/.well-known/openid-configuration",
    "/contoso/v2.0/.well-known/openid-configuration",
]
TOKENS = [
    "/adfs/oauth2/token",
    "/adfs/oauth2/v2.0/token",
    "/adfs/contoso/oauth2/token",
    "/adfs/contoso/oauth2/v2.0/token",
    "/contoso/oauth2/token",
    "/contoso/oauth2/v2.0/token",
]


class Clock:
    def now_ns(self):
        return NOW * 10**9

    def monotonic(self):
        return 0.0


KEY = TokenKey(b"a secret of sixteen bytes")


async def ask(method, path, *, settings=OPTIONAL, form=None, query=None, headers=None, body=None):
    routes = Routes(identity_routes(IdentityProvider(settings, KEY, Clock())))
    if body is None:
        body = urlencode(form).encode() if form else b""
    found = routes.find(path)
    request = HttpRequest(
        method,
        path,
        query or {},
        {"host": HOST, **(headers or {})},
        body,
        scheme="https",
        values=found.values,
        activity_id="trace",
    )
    response = await routes.dispatch(request, found)
    return response.status, json.loads(response.body)


def form(**given):
    return {"grant_type": "client_credentials", "client_id": "app-1", "client_secret": "s3cret+&=",
            "scope": "https://kusto.kusto.windows.net/.default", **given}  # fmt: skip


def bearer_of(values, settings=REQUIRED):
    authenticator = Authenticator(settings, KEY, Clock())
    return authenticator.caller_of({"authorization": f"Bearer {values['access_token']}"})


@pytest.mark.parametrize("path", DISCOVERIES)
async def test_discovery_names_a_token_endpoint_that_is_served(path):
    status, values = await ask("GET", path)
    assert status == 200
    assert all(
        values[name].startswith(f"https://{HOST}/")
        for name in ("issuer", "token_endpoint", "authorization_endpoint", "jwks_uri",
                     "device_authorization_endpoint", "end_session_endpoint", "userinfo_endpoint")
    )  # fmt: skip
    assert f"https://{HOST}{path}".startswith(values["issuer"] + "/")
    endpoint = values["token_endpoint"].removeprefix(f"https://{HOST}")
    status, token = await ask("POST", endpoint, form=form())
    assert status == 200
    assert bearer_of(token).principal == "aadapp=app-1;adfs"
    status, keys = await ask("GET", values["jwks_uri"].removeprefix(f"https://{HOST}"))
    assert (status, keys) == (200, {"keys": []})


@pytest.mark.parametrize("path", TOKENS)
async def test_a_token_of_every_endpoint(path):
    status, values = await ask("POST", path, form=form(resource="https://x"), settings=REQUIRED)
    assert status == 200
    assert values["token_type"] == "Bearer"
    assert values["expires_in"] == values["ext_expires_in"] == TOKEN_SECONDS
    assert (values["not_before"], values["expires_on"]) == (str(NOW), str(NOW + TOKEN_SECONDS))
    assert values["resource"] == "https://x"
    caller = bearer_of(values)
    assert (caller.principal, caller.groups) == ("aadapp=app-1;adfs", frozenset(["aadgroup=g"]))


async def test_secrets_may_come_by_basic_authentication():
    given = base64.b64encode(b"app-1:s3cret%2B%26%3D").decode()
    status, values = await ask(
        "POST",
        "/adfs/oauth2/token",
        form={"grant_type": "client_credentials"},
        headers={"authorization": f"Basic {given}"},
    )
    assert status == 200
    assert bearer_of(values).principal == "aadapp=app-1;adfs"


@pytest.mark.parametrize(
    ("given", "settings", "status", "error", "number"),
    [
        (form(client_secret="wrong"), OPTIONAL, 401, "invalid_client", 7000215),
        (form(client_secret=""), OPTIONAL, 401, "invalid_client", 7000215),
        (form(client_secret="s3cret"), REQUIRED, 401, "invalid_client", 7000215),
        (form(client_id="other"), REQUIRED, 400, "unauthorized_client", 700016),
        (form(client_id=""), OPTIONAL, 400, "invalid_request", 900144),
        (form(client_id="a'b"), OPTIONAL, 400, "invalid_request", 900144),
        (form(client_id="a" * 257), OPTIONAL, 400, "invalid_request", 900144),
        (form(grant_type="password"), OPTIONAL, 400, "unsupported_grant_type", 70003),
        ({}, OPTIONAL, 400, "unsupported_grant_type", 70003),
    ],
)
async def test_refusals_have_the_words_of_the_directory(given, settings, status, error, number):
    found, values = await ask("POST", "/adfs/oauth2/token", form=given, settings=settings)
    assert found == status
    assert values["error"] == error
    assert values["error_codes"] == [number]
    assert values["error_description"].startswith(f"AADSTS{number}: ")
    assert values["trace_id"] == "trace"
    text = json.dumps(values)
    assert "s3cret" not in text
    assert "wrong" not in text


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&".join(b"a=b" for _ in range(65)), b"{}"])
async def test_what_is_no_form_is_refused(body):
    status, values = await ask("POST", "/adfs/oauth2/token", body=body)
    assert (status, values["error"]) == (400, "unsupported_grant_type")


async def test_without_required_authentication_any_application_gets_a_token():
    given = form(client_id="Stranger", client_secret="anything")
    _, values = await ask("POST", "/adfs/72f988bf/oauth2/token", form=given)
    assert bearer_of(values).principal == "aadapp=Stranger;72f988bf"


async def test_instances_are_whatever_is_asked_about():
    endpoint = "https://login.microsoftonline.com/t/oauth2/v2.0/authorize"
    status, values = await ask(
        "GET", "/common/discovery/instance", query={"authorization_endpoint": endpoint}
    )
    assert status == 200
    assert values["tenant_discovery_endpoint"] == (
        "https://login.microsoftonline.com/t/v2.0/.well-known/openid-configuration"
    )
    assert HOST in {alias for item in values["metadata"] for alias in item["aliases"]}


IDENTITIES = AuthSettings(
    is_required=True, applications=APPS, identity_header="hdr-secret", identities=("mi-1",)
)


@pytest.mark.parametrize(
    ("settings", "header", "client_id", "principal"),
    [
        (OPTIONAL, "x", "", "aadapp=managed-identity;adfs"),
        (OPTIONAL, "x", "mine", "aadapp=mine;adfs"),
        (OPTIONAL, "x", "app-1", None),
        (OPTIONAL, "", "", None),
        (REQUIRED, "x", "", None),
        (IDENTITIES, "hdr-secret", "", "aadapp=managed-identity;adfs"),
        (IDENTITIES, "hdr-secret", "MI-1", "aadapp=MI-1;adfs"),
        (IDENTITIES, "hdr-secret", "mi-2", None),
        (IDENTITIES, "hdr-secret", "app-1", None),
        (IDENTITIES, "hdr-secre", "", None),
    ],
)
async def test_managed_identities(settings, header, client_id, principal):
    query = {"resource": "https://kusto.kusto.windows.net", "api-version": "2019-08-01"}
    if client_id:
        query["client_id"] = client_id
    headers = {"x-identity-header": header} if header else {}
    status, values = await ask("GET", "/msi/token", settings=settings, query=query, headers=headers)
    assert "hdr-secret" not in json.dumps(values)
    if principal is None:
        assert status in (400, 401)
        assert "access_token" not in values
    else:
        assert (status, bearer_of(values).principal) == (200, principal)
        assert values["resource"] == query["resource"]


async def test_tokens_are_not_given_to_a_get():
    with pytest.raises(MethodNotAllowedError):
        await ask("GET", "/adfs/oauth2/token")
