"""Which handler a path and method reach."""

from __future__ import annotations

import pytest

from cluster.errors import MethodNotAllowedError, RouteNotFoundError
from cluster.gateway.http.messages import HttpRequest, HttpResponse
from cluster.gateway.http.routes import Route, Routes


def named(name):
    async def handler(request):
        return HttpResponse(body=f"{name} {dict(request.values)}".encode())

    return handler


ROUTES = Routes(
    [
        Route("GET", "/", named("root")),
        Route("GET", "/{database}", named("database")),
        Route("GET", "/v1/rest/ping", named("ping")),
        Route("POST", "/v1/rest/ingest/{database}/{table}", named("ingest"), body_bytes=7),
        Route("PUT", "/store/{container}/{path*}", named("put")),
        Route("GET", "/store/{container}/{path*}", named("get")),
        Route("GET", "/store/{container}", named("list")),
        Route("POST", "/store/queue/messages", named("queue")),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("GET", "/", "root {}"),
        ("GET", "/Sales", "database {'database': 'Sales'}"),
        ("GET", "/Sales db.é", "database {'database': 'Sales db.é'}"),
        ("GET", "/v1/rest/ping", "ping {}"),
        ("HEAD", "/v1/rest/ping", "ping {}"),
        ("POST", "/v1/rest/ingest/d/t", "ingest {'database': 'd', 'table': 't'}"),
        ("PUT", "/store/c/a", "put {'container': 'c', 'path': 'a'}"),
        ("PUT", "/store/c/a/b//c", "put {'container': 'c', 'path': 'a/b//c'}"),
        ("GET", "/store/c", "list {'container': 'c'}"),
        ("POST", "/store/queue/messages", "queue {}"),
    ],
)
async def test_a_path_reaches_its_handler_with_its_values(method, path, answer):
    assert (await ROUTES.answer(HttpRequest(method, path))).body.decode() == answer


@pytest.mark.parametrize(
    "path",
    [
        "/v1/rest",
        "/v1/rest/ping/",
        "/v1/rest/ingest/d",
        "/v1/rest/ingest//t",
        "/V1/rest/ping",
        "//",
    ],
)
async def test_what_fits_no_pattern_is_not_found(path):
    with pytest.raises(RouteNotFoundError, match=f"there is nothing at {path}"):
        await ROUTES.answer(HttpRequest("GET", path))


async def test_a_long_path_is_not_repeated_whole():
    with pytest.raises(RouteNotFoundError) as caught:
        await ROUTES.answer(HttpRequest("GET", "/a/" + "x" * 10_000))
    assert len(str(caught.value)) < 400


async def test_another_method_is_refused_with_those_that_are_taken():
    with pytest.raises(MethodNotAllowedError) as caught:
        await ROUTES.answer(HttpRequest("DELETE", "/store/c/a"))
    assert caught.value.metadata == {"allow": "GET, HEAD, OPTIONS, PUT"}
    assert caught.value.http_status == 405


async def test_options_names_the_methods():
    response = await ROUTES.answer(HttpRequest("OPTIONS", "/v1/rest/ingest/d/t"))
    assert (response.status, response.headers) == (200, {"Allow": "OPTIONS, POST"})


def test_a_route_may_take_more_or_less_of_a_body_than_others():
    assert ROUTES.body_bytes("POST", "/v1/rest/ingest/d/t", 100) == 7
    assert ROUTES.body_bytes("GET", "/v1/rest/ping", 100) == 100
    assert ROUTES.body_bytes("POST", "/v1/nothing/here", 100) == 100


def test_two_handlers_for_one_thing_are_a_mistake():
    with pytest.raises(ValueError, match="GET /a has two handlers"):
        Routes([Route("GET", "/a", named("one")), Route("GET", "/a", named("two"))])
    with pytest.raises(ValueError, match="starts with a slash"):
        Routes([Route("GET", "a", named("one"))])
