"""Everything a node answers over HTTP: one handler in front of all routes.

It gives each request its activity id, checks where it was sent to and by which page, passes it to
its route, turns errors into error objects, and sets the headers that every response carries. A
handler behind it deals with none of that.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NoReturn

from cluster.errors import BodyTooLargeError, InternalError, PayloadTooLargeError, RemoraError
from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.http.routes import Routes
from cluster.gateway.rest.auth_metadata import auth_metadata_routes, public_login
from cluster.gateway.rest.errors import ErrorContext, error_response
from cluster.gateway.rest.headers import (
    ACTIVITY_ID,
    REQUEST_ID,
    ActivityIds,
    everybody,
    request_id,
)
from cluster.gateway.rest.ingest import ingest_routes
from cluster.gateway.rest.ping import ping_routes
from cluster.queued.addresses import storage_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cluster.clock import Clock
    from cluster.gateway.http.messages import HttpRequest
    from cluster.gateway.http.routes import Route
    from cluster.gateway.rest.headers import Authorize
    from cluster.gateway.rest.hosts import Hosts
    from cluster.gateway.rest.ingest import Pipeline, Sources
    from cluster.limits import Limits

logger = logging.getLogger(__name__)

_NO_VALUES: Final[Mapping[str, str]] = MappingProxyType({})
_STREAMING: Final = "/v1/rest/ingest/"
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What error objects say of the process: its cluster, node and process id."""

    cluster: str
    node: str
    process_id: int


class RestDoor:
    """The handler of the HTTP server. ``answer`` raises nothing."""

    def __init__(
        self,
        routes: Routes,
        *,
        hosts: Hosts,
        ids: ActivityIds,
        clock: Clock,
        facts: ServiceFacts,
        login_endpoint: Callable[[HttpRequest], str] = public_login,
    ) -> None:
        self.routes = routes
        self._hosts = hosts
        self._ids = ids
        self._clock = clock
        self._facts = facts
        self._login_endpoint = login_endpoint

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answers one request, whatever becomes of it."""
        path = storage_path(request.host, request.path)
        found = self.routes.find(path)
        request = replace(
            request,
            path=path,
            activity_id=self._ids.next(),
            values=_NO_VALUES if found is None else found.values,
        )
        cors = None
        try:
            self._hosts.check(request)
            if "origin" in request.headers:
                cors = self._hosts.cors(request)
            if request.body_over_bytes:
                _refuse_body(request)
            if cors and "access-control-request-method" in request.headers:
                # A preflight asks for leave before there is anything to authenticate.
                response = HttpResponse(content_type="")
            else:
                response = await self.routes.dispatch(request, found)
        except RemoraError as error:
            response = self._refusal(request, error)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            defect = InternalError("the request failed by a defect of this node")
            response = self._refusal(request, defect)
        headers = {
            REQUEST_ID: request_id(request),
            ACTIVITY_ID: request.activity_id,
            **response.headers,
        }
        if cors:
            headers.update(cors)
        return HttpResponse(response.status, response.body, response.content_type, headers)

    def _refusal(self, request: HttpRequest, error: RemoraError) -> HttpResponse:
        context = ErrorContext(
            service=self._facts.cluster,
            machine=self._facts.node,
            process_id=self._facts.process_id,
            now_ns=self._clock.now_ns(),
            client_request_id=request_id(request),
            activity_id=request.activity_id,
        )
        is_streaming = request.path.startswith(_STREAMING)
        response = error_response(error, context, is_streaming=is_streaming)
        if response.status != _UNAUTHORIZED:
            return response
        # Where to get a token, as the service says it.
        challenge = f'Bearer authorization_uri="{self._login_endpoint(request)}"'
        return replace(response, headers={**response.headers, "WWW-Authenticate": challenge})


def rest_routes(
    *,
    cluster: str,
    pipeline: Pipeline,
    sources: Sources,
    limits: Limits,
    authorize: Authorize = everybody,
    login_endpoint: Callable[[HttpRequest], str] = public_login,
    more: Iterable[Route] = (),
) -> Routes:
    """All routes of a node of ``cluster``; ``more`` are those of other doors."""
    return Routes(
        (
            *ping_routes(cluster),
            *auth_metadata_routes(login_endpoint),
            *ingest_routes(pipeline, sources, authorize=authorize, limits=limits),
            *more,
        )
    )


def _refuse_body(request: HttpRequest) -> NoReturn:
    limit = str(request.body_over_bytes)
    # Managed streaming clients know this code, and queue such data instead.
    kind = PayloadTooLargeError if request.path.startswith(_STREAMING) else BodyTooLargeError
    raise kind(f"the body has more than {limit} bytes", metadata={"limit_value": limit})
