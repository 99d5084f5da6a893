"""Executors of commands about stored functions.

A function is kept as it was written: its parameters with their parentheses, its body with its
braces. Whether the body is a valid query shows when it is called (``skipvalidation`` is accepted
and changes nothing). Obfuscated literals of bodies are masked unless ``ShowObfuscatedStrings``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import SetFunction, entity_not_found
from cluster.catalog.model import Function
from cluster.commands.lexer import without_secrets
from cluster.commands.properties import DESCRIPTION, read_properties
from cluster.errors import EntityExistsError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Database
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

_DECLARED: Final[Mapping[str, type]] = {**DESCRIPTION, "view": bool, "skipvalidation": bool}
_SHOWN: Final[Mapping[str, type]] = {
    "ShowObfuscatedStrings": bool,
    "Builtin": bool,
    "IncludeHiddenFunctions": bool,
}


async def show_functions(context: Context) -> list[Row]:
    """``.show functions``: all of the database in context, by name."""
    properties = read_properties(context, _SHOWN)
    database = context.catalog.get(context.database)
    secrets = properties.get("ShowObfuscatedStrings", False)
    return _all_rows(database, secrets=secrets)


async def show_function(context: Context) -> list[Row]:
    """``.show function F``."""
    properties = read_properties(context, _SHOWN)
    function = find_function(context.catalog.get(context.database), context.values["function"])
    return [_row(function, secrets=properties.get("ShowObfuscatedStrings", False))]


async def create_function(context: Context) -> list[Row]:
    """``.create function [ifnotexists] F(...) {...}``."""

    def check(database: Database, name: str) -> bool:
        if name not in database.functions:
            return True
        if "ifnotexists" in context.words:
            return False
        raise EntityExistsError(
            f"Entity ID '{name}' of kind 'Function' already exists.",
            remedy="Use .create-or-alter function, or add ifnotexists.",
            metadata={"function": name},
        )

    return await _set(context, check)


async def create_or_alter_function(context: Context) -> list[Row]:
    """``.create-or-alter function F(...) {...}``: folder and docstring stay unless given."""
    return await _set(context, lambda database, name: True)


async def alter_function(context: Context) -> list[Row]:
    """``.alter function F(...) {...}``: folder and docstring stay unless given."""
    return await _set(context, lambda database, name: find_function(database, name).name == name)


async def alter_function_docstring(context: Context) -> list[Row]:
    """``.alter function F docstring '...'``."""
    return await _describe(context, docstring=context.values["text"])


async def alter_function_folder(context: Context) -> list[Row]:
    """``.alter function F folder '...'``."""
    return await _describe(context, folder=context.values["text"])


async def drop_function(context: Context) -> list[Row]:
    """``.drop function F [ifexists]``: gives the name that was dropped."""
    name = context.values["function"]
    return [(dropped,) for dropped in (await _drop(context, [name]))[1]]


async def drop_functions(context: Context) -> list[Row]:
    """``.drop functions (F, G) [ifexists]``: all or none; gives the functions that remain."""
    database, _ = await _drop(context, context.values["functions"])
    return _all_rows(database, secrets=False)


def find_function(database: Database, name: str) -> Function:
    """The function of that case-sensitive name. Raises EntityNotFoundError."""
    function = database.functions.get(name)
    if function is None:
        raise entity_not_found("Function", name)
    return function


def shown_body(function: Function) -> str:
    """The body with obfuscated literals masked."""
    return without_secrets(function.body)


async def _set(context: Context, check: Callable[[Database, str], bool]) -> list[Row]:
    name = context.values["function"]

    def plan(database: Database) -> Sequence[Change]:
        properties = read_properties(context, _DECLARED)
        if properties.get("view"):
            raise NotSupportedError(
                "Stored views are not supported: 'union *' and 'search' see tables only.",
                remedy="Leave out view=true; the function can be called by its name.",
            )
        if not check(database, name):
            return ()
        before = database.functions.get(name)
        function = Function(
            name=name,
            parameters=context.values["parameters"],
            body=context.values["body"],
            folder=properties.get("folder", before.folder if before else ""),
            docstring=properties.get("docstring", before.docstring if before else ""),
        )
        return () if function == before else [SetFunction(name, function)]

    database = await context.transact(context.database, plan)
    return [_row(database.functions[name], secrets=False)]


async def _describe(
    context: Context, *, folder: str | None = None, docstring: str | None = None
) -> list[Row]:
    name = context.values["function"]

    def plan(database: Database) -> Sequence[Change]:
        before = find_function(database, name)
        after = replace(
            before,
            folder=before.folder if folder is None else folder,
            docstring=before.docstring if docstring is None else docstring,
        )
        return () if after == before else [SetFunction(name, after)]

    database = await context.transact(context.database, plan)
    return [_row(database.functions[name], secrets=False)]


async def _drop(context: Context, names: Sequence[str]) -> tuple[Database, Sequence[str]]:
    dropped: list[str] = []

    def plan(database: Database) -> Sequence[Change]:
        wanted = list(dict.fromkeys(names))
        if "ifexists" in context.words:
            wanted = [name for name in wanted if name in database.functions]
        dropped.extend(find_function(database, name).name for name in wanted)
        return [SetFunction(name, None) for name in dropped]

    return await context.transact(context.database, plan), dropped


def _all_rows(database: Database, *, secrets: bool) -> list[Row]:
    return [_row(function, secrets=secrets) for _, function in sorted(database.functions.items())]


def _row(function: Function, *, secrets: bool) -> Row:
    body = function.body if secrets else shown_body(function)
    return (function.name, function.parameters, body, function.folder, function.docstring)


EXECUTORS: Final[Mapping[str, Executor]] = {
    "show functions": show_functions,
    "show function": show_function,
    "create function": create_function,
    "create-or-alter function": create_or_alter_function,
    "alter function": alter_function,
    "alter function docstring": alter_function_docstring,
    "alter function folder": alter_function_folder,
    "drop function": drop_function,
    "drop functions": drop_functions,
}
