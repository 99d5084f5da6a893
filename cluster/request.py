"""Who asks for what, as every door tells it to the core: callers and client requests. Pure.

One value travels from the door to whatever answers, records or authorizes, so that gRPC, REST and
work of the node itself are told apart nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``principal`` is a fully qualified name (``aadapp=<id>;<tenant>``).

    Empty: nobody has been authenticated, which is a full administrator where authentication is not
    required, and nobody where it is. ``groups`` are fully qualified names of groups it is in.
    ``is_node``: the node itself or a process of the same setup, to whom everything is allowed.
    """

    principal: str = ""
    groups: frozenset[str] = frozenset()
    is_node: bool = False

    @property
    def name(self) -> str:
        """The principal without its kind and tenant; empty if nobody has been authenticated."""
        return self.principal.partition("=")[2].partition(";")[0].strip() or self.principal

    @property
    def is_anonymous(self) -> bool:
        """Nobody has been authenticated."""
        return not self.principal and not self.is_node


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """One request of a client, without its text.

    ``request_id`` is the client's own name of it (``x-ms-client-request-id``), ``activity_id`` is
    ours.
    ``options`` and ``parameters`` are those of the client request properties, as sent: values of
    JSON, names as spelled. ``read_only``: nothing may be changed (``request_readonly``,
    ``x-ms-readonly``). ``origin`` is how the client reached us, scheme and host with port
    (``http://127.0.0.1:8080``); empty where there is no HTTP. ``authorization`` is the header of
    that name, which goes along to other clusters that are asked for the caller.
    """

    caller: Caller
    request_id: str = ""
    activity_id: str = ""
    application: str = ""
    user: str = ""
    read_only: bool = False
    options: Mapping[str, object] = field(default_factory=lambda: _NOTHING)
    parameters: Mapping[str, object] = field(default_factory=lambda: _NOTHING)
    origin: str = ""
    authorization: str = field(default="", repr=False)


NODE_REQUEST: Final = ClientRequest(Caller(is_node=True))
"""Work the node does for itself."""
