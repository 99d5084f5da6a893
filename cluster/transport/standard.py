"""The standard services of a gRPC server: health and reflection, as trio servicers.

Health is ``grpc.health.v1`` (``doc/health-checking.md`` of grpc). Reflection is
``grpc.reflection.v1alpha`` and, because its messages are the same on the wire, ``.v1`` too, which
newer tools ask for first. Both work with grpcurl and with the generated stubs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cluster.errors import EntityNotFoundError, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cluster.transport.api import Call, Server, ServerStream

HEALTH_SERVICE = "grpc.health.v1.Health"
REFLECTION_SERVICE = "grpc.reflection.v1.ServerReflection"
REFLECTION_ALPHA_SERVICE = "grpc.reflection.v1alpha.ServerReflection"

_Serving = health_pb2.HealthCheckResponse


class Health:
    """Servicer of ``grpc.health.v1.Health``. The service ``""`` stands for the whole server.

    Starts with ``services`` not serving: a server is healthy when somebody says so.
    """

    def __init__(self, services: Iterable[str] = ()) -> None:
        self._serving: dict[str, bool] = dict.fromkeys(("", *services), False)
        self._changed = trio.Event()

    def set_serving(self, serving: bool, *, services: Iterable[str] | None = None) -> None:
        """Sets the status of ``services``, or of all known ones, and tells those who watch."""
        names = tuple(self._serving) if services is None else tuple(services)
        self._serving.update(dict.fromkeys(names, serving))
        self._changed.set()
        self._changed = trio.Event()

    def statistics(self) -> Mapping[str, bool]:
        """Whether each known service is serving."""
        return dict(self._serving)

    def _status(self, service: str) -> int:
        serving = self._serving.get(service)
        if serving is None:
            return int(_Serving.SERVICE_UNKNOWN)
        return int(_Serving.SERVING if serving else _Serving.NOT_SERVING)

    async def Check(self, request: Any, call: Call) -> Any:  # noqa: N802 - named by the proto
        """The status of one service; NOT_FOUND if it is not known."""
        await trio.lowlevel.checkpoint()
        if request.service not in self._serving:
            raise EntityNotFoundError(f"no service {request.service!r} on this server")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def List(self, request: Any, call: Call) -> Any:  # noqa: N802 - named by the proto
        """The status of every known service. Newer than some supported packages' protos."""
        await trio.lowlevel.checkpoint()
        statuses = {
            name: health_pb2.HealthCheckResponse(status=self._status(name))
            for name in self._serving
        }
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(  # noqa: N802 - named by the proto
        self, request: Any, stream: ServerStream[Any, Any]
    ) -> None:
        """The status of one service now and at each change; SERVICE_UNKNOWN while not known."""
        sent: int | None = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != sent:
                await stream.send(health_pb2.HealthCheckResponse(status=status))
                sent = status
            await changed.wait()


class Reflection:
    """Servicer of ``grpc.reflection.*.ServerReflection`` for ``services`` (full names)."""

    def __init__(
        self, services: Sequence[str], pool: descriptor_pool.DescriptorPool | None = None
    ) -> None:
        self._services = tuple(sorted(services))
        self._pool = descriptor_pool.Default() if pool is None else pool

    async def ServerReflectionInfo(  # noqa: N802 - named by the proto
        self, stream: ServerStream[Any, Any]
    ) -> None:
        """Answers each request in order; what is not found is an answer, not an error."""
        answers: dict[str, Callable[[Any], Any]] = {
            "file_by_filename": self._file_by_filename,
            "file_containing_symbol": self._file_containing_symbol,
            "file_containing_extension": self._file_containing_extension,
            "all_extension_numbers_of_type": self._all_extension_numbers_of_type,
            "list_services": self._list_services,
        }
        while requests := await stream.recv_many():
            for request in requests:
                answer = answers.get(request.WhichOneof("message_request") or "")
                if answer is None:
                    response = _error(Status.INVALID_ARGUMENT, "the request asks for nothing")
                else:
                    try:
                        response = answer(request)
                    except KeyError as missing:
                        response = _error(Status.NOT_FOUND, str(missing.args[0]))
                response.original_request.CopyFrom(request)
                await stream.send(response)

    def _file_by_filename(self, request: Any) -> Any:
        return _files(self._pool.FindFileByName(request.file_by_filename))

    def _file_containing_symbol(self, request: Any) -> Any:
        symbol = request.file_containing_symbol
        try:
            return _files(self._pool.FindFileContainingSymbol(symbol))
        except KeyError:
            # The pool knows services but not their methods, which may be asked for as well.
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service)
            if method not in found.methods_by_name:
                raise
            return _files(found.file)

    def _file_containing_extension(self, request: Any) -> Any:
        asked = request.file_containing_extension
        message = self._pool.FindMessageTypeByName(asked.containing_type)
        extension = self._pool.FindExtensionByNumber(message, asked.extension_number)
        return _files(self._pool.FindFileContainingSymbol(extension.full_name))

    def _all_extension_numbers_of_type(self, request: Any) -> Any:
        message = self._pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
        numbers = sorted(each.number for each in self._pool.FindAllExtensions(message))
        return reflection_pb2.ServerReflectionResponse(
            all_extension_numbers_response=reflection_pb2.ExtensionNumberResponse(
                base_type_name=message.full_name, extension_number=numbers
            )
        )

    def _list_services(self, request: Any) -> Any:
        services = [reflection_pb2.ServiceResponse(name=name) for name in self._services]
        return reflection_pb2.ServerReflectionResponse(
            list_services_response=reflection_pb2.ListServiceResponse(service=services)
        )


def _error(status: Status, message: str) -> Any:
    return reflection_pb2.ServerReflectionResponse(
        error_response=reflection_pb2.ErrorResponse(error_code=int(status), error_message=message)
    )


def _files(wanted: Any) -> Any:
    """The file and everything it imports, each once."""
    found = {wanted.name: wanted}
    waiting = [wanted]
    while waiting:
        for dependency in waiting.pop().dependencies:
            if dependency.name not in found:
                found[dependency.name] = dependency
                waiting.append(dependency)
    protos = []
    for file in found.values():
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        protos.append(proto.SerializeToString())
    return reflection_pb2.ServerReflectionResponse(
        file_descriptor_response=reflection_pb2.FileDescriptorResponse(file_descriptor_proto=protos)
    )


class _Renamed:
    """A server that registers every service under another name."""

    def __init__(self, server: Server, service: str) -> None:
        self._server = server
        self._service = service

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Nothing: generic handlers know only their own name, the registered ones are enough."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Registers ``handlers`` under the other name."""
        self._server.add_registered_method_handlers(self._service, handlers)


def add_standard_services(server: Server) -> Health:
    """Adds health and reflection for the services registered so far; call it last.

    Returns the health servicer, with every service not serving.
    """
    services = (*server.services(), HEALTH_SERVICE, REFLECTION_SERVICE, REFLECTION_ALPHA_SERVICE)
    health = Health(services)
    reflection = Reflection(services)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    add_reflection = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
    add_reflection(reflection, server)
    add_reflection(reflection, _Renamed(server, REFLECTION_SERVICE))
    return health
