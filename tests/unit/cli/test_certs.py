"""``remora certs``: files, names, and what it tells each language."""

from __future__ import annotations

import json

from cluster.cli.certs import trust_commands
from cluster.gateway.identity.certificates import LOCAL_NAMES, TRANSPARENT_NAMES, TlsFiles


def test_it_makes_files_in_the_home_and_says_how_to_trust_them(world):
    result = world.run("certs")
    assert result.exit_code == 0
    folder = world.home.folder / "tls"
    assert f"authority:   {folder / 'ca.pem'}" in result.stdout
    for language in ("Python", "Node", "Go", "Java", ".NET"):
        assert f"# {language}\n" in result.stdout
    assert f"NODE_EXTRA_CA_CERTS={folder / 'ca.pem'}" in result.stdout
    assert f"REQUESTS_CA_BUNDLE={folder / 'trust.pem'}" in result.stdout
    assert "-----BEGIN" not in result.stdout


def test_names_are_added(world):
    result = world.run("certs", "--names", "kusto, 10.0.0.5", "--names", "service", "--json")
    names = json.loads(result.stdout)["names"]
    assert set(names) == {*LOCAL_NAMES, "kusto", "10.0.0.5", *TRANSPARENT_NAMES}


def test_commands_alone(world):
    result = world.run("certs", "--print-trust")
    files = TlsFiles(world.home.folder / "tls")
    expected = [f"# {name}\n{command}" for name, command in trust_commands(files).items()]
    assert result.stdout == "\n".join(expected) + "\n"


def test_a_name_that_is_none_is_an_error_with_a_remedy(world):
    result = world.run("certs", "--names", "https://kusto")
    assert result.exit_code == 1
    assert "neither a host name nor an address" in result.stderr
    assert "remedy: Give names like" in result.stderr
