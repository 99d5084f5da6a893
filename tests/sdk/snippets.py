"""The code of Microsoft's documents, cut out of the pages in ``snippets/``, and its blanks filled.

A block is named by its page, its language, and its number among those: nothing of it is retyped.
:func:`filled` changes what a reader has to change, and no more.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path(__file__).parent / "snippets"
OLD_PAGE: Final = "ingest-data-streaming-2021"
PAGE: Final = "ingest-data-streaming"
POLICY_PAGE: Final = "alter-streaming-ingestion-policy-command"

CLUSTER: Final = "mycluster"
REGION: Final = "westeurope"
NAMES: Final = (
    f"{CLUSTER}.kusto.windows.net",
    f"ingest-{CLUSTER}.kusto.windows.net",
    f"{CLUSTER}.{REGION}.kusto.windows.net",
    f"ingest-{CLUSTER}.{REGION}.kusto.windows.net",
    "devstoreaccount1.blob.core.windows.net",
    "devstoreaccount1.queue.core.windows.net",
    "devstoreaccount1.table.core.windows.net",
    "login.microsoftonline.com",
    "login.windows.net",
    "management.azure.com",
)
"""Hosts of the service that the code, or an SDK for it, speaks to."""

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_ADDRESS = re.compile(r"https://[\w.<>-]*\.kusto\.windows\.net")


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in a language, in order, without the indentation of the page."""
    found = _BLOCK.findall((FOLDER / f"{page}.md").read_text())
    return [textwrap.dedent(code) for _, name, code in found if name.lower() == language]


def filled(code: str, values: Mapping[str, str], address: str = "") -> str:
    """The code with its blanks filled: ``<name>``, or an empty text that ``name`` is given.

    With ``address`` the cluster's address is changed too. Raises ValueError if a blank is left.
    """
    code = code.replace("https://..kusto", f"https://{CLUSTER}.{REGION}.kusto")
    for name, value in {"clusterName": CLUSTER, **values}.items():
        code = code.replace(f"<{name}>", value)
        code = re.sub(rf'(\b{name}\s*:?=\s*)""', rf'\g<1>"{value}"', code)
    if address:
        code = _ADDRESS.sub(address, code)
    if left := re.search(r'<\w+Name>|<app\w+>|=\s*""', code):
        raise ValueError(f"a blank is left: {left[0]}")
    return code
