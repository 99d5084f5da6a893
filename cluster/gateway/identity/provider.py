"""Where SDKs get tokens: a stand-in for Microsoft Entra ID, and for the managed identity endpoint.

SDKs take an authority for one of AD FS when the first part of its path is ``adfs``, and then ask no
server of Microsoft whether it exists; so ``/adfs`` is the login endpoint that nodes name
(``wire-contract`` 1.4). The same is served under other tenants for clients that were told not to
ask, or whose names are resolved to loopback. Pure: values in, values out.

There is one directory: whatever tenant a path names, an application is the one configured. Where
authentication is optional, an application that is not configured gets a token with any secret.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote_plus

from cluster.access.principals import application
from cluster.access.settings import DEFAULT_TENANT
from cluster.access.tokens import AUDIENCE, TOKEN_SECONDS
from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.access.settings import AuthSettings
    from cluster.access.tokens import TokenKey
    from cluster.clock import Clock
    from cluster.gateway.http.messages import HttpRequest

MANAGED_IDENTITY: Final = "managed-identity"
"""The application that asks for a token of the managed identity and names none."""
MSI_PATH: Final = "/msi/token"

_BODY_BYTES: Final = 64 * 1024
_FIELDS: Final = 64
_ID: Final = re.compile(r"[\w.@:/-]{1,256}", re.ASCII)
_WELL_KNOWN: Final = ".well-known/openid-configuration"
_PUBLIC_HOSTS: Final = (
    "login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net",
)  # fmt: skip
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class IdentityProvider:
    """Issues tokens to applications, and says where."""

    def __init__(self, settings: AuthSettings, key: TokenKey, clock: Clock) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock

    async def discover(self, request: HttpRequest) -> HttpResponse:
        """``.../.well-known/openid-configuration``: below the path that was asked."""
        base = request.path[: request.path.index("/" + _WELL_KNOWN)]
        authority = f"https://{request.host}{base.removesuffix('/v2.0')}"
        version = "/v2.0" if base.endswith("/v2.0") else ""
        values = {
            "issuer": f"https://{request.host}{base}",
            "authorization_endpoint": f"{authority}/oauth2{version}/authorize",
            "token_endpoint": f"{authority}/oauth2{version}/token",
            "device_authorization_endpoint": f"{authority}/oauth2{version}/devicecode",
            "jwks_uri": f"{authority}/discovery{version}/keys",
            "end_session_endpoint": f"{authority}/oauth2{version}/logout",
            "userinfo_endpoint": f"{authority}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "response_types_supported": ["code", "token"],
            "grant_types_supported": ["client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["HS256"],
            "scopes_supported": ["openid"],
        }
        return _json(values)

    async def instance(self, request: HttpRequest) -> HttpResponse:
        """``/common/discovery/instance``: every host asked about is an authority."""
        endpoint = request.query.get("authorization_endpoint", "")
        base = endpoint.partition("/oauth2/")[0] or f"https://{request.host}/{DEFAULT_TENANT}"
        values = {
            "tenant_discovery_endpoint": f"{base}/v2.0/{_WELL_KNOWN}",
            "api-version": "1.1",
            "metadata": [
                {
                    "preferred_network": _PUBLIC_HOSTS[0],
                    "preferred_cache": _PUBLIC_HOSTS[1],
                    "aliases": list(_PUBLIC_HOSTS),
                },
                {
                    "preferred_network": request.host,
                    "preferred_cache": request.host,
                    "aliases": [request.host],
                },
            ],
        }
        return _json(values)

    async def keys(self, request: HttpRequest) -> HttpResponse:
        """The public keys of tokens: none, as tokens are for this service alone."""
        del request
        return _json({"keys": []})

    async def token(self, request: HttpRequest) -> HttpResponse:
        """The token endpoint, of either version: ``client_credentials`` with a secret."""
        form = _form(request)
        grant = form.get("grant_type", "")
        if grant != "client_credentials":
            return self._refusal(
                request, 400, "unsupported_grant_type", 70003,
                "The app requested an unsupported grant type; client_credentials is served here.",
            )  # fmt: skip
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if not client_id:
            client_id, secret = _basic(request.headers.get("authorization", ""))
        if not _ID.fullmatch(client_id):
            return self._refusal(
                request, 400, "invalid_request", 900144,
                "The request body must contain the parameter 'client_id', an application's id.",
            )  # fmt: skip
        known = self._settings.application(client_id)
        if known is None and self._settings.is_required:
            return self._refusal(
                request, 400, "unauthorized_client", 700016,
                f"Application with identifier '{client_id}' was not found in the directory: add it "
                "to [[auth.applications]] of the setup.",
            )  # fmt: skip
        if not secret or (
            known is not None and not hmac.compare_digest(_bytes(secret), _bytes(known.secret))
        ):
            return self._refusal(
                request, 401, "invalid_client", 7000215,
                f"Invalid client secret provided for application '{client_id}'.",
            )  # fmt: skip
        if known is not None:
            return _json(self._issued(known.principal, known.groups, form), _NO_STORE)
        tenant = request.values.get("tenant", DEFAULT_TENANT)
        tenant = tenant if _ID.fullmatch(tenant) else DEFAULT_TENANT
        return _json(self._issued(application(client_id, tenant), frozenset(), form), _NO_STORE)

    async def managed_identity(self, request: HttpRequest) -> HttpResponse:
        """The endpoint that ``IDENTITY_ENDPOINT`` names on App Service."""
        given = request.headers.get("x-identity-header", "")
        expected = self._settings.identity_header
        if not given or (expected and not hmac.compare_digest(_bytes(given), _bytes(expected))):
            return _json({"statusCode": 401, "message": "X-IDENTITY-HEADER is not the one."}, 401)
        client_id = request.query.get("client_id", "")
        if self._settings.is_required and not expected:
            text = "The setup names no identity_header in its [auth] table."
            return _json({"statusCode": 401, "message": text}, 401)
        ids = {item.lower() for item in self._settings.identities}
        is_known = client_id.lower() in ids or not client_id
        if not is_known and (
            self._settings.is_required or self._settings.application(client_id) is not None
        ):
            text = "No such identity is assigned: add it to 'identities' of the [auth] table."
            return _json({"statusCode": 400, "message": text}, 400)
        client_id = client_id or MANAGED_IDENTITY
        if not _ID.fullmatch(client_id):
            return _json({"statusCode": 400, "message": "client_id is not an id."}, 400)
        principal = application(client_id, DEFAULT_TENANT)
        values = self._issued(principal, frozenset(), request.query)
        return _json({**values, "client_id": client_id}, _NO_STORE)

    def _issued(
        self, principal: str, groups: frozenset[str], asked: Mapping[str, str]
    ) -> dict[str, Any]:
        now = self._clock.now_ns() // 10**9
        return {
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "ext_expires_in": TOKEN_SECONDS,
            "expires_on": str(now + TOKEN_SECONDS),
            "not_before": str(now),
            "resource": asked.get("resource", AUDIENCE),
            "access_token": self._key.issue(principal, groups, now),
        }

    def _refusal(
        self, request: HttpRequest, status: int, error: str, number: int, text: str
    ) -> HttpResponse:
        """An error as Entra ID words them; MSAL shows the description."""
        at = datetime.fromtimestamp(self._clock.now_ns() // 10**9, UTC)
        when = f"{at:%Y-%m-%d %H:%M:%SZ}"
        correlation = request.headers.get("client-request-id", request.activity_id)[:64]
        values = {
            "error": error,
            "error_description": (
                f"AADSTS{number}: {text} Trace ID: {request.activity_id} "
                f"Correlation ID: {correlation} Timestamp: {when}"
            ),
            "error_codes": [number],
            "timestamp": when,
            "trace_id": request.activity_id,
            "correlation_id": correlation,
            "error_uri": f"https://{request.host}/error?code={number}",
        }
        return _json(values, status)


def identity_routes(provider: IdentityProvider) -> tuple[Route, ...]:
    """Every path that SDKs ask (``wire-contract`` 1.4, 1.5)."""
    discover = [
        Route("GET", f"{base}/{_WELL_KNOWN}", provider.discover)
        for authority in _AUTHORITIES
        for base in (authority, f"{authority}/v2.0")
    ]
    token = [
        Route("POST", f"{authority}/oauth2{version}/token", provider.token, _BODY_BYTES)
        for authority in _AUTHORITIES
        for version in ("", "/v2.0")
    ]
    keys = [
        Route("GET", f"{authority}/discovery{version}/keys", provider.keys)
        for authority in _AUTHORITIES
        for version in ("", "/v2.0")
    ]
    return (
        *discover,
        *token,
        *keys,
        Route("GET", "/common/discovery/instance", provider.instance),
        Route("GET", MSI_PATH, provider.managed_identity),
    )


_AUTHORITIES: Final = ("/adfs", "/adfs/{tenant}", "/{tenant}")


def _form(request: HttpRequest) -> dict[str, str]:
    """The fields of a form; of what is none, nothing."""
    try:
        text = request.body.decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError:
        return {}


def _basic(authorization: str) -> tuple[str, str]:
    """Id and secret of basic authentication, which are form-encoded inside (RFC 6749, 2.3.1)."""
    kind, _, credentials = authorization.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        client_id, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _json(values: Mapping[str, Any], extra: int | Mapping[str, str] = 200) -> HttpResponse:
    """A response with a status, or with headers."""
    body = json.dumps(values).encode()
    if isinstance(extra, int):
        return HttpResponse(status=extra, body=body)
    return HttpResponse(body=body, headers=extra)
