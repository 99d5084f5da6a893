"""No command of Microsoft's published grammar is a syntax error: it runs or is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.commands.grammar import COMMANDS, Kind
from cluster.commands.interpreter import Matcher, parse_command
from cluster.errors import NotSupportedError
from cluster.limits import LIMITS

TEXTS = [
    line
    for line in (Path(__file__).parent / "microsoft_commands.txt").read_text().splitlines()
    if not line.startswith("#")
]


def test_the_list_is_whole():
    assert len(TEXTS) == 923


@pytest.mark.fidelity("published grammar", "Each of 626 commands is known")
@pytest.mark.parametrize("text", TEXTS)
def test_a_documented_command_is_known(text):
    spec = Matcher(text).first(COMMANDS).spec
    if spec.kind is Kind.REFUSE:
        with pytest.raises(NotSupportedError, match="is not supported by Remora: ") as caught:
            parse_command(text, LIMITS)
        assert caught.value.metadata["fidelity_row"] == spec.name
    else:
        assert parse_command(text, LIMITS).spec is spec
