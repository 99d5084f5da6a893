"""Options that verbs share, and what exit codes mean. Light: loaded by every command.

Every flag is also an environment variable, so that a script can say it once.
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_RUNNING: Final = 3

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 refused or failed, the error is printed with its code and remedy; "
    "2 wrong usage; 3 a process that is needed is not running or cannot be reached; "
    "130 interrupted."
)

DEFAULT_NAME: Final = "default"
HOME_VARIABLE: Final = "REMORA_HOME"

Name = Annotated[
    str,
    typer.Option("--name", envvar="REMORA_NAME", help="Which setup; several live side by side."),
]
AsJson = Annotated[
    bool, typer.Option("--json", envvar="REMORA_JSON", help="Print one line of JSON.")
]
AsCsv = Annotated[
    bool, typer.Option("--csv", envvar="REMORA_CSV", help="Print CSV with a header row.")
]
TimeoutSeconds = Annotated[
    float,
    typer.Option(
        "--timeout",
        envvar="REMORA_TIMEOUT",
        metavar="SECONDS",
        min=0.001,
        help="Seconds until this is given up.",
    ),
]
ClusterName = Annotated[str, typer.Argument(metavar="CLUSTER", help="For example leader.")]
DatabaseName = Annotated[str, typer.Argument(metavar="DB", help="For example NetDefaultDB.")]
Process = Annotated[
    str, typer.Argument(metavar="NODE", help="For example leader/0, or coordinator.")
]


def home_folder() -> Path:
    """``$REMORA_HOME``, or ``~/.local/share/remora``."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen).absolute() if chosen else Path.home() / ".local" / "share" / "remora"


class OneText(TyperCommand):
    """A verb whose last argument is a text: without quotes a shell makes several words of it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As every verb; more words than arguments are answered with how to write them."""
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args:
            extra = " ".join(ctx.args)
            raise typer.BadParameter(
                f"the text ends before '{extra}'; put all of it between single quotes", ctx=ctx
            )
        return rest


def help_text(verb: Callable[..., object]) -> str:
    """A verb's docstring with one line a paragraph, for terminals of any width to break."""
    paragraphs = inspect.cleandoc(verb.__doc__ or "").split("\n\n")
    return "\n\n".join(
        paragraph if paragraph.startswith(" ") else " ".join(paragraph.splitlines())
        for paragraph in paragraphs
    )


def with_name(command: str, name: str) -> str:
    """A command line for this setup, to be pasted."""
    return command if name == DEFAULT_NAME else f"{command} --name {name}"
