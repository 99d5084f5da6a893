"""``GET /v1/rest/auth/metadata``: where clients get their tokens. Pure.

Node, Go and Java ask before their first request even without credentials; Python wants all six keys
of ``AzureAD``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.gateway.http.messages import HttpRequest

PUBLIC_LOGIN: Final = "https://login.microsoftonline.com"
"""The login endpoint of the public cloud, which is what clients take without an answer."""

_DSTS: Final = {
    "CloudEndpointSuffix": "windows.net",
    "DstsRealm": "realm://dsts.core.windows.net",
    "DstsInstance": "prod-dsts.dsts.core.windows.net",
    "KustoDnsHostName": "kusto.windows.net",
    "ServiceName": "kusto",
}


def auth_metadata_routes(login_endpoint: Callable[[HttpRequest], str]) -> tuple[Route, ...]:
    """The route. ``login_endpoint`` gives the authority for a client that asked like this."""

    async def answer(request: HttpRequest) -> HttpResponse:
        values = {"AzureAD": _azure_ad(login_endpoint(request)), "dSTS": _DSTS}
        return HttpResponse(body=json.dumps(values).encode())

    return (Route("GET", "/v1/rest/auth/metadata", answer),)


def public_login(request: HttpRequest) -> str:
    """The login endpoint of a node that has none of its own."""
    del request
    return PUBLIC_LOGIN


def _azure_ad(login_endpoint: str) -> dict[str, object]:
    return {
        "LoginEndpoint": login_endpoint,
        "LoginMfaRequired": False,
        "KustoClientAppId": "db662dc1-0cfe-4e1c-a843-19a68e65be58",
        "KustoClientRedirectUri": "https://microsoft/kustoclient",
        "KustoServiceResourceId": "https://kusto.kusto.windows.net",
        "FirstPartyAuthorityUrl": (
            "https://login.microsoftonline.com/f8cdef31-a31e-4b4a-93e4-5f571e91255a"
        ),
    }
