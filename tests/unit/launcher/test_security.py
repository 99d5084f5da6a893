"""Who may reach a setup: the file, options over it, and what is refused outside loopback."""

from __future__ import annotations

import pytest

from cluster.errors import ConflictError, CorruptionError, InvalidRequestError
from cluster.gateway.identity.hosts import advertised, advertised_url
from cluster.launcher.links import client_links, prepare_links
from cluster.launcher.security import Security, SecurityOptions, checked, security_from_values
from cluster.launcher.setup import Setup
from cluster.launcher.topology import parse_topology, topology_from_values, topology_to_values

CLUSTERS = "\n[[clusters]]\nname = 'leader'\n"
FILE = (
    """
host = "0.0.0.0"
[auth]
mode = "required"
admins = ["aadapp=boss"]
[[auth.applications]]
id = "boss"
secret = "s3cret"
[tls]
enabled = true
names = ["kusto"]
"""
    + CLUSTERS
)


def test_a_file_is_read_and_written_back():
    topology = parse_topology(FILE)
    security = topology.security
    assert (security.host, security.has_tls, security.names) == ("0.0.0.0", True, ("kusto",))
    assert security.auth.is_required
    assert security.auth.application("BOSS").principal == "aadapp=boss;adfs"
    assert topology_from_values(topology_to_values(topology)) == topology
    assert "s3cret" not in repr(topology)
    assert parse_topology(CLUSTERS).security == Security()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"host": 1}, "host: must be an address"),
        ({"auth": []}, "auth and tls must be tables"),
        ({"tls": True}, "auth and tls must be tables"),
        ({"tls": {"on": True}}, "tls.on: there is no such key"),
        ({"tls": {"enabled": 1}}, "tls.enabled: must be true or false"),
        ({"tls": {"names": "kusto"}}, "tls.names: must be a list"),
        ({"auth": {"mode": "on"}}, "auth.mode"),
    ],
)
def test_a_wrong_key_is_named(values, message):
    with pytest.raises(InvalidRequestError, match=message):
        security_from_values(values)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
@pytest.mark.parametrize(
    ("mode", "has_tls", "missing"),
    [
        ("optional", False, "authentication and TLS are not on"),
        ("optional", True, "authentication is not on"),
        ("required", False, "TLS is not on"),
    ],
)
def test_outside_loopback_takes_authentication_and_tls(host, mode, has_tls, missing):
    with pytest.raises(InvalidRequestError, match=missing) as caught:
        SecurityOptions(mode, has_tls, host).over(Security())
    assert "--auth required --tls" in caught.value.remedy
    assert "[auth]" in caught.value.remedy


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]"])
def test_loopback_takes_nothing(host):
    assert checked(Security(host)).host == host


def test_options_go_over_the_file():
    security = parse_topology(FILE).security
    assert SecurityOptions().over(security) == security
    changed = SecurityOptions("optional", has_tls=False, host="").over(security)
    assert (changed.auth.is_required, changed.has_tls, changed.host) == (False, False, "")
    assert changed.auth.applications == security.auth.applications


def test_names_and_host_are_served():
    security = Security("10.0.0.5", names=("kusto", "::2"))
    assert security.host_names == ("kusto", "10.0.0.5")
    assert Security("127.0.0.1").host_names == ()


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        ("0.0.0.0:5", "127.0.0.1:5"),
        ("[::]:5", "[::1]:5"),
        ("127.0.0.1:5", "127.0.0.1:5"),
        ("10.0.0.5:5", "10.0.0.5:5"),
        ("leader:5", "leader:5"),
    ],
)
def test_where_a_bound_address_is_reached(bound, reached):
    assert advertised(bound) == reached


@pytest.mark.parametrize(
    ("bound", "shown"),
    [
        ("https://127.0.0.1:5", "https://localhost:5"),
        ("https://0.0.0.0:5", "https://localhost:5"),
        ("https://[::]:5", "https://localhost:5"),
        ("https://10.0.0.5:5", "https://10.0.0.5:5"),
    ],
)
def test_the_url_that_is_told(bound, shown):
    assert advertised_url(bound) == shown


def test_the_secret_is_made_once_and_for_the_owner_alone(tmp_path):
    setup = Setup.planned("one", tmp_path / "setup", parse_topology(CLUSTERS))
    first = prepare_links(setup, tmp_path / "home")
    assert prepare_links(setup, tmp_path / "home") == first
    assert client_links(setup).secret == first.secret
    assert (first.is_guarded, first.certificate) == (False, "")
    assert (setup.folder / "setup.key").stat().st_mode & 0o777 == 0o600
    assert first.secret not in repr(first)
    (setup.folder / "setup.key").write_text("short")
    with pytest.raises(CorruptionError, match=r"setup\.key"):
        client_links(setup)


def test_with_tls_the_authority_is_beside_the_secret(tmp_path):
    setup = Setup.planned("one", tmp_path / "setup", parse_topology(FILE))
    links = prepare_links(setup, tmp_path / "home")
    assert links.is_guarded
    assert links.certificate == str(tmp_path / "home" / "tls" / "node.pem")
    assert client_links(setup).authority == links.authority == str(setup.folder / "ca.pem")


async def test_who_may_reach_a_setup_changes_while_nothing_of_it_runs(world):
    launcher = world.launcher()
    topology = parse_topology(CLUSTERS)
    await launcher.up(topology)
    assert world.config("leader/0")["links"]["is_guarded"] is False
    required = SecurityOptions(mode="required")
    with pytest.raises(
        ConflictError, match="runs with another host, authentication, TLS or queued storage"
    ):
        await launcher.up(security=required)
    await launcher.down()
    setup = await launcher.up(security=required)
    assert setup.topology.security.auth.is_required
    assert world.config("leader/0")["auth"]["mode"] == "required"
    assert world.config("leader/0")["links"]["is_guarded"] is True
    assert (setup.folder / "setup.json").stat().st_mode & 0o777 == 0o600
    await launcher.down()
    kept = await launcher.up()
    assert kept.topology.security.auth.is_required
    await launcher.down()
    again = await launcher.up(topology)
    assert not again.topology.security.auth.is_required, "the file that is given says so"
    with pytest.raises(InvalidRequestError, match="can be reached from other machines"):
        await launcher.up(security=SecurityOptions(host="0.0.0.0"))
    await launcher.destroy()
    assert not (setup.folder / "setup.key").exists()
