"""No command of Microsoft's published grammar is a syntax error here: it runs or is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.commands.grammar import COMMANDS, Kind
from cluster.commands.interpreter import parse_command
from cluster.errors import NotSupportedError
from cluster.limits import LIMITS

TEXTS = [
    line
    for line in (Path(__file__).parent / "microsoft_commands.txt").read_text().splitlines()
    if not line.startswith("#")
]
REFUSED = {spec.name for spec in COMMANDS if spec.kind is Kind.REFUSE}


def test_the_list_is_whole():
    assert len(TEXTS) == 923


@pytest.mark.parametrize("text", TEXTS)
def test_a_documented_command_is_known(text):
    try:
        command = parse_command(text, LIMITS)
    except NotSupportedError as error:
        row = error.metadata["fidelity_row"]
        assert row in REFUSED
        assert "is not supported by Remora: " in error.message
    else:
        assert command.spec.kind is not Kind.REFUSE
