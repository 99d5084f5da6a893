"""Credentials that were written plainly, so that no text that is kept shows them. Pure.

Obfuscated literals (``h'...'``) are how Kusto is told what is secret. But a shared access signature
or a key in a plain one is one all the same (``storage-connection-strings.md``, the connection
strings of Azure Storage and of queues), and logs outlive it.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "******"
"""Stands for what is not shown."""

_NAMES: Final = (
    r"(?: (?<=[?&;]) | \A) (?: sig | SharedAccessSignature | SharedAccessKey | AccountKey"
    r" | AwsCredentials | token | password | pwd | AppKey | Application\ Key"
    r" | X-Amz-Signature | X-Amz-Security-Token )"
)
"""Where addresses and connection strings have them; KQL has no ``;name=``, ``&`` or ``?``."""

_OF_STORAGE: Final = r"(?: https?|abfss?|adl|wasbs?|s3 )://[^;'\"\s]+;"
_CREDENTIAL: Final = re.compile(
    rf"(?P<before> {_NAMES} \s*=\s* ) (?P<value> [^&;'\"\s)\]}}]+ )"
    rf" | (?P<storage> {_OF_STORAGE} ) (?P<key> [A-Za-z0-9+/]{{40,}}={{0,2}} )",
    re.IGNORECASE | re.VERBOSE,
)


def holds_credential(text: str) -> bool:
    """Whether a signature, key, token or password stands in the text, with its value."""
    return _CREDENTIAL.search(text) is not None


def without_credentials(text: str) -> str:
    """The text with the values of credentials hidden, wherever they stand in it."""
    return _CREDENTIAL.sub(lambda found: f"{found['before'] or found['storage']}{HIDDEN}", text)
