"""Every error as the Python SDK raises it: the SDK unmodified, its connection led to the door."""

from __future__ import annotations

import pytest
import requests
import trio
from azure.kusto.data import KustoClient
from azure.kusto.data.exceptions import KustoApiError, KustoError, KustoThrottlingError

from cluster.errors import RemoraError, RpcError, SemanticError, Status, error_classes
from cluster.gateway.answering import Answering
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.http.routes import Routes
from cluster.gateway.rest.app import RestDoor, ServiceFacts
from cluster.gateway.rest.headers import ActivityIds, anybody
from cluster.gateway.rest.hosts import Hosts
from cluster.gateway.rest.query import RestQueries

ERRORS = [kind for kind in error_classes() if kind is not RpcError]
IN_ITS_OWN_WORDS = {404: "does not exist", 401: "401. Missing adequate access rights."}
"""For these statuses the SDK says something itself and does not look at the body."""


class Clock:
    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def monotonic(self) -> float:
        return 0.0


class Failing:
    """Databases, engine and commands at once, that raise what the test wants."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def pin(self, database, text=None):
        raise self.error

    async def execute(self, database, text, request):
        await trio.lowlevel.checkpoint()
        raise self.error


class Wire(requests.adapters.BaseAdapter):
    """Takes what the SDK sends to the door, and brings back the response."""

    def __init__(self, door: RestDoor) -> None:
        super().__init__()
        self.door = door
        self.statuses: list[int] = []

    def send(self, request, **options):
        path = request.path_url
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers.setdefault("host", "localhost")
        asked = HttpRequest(request.method, path, headers=headers, body=request.body)
        answered = trio.run(self.door.answer, asked)
        response = requests.Response()
        response.status_code = answered.status
        response.headers.update(answered.headers)
        response.headers["Content-Type"] = answered.content_type
        response._content = answered.body
        response.request = request
        response.url = request.url
        self.statuses.append(answered.status)
        return response

    def close(self) -> None:
        """Nothing is open."""


def client_of(error: Exception) -> tuple[KustoClient, Wire]:
    node = Failing(error)
    queries = RestQueries(Answering(node, node), node, authenticate=anybody, clock=Clock())
    door = RestDoor(
        Routes(queries.routes()),
        hosts=Hosts(),
        ids=ActivityIds(lambda bits: 0),
        clock=Clock(),
        facts=ServiceFacts("leader", "leader/0", 7),
    )
    client = KustoClient("http://localhost:1")
    wire = Wire(door)
    client._session.mount("http://", wire)
    return client, wire


@pytest.mark.fidelity(
    "kusto-data-client-errors.md", "Each error has its code, class and permanence"
)
@pytest.mark.parametrize("text", ["T", ".show tables"])
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_raised_by_the_sdk_as_what_it_is(kind, text):
    client, wire = client_of(kind("what was wrong"))
    with pytest.raises(KustoError) as raised:
        client.execute("Sales", text)
    assert wire.statuses == [kind.http_status]
    if kind.http_status == 429:
        assert isinstance(raised.value, KustoThrottlingError)
    elif kind.http_status in IN_ITS_OWN_WORDS:
        assert IN_ITS_OWN_WORDS[kind.http_status] in str(raised.value)
    else:
        assert isinstance(raised.value, KustoApiError)
        error = raised.value.get_api_error()
        assert (error.code, error.type) == (kind.code, kind.kusto_type)
        assert error.permanent is kind.permanent
        assert "what was wrong" in error.description
        assert error.context["activityId"] == "00000000-0000-4000-8000-000000000001"
        assert raised.value.is_semantic_error() is issubclass(kind, SemanticError)


def test_a_call_that_failed_elsewhere_is_an_error_like_any_other():
    client, wire = client_of(RpcError(Status.UNKNOWN, "the other node is odd"))
    with pytest.raises(KustoApiError, match="the other node is odd"):
        client.execute("Sales", "T")
    assert wire.statuses == [520]


def test_a_defect_is_an_error_object_that_does_not_tell_of_itself(caplog):
    client, wire = client_of(ZeroDivisionError("secret"))
    with pytest.raises(KustoApiError) as raised:
        client.execute("Sales", "T")
    assert wire.statuses == [520]
    assert "secret" not in str(raised.value)
    assert "ZeroDivisionError" in caplog.text


def test_refusals_of_the_endpoint_itself():
    client, wire = client_of(RemoraError("not reached"))
    with pytest.raises(KustoApiError, match="cannot be served from the query endpoint"):
        client.execute_query("Sales", ".drop table T")
    assert wire.statuses == [400]
