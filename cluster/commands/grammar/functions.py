"""Forms about stored functions (``adx-behaviour.md`` 7.3). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    DATABASE_USER,
    SCHEMA_ROW,
    VIEWER,
    WITH,
    CommandSpec,
    Kind,
)

_ROW: Final = "Name, Parameters, Body, Folder, DocString"
_ADMIN: Final = "Function Admin"
_DECLARATION: Final = f"{WITH} <function:name> <parameters:parameters> <body:body>"

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("show functions", f"show functions {WITH}", _ROW, Kind.SHOW, VIEWER),
    CommandSpec("show function", f"show function <function:name> {WITH}",
                _ROW, Kind.SHOW, VIEWER),
    CommandSpec("show function schema as json",
                f"show function <function:name> schema as json {WITH}",
                SCHEMA_ROW.replace("TableName", "FunctionName"), Kind.SHOW, VIEWER),
    CommandSpec("create function", f"create function [ifnotexists] {_DECLARATION}",
                _ROW, Kind.MUTATE, DATABASE_USER),
    CommandSpec("create-or-alter function", f"create-or-alter function {_DECLARATION}",
                _ROW, Kind.MUTATE, "Database User, and Function Admin if the function exists"),
    CommandSpec("alter function", f"alter function {_DECLARATION}",
                _ROW, Kind.MUTATE, _ADMIN),
    CommandSpec("alter function docstring",
                "alter function <function:name> docstring <text:string>",
                _ROW, Kind.MUTATE, _ADMIN),
    CommandSpec("alter function folder", "alter function <function:name> folder <text:string>",
                _ROW, Kind.MUTATE, _ADMIN),
    CommandSpec("drop function", "drop function <function:name> [ifexists]",
                "Name", Kind.MUTATE, _ADMIN),
    CommandSpec("drop functions", "drop functions <functions:names> [ifexists]",
                _ROW, Kind.MUTATE, _ADMIN),
)  # fmt: skip
