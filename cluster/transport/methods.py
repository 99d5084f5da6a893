"""What generated ``add_XServicer_to_server`` functions register, as values.

They call ``add_generic_rpc_handlers`` and, since grpcio-tools 1.64, also
``add_registered_method_handlers``; the second names every method and wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a servicer. ``handler`` is a trio coroutine function (see :mod:`.api`)."""

    path: str
    request_streaming: bool
    response_streaming: bool
    handler: Callable[..., Awaitable[Any]]
    deserialize_request: Callable[[bytes], Any]
    serialize_response: Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class _Details:
    """The ``grpc.HandlerCallDetails`` a generic handler is asked with."""

    method: str
    invocation_metadata: tuple[()] = ()


def _identity(message: Any) -> Any:
    return message


def _method(path: str, handler: Any) -> Method:
    function = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    if function is None:
        raise ValueError(f"{path}: the handler has no function")
    return Method(
        path=path,
        request_streaming=handler.request_streaming,
        response_streaming=handler.response_streaming,
        handler=function,
        deserialize_request=handler.request_deserializer or _identity,
        serialize_response=handler.response_serializer or _identity,
    )


class MethodTable:
    """The methods of one server, by path."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}
        self._generic: list[Any] = []

    def add_generic(self, handlers: Sequence[Any]) -> None:
        """Adds ``grpc.GenericRpcHandler`` objects."""
        self._generic.extend(handlers)

    def add_registered(self, service: str, handlers: dict[str, Any]) -> None:
        """Adds ``grpc.RpcMethodHandler`` objects of ``service`` by method name."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            self._methods[path] = _method(path, handler)

    def find(self, path: str) -> Method | None:
        """The method served at ``path``, or None."""
        found = self._methods.get(path)
        if found is not None:
            return found
        for generic in self._generic:
            handler = generic.service(_Details(path))
            if handler is not None:
                # Not stored: a peer chooses the path, and generic handlers may accept any.
                return _method(path, handler)
        return None

    def services(self) -> tuple[str, ...]:
        """Full names of the services registered by method, sorted."""
        return tuple(sorted({path[1:].rpartition("/")[0] for path in self._methods}))
