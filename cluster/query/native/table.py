"""All functions computed in Python, and how an engine gets them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cluster.query.native import arrays, bags, encodings, network, parsing, series, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.query.native.runs import Runs
    from cluster.query.native.spec import Native

NATIVES: Final[dict[str, Native]] = {
    native.name: native
    for family in (arrays, bags, encodings, network, parsing, series, texts)
    for native in family.NATIVES
}
"""By the names queries spell."""


def install(database: Any, string_bytes: int, runs: Runs) -> None:
    """Makes the functions known to a DuckDB connection and all its cursors.

    There is one for each number of arguments, ``native_1`` and so on, because each costs some
    milliseconds; its first arguments are the number of the query among ``runs`` and the name of
    the function, the others are texts, and so is its result. A string or dynamic they give has
    at most ``string_bytes`` bytes.
    """
    made = {name: native.over_texts(string_bytes) for name, native in NATIVES.items()}

    def called(run: int, name: str) -> Callable[..., str | None]:
        runs.require_going(run)
        return made[name]

    for count, call in enumerate(_by_count(called), 1):
        types = ["BIGINT", *["VARCHAR"] * (count + 1)]
        database.create_function(f"native_{count}", call, types, "VARCHAR", null_handling="special")


def _by_count(
    called: Callable[[int, str], Callable[..., str | None]],
) -> tuple[Callable[..., Any], ...]:
    """DuckDB reads the number of arguments from the signature."""
    return (
        lambda run, name, a: called(run, name)(a),
        lambda run, name, a, b: called(run, name)(a, b),
        lambda run, name, a, b, c: called(run, name)(a, b, c),
        lambda run, name, a, b, c, d: called(run, name)(a, b, c, d),
        lambda run, name, a, b, c, d, e: called(run, name)(a, b, c, d, e),
    )
