"""A REST door with stand-ins behind it."""

from __future__ import annotations

import json

from cluster.gateway.http.messages import HttpRequest, HttpResponse
from cluster.gateway.http.routes import Route
from cluster.gateway.rest.app import RestDoor, ServiceFacts, rest_routes
from cluster.gateway.rest.headers import ActivityIds
from cluster.gateway.rest.hosts import Hosts
from cluster.limits import Limits

LIMITS = Limits(ingest_request_bytes=50, ingest_wire_bytes=100)


class FixedClock:
    def now_ns(self):
        return 1_795_250_000_123_456_700

    def monotonic(self):
        return 0.0


class World:
    """A door with a pipeline and sources that say what they were asked."""

    def __init__(self):
        self.payloads = []
        self.uris = []
        self.error = None
        routes = rest_routes(
            cluster="leader",
            pipeline=self,
            sources=self,
            limits=LIMITS,
            more=[Route("GET", "/test/{what}", self.test)],
        )
        self.door = RestDoor(
            routes,
            hosts=Hosts(),
            ids=ActivityIds(lambda bits: 1 << (bits - 1)),
            clock=FixedClock(),
            facts=ServiceFacts("leader", "leader/0", 7),
        )

    async def ingest(self, payload):
        self.payloads.append(payload)
        if self.error is not None:
            raise self.error

    async def read(self, uri):
        self.uris.append(uri)
        return b"from afar"

    async def test(self, request):
        if request.values["what"] == "defect":
            raise KeyError("a secret")
        if request.values["what"] == "error":
            raise self.error
        return HttpResponse(headers={"X-Own": "1"})

    async def ask(self, path, body=b"", method="POST", query=None, over=0, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HttpRequest(
            method,
            path,
            query=query or {},
            headers={"host": "localhost:1", **named},
            body=body,
            body_over_bytes=over,
        )
        return await self.door.answer(request)


def error_of(response):
    return json.loads(response.body)["error"]
