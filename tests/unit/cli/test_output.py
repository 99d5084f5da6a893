"""Results on a terminal: a table where it can be read, else a record for each row."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cluster.cli.options import help_text
from cluster.cli.output import fits, records

NAMES = ["Name", "Policy"]
LONG = [["T", "x" * 50]]


@pytest.mark.parametrize(("width", "expected"), [(22, False), (23, True), (24, True)])
def test_a_table_fits_if_each_column_has_its_values_or_sixteen_characters(width, expected):
    assert fits(NAMES, LONG, width) is expected


def test_heads_and_characters_of_two_cells_count():
    assert fits(["A" * 20], [["x"]], 20)
    assert not fits(["A" * 20], [["x"]], 19)
    assert not fits(["A"], [["\N{CJK UNIFIED IDEOGRAPH-6F22}" * 5]], 9)


def test_a_record_has_a_line_for_each_value_and_nothing_is_cut():
    text = io.StringIO()
    Console(file=text, width=40).print(records(NAMES, [["a [b]", "y" * 40], ["", "z"]]))
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("row 1 ─")
    assert lines[1].split(maxsplit=1) == ["Name", "a [b]" + lines[1].split("a [b]")[1]]
    assert text.getvalue().count("y") == 40 + NAMES[1].count("y") * 2
    assert max(map(len, lines)) <= 40


def test_help_has_one_line_a_paragraph():
    def verb() -> None:
        """Does it.

        Words that go on
        below.

        Examples:

          one
        """

    assert help_text(verb) == "Does it.\n\nWords that go on below.\n\nExamples:\n\n  one"
