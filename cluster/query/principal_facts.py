"""What functions of a query tell about who sends it, as texts that travel to the translator. Pure.

``current_principal_details-function.md``, ``current-principal-is-member-of-function.md``. There is
no directory here: what nobody told is null in the details, and groups are those of the token.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cluster.access.principals import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.request import Caller


def facts_of(caller: Caller, endpoint: str) -> Mapping[str, str]:
    """The value of each function of the request by its name.

    ``current_principal_details`` is a JSON object, ``current_principal_is_member_of`` a JSON array
    of the folded names that the caller goes by.
    """
    return {
        "current_principal": caller.principal,
        "current_principal_details": json.dumps(_details(caller)),
        "current_principal_is_member_of": json.dumps(sorted(names_of(caller))),
        "current_cluster_endpoint": endpoint,
    }


def _details(caller: Caller) -> dict[str, str | None]:
    kind, _, rest = caller.principal.partition("=")
    identity, _, tenant = rest.partition(";")
    is_known = bool(caller.principal)
    return {
        "UserPrincipalName": identity if kind == "aaduser" and "@" in identity else None,
        "IdentityProvider": "https://sts.windows.net" if is_known else None,
        "Authority": tenant or None,
        "Mfa": None,
        "Type": kind or None,
        "DisplayName": identity or None,
        "ObjectId": identity or None,
        "FQN": caller.principal or None,
        "Notes": None,
    }
