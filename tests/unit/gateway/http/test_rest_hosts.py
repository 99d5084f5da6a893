"""Names that are served, and pages that may ask."""

from __future__ import annotations

import pytest

from cluster.errors import HostRefusedError, OriginRefusedError
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.rest.hosts import Hosts, reached_at


def request(host, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest("POST", "/", headers={"host": host, **named})


LOOPBACK = [
    "localhost", "localhost:8080", "LOCALHOST", "localhost.", "a.localhost:1",
    "127.0.0.1", "127.0.0.1:80", "127.9.9.9:1", "[::1]", "[::1]:8080",
]  # fmt: skip
OTHERS = [
    "", ":80", "kusto", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example",
    "10.0.0.1", "0.0.0.0", "[::2]", "[::1", "notlocalhost",
]  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [
        "localhost/x", "localhost?x", "localhost#@evil.example", "evil.example:80@localhost",
        "localhost:port", "localhost:", "localhost:123456", "localhost x", 'localhost:1"<>',
        "localhost\\x", "[::1]x", "local\xe9", "[::1%25x]",
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused_as_answers_have_addresses_made_of_it(host):
    for allowed in ((), ("*",)):
        with pytest.raises(HostRefusedError):
            Hosts(allowed).check(request(host))


@pytest.mark.parametrize("host", LOOPBACK)
def test_names_of_loopback_are_ours(host):
    Hosts().check(request(host))


@pytest.mark.parametrize("host", OTHERS)
def test_other_names_are_refused_unless_all_are_allowed(host):
    with pytest.raises(HostRefusedError) as caught:
        Hosts().check(request(host))
    assert caught.value.http_status == 403
    assert "--allow-host" in caught.value.remedy


def test_a_request_without_a_host_is_refused():
    with pytest.raises(HostRefusedError):
        Hosts(["*"]).check(HttpRequest("GET", "/"))


@pytest.mark.parametrize(
    ("allowed", "host", "is_ours"),
    [
        ("kusto", "kusto:8080", True),
        ("Kusto", "KUSTO", True),
        ("kusto", "kusto.evil.example", False),
        ("*.kusto.windows.net", "mycluster.kusto.windows.net", True),
        ("*.kusto.windows.net", "kusto.windows.net", False),
        ("*.kusto.windows.net", "evilkusto.windows.net", False),
        ("*", "anything.example", True),
        ("192.168.1.5", "192.168.1.5:8080", True),
        ("192.168.1.5", "192.168.1.55:8080", False),
        ("[FE80::1]", "[fe80::1]:8080", True),
        ("fe80::1", "[fe80::1]", True),
    ],
)
def test_allowed_names_are_served(allowed, host, is_ours):
    hosts = Hosts([allowed])
    for _ in range(2):  # the second time it is remembered
        if is_ours:
            hosts.check(request(host))
        else:
            with pytest.raises(HostRefusedError):
                hosts.check(request(host))


def test_what_strangers_send_is_not_remembered_without_bound():
    hosts = Hosts()
    for number in range(1000):
        with pytest.raises(HostRefusedError):
            hosts.check(request(f"h{number}"))
    assert len(hosts._known) <= 64
    hosts.check(request("localhost"))


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:1"])
def test_pages_of_this_machine_may_ask_and_read(origin):
    asked = request("localhost", origin=origin)
    Hosts().check(asked)
    headers = Hosts().cors(asked)
    assert headers["Access-Control-Allow-Origin"] == origin
    assert headers["Vary"] == "Origin"
    assert "x-ms-activity-id" in headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "file://", "localhost"])
def test_pages_of_others_may_not(origin):
    with pytest.raises(OriginRefusedError):
        Hosts().check(request("localhost", origin=origin))


def test_a_preflight_is_told_what_it_asked_for():
    asked = HttpRequest(
        "OPTIONS",
        "/",
        headers={
            "host": "localhost",
            "origin": "http://localhost:1",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,x-ms-app",
            "access-control-request-private-network": "true",
        },
    )
    headers = Hosts().cors(asked)
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert headers["Access-Control-Allow-Headers"] == "content-type,x-ms-app"
    assert headers["Access-Control-Allow-Private-Network"] == "true"


def test_what_is_not_from_a_page_gets_no_such_headers():
    assert Hosts().cors(request("localhost")) == {}


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("", ()),
        ("0.0.0.0", ()),
        ("::", ()),
        ("[::]", ()),
        ("192.168.1.5", ("192.168.1.5",)),
        ("[fe80::1]", ("fe80::1",)),
        ("server.example", ("server.example",)),
    ],
)
def test_a_node_is_called_what_it_listens_at(host, names):
    assert reached_at(host) == names
    assert Hosts(names).allowed == names
