"""``GET /v1/rest/ping``, ``/`` and ``/{database}``: is anybody there? Pure.

Azure redirects the last two to its web page. Every SDK refuses redirects, so here they say in plain
text where one is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.http.routes import Route

if TYPE_CHECKING:
    from cluster.gateway.http.messages import HttpRequest

_TEXT: Final = "text/plain; charset=utf-8"


def ping_routes(cluster: str) -> tuple[Route, ...]:
    """The routes of a node of ``cluster``."""

    async def ping(request: HttpRequest) -> HttpResponse:
        del request
        return HttpResponse(body=b"OK\n", content_type=_TEXT)

    async def root(request: HttpRequest) -> HttpResponse:
        database = request.values.get("database")
        what = f"cluster '{cluster}'" if database is None else f"cluster '{cluster}', {database}"
        text = (
            f"Remora, {what}\n"
            f"Connect a Kusto client to {request.origin}{request.path.rstrip('/')}\n"
            f"Commands: POST {request.origin}/v1/rest/mgmt"
            ' {"db": "NetDefaultDB", "csl": ".show databases"}\n'
        )
        return HttpResponse(body=text.encode(), content_type=_TEXT)

    return (
        Route("GET", "/v1/rest/ping", ping),
        Route("GET", "/", root),
        Route("GET", "/{database}", root),
    )
