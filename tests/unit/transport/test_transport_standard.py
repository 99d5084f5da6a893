"""Health and reflection, called with the stubs generated for them."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cluster.errors import EntityNotFoundError, Status
from cluster.rpc.v1 import ingestion_pb2_grpc
from cluster.transport.standard import add_standard_services

INGESTION = "cluster.rpc.v1.IngestionService"
Serving = health_pb2.HealthCheckResponse


@pytest.fixture
def standard(make_transport):
    @asynccontextmanager
    async def make():
        transport = make_transport()
        server = transport.server()
        servicer = ingestion_pb2_grpc.IngestionServiceServicer()
        ingestion_pb2_grpc.add_IngestionServiceServicer_to_server(servicer, server)
        health = add_standard_services(server)
        address = server.listen("127.0.0.1:0")
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            async with transport.connect(address) as channel:
                yield health, channel
            nursery.cancel_scope.cancel()

    return make


def asking(service):
    return health_pb2.HealthCheckRequest(service=service)


async def test_health_check(standard):
    async with standard() as (health, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(asking(""))).status == Serving.NOT_SERVING
        health.set_serving(True)
        assert (await stub.Check(asking(""))).status == Serving.SERVING
        assert (await stub.Check(asking(INGESTION))).status == Serving.SERVING
        health.set_serving(False, services=[INGESTION])
        assert (await stub.Check(asking(INGESTION))).status == Serving.NOT_SERVING
        assert (await stub.Check(asking(""))).status == Serving.SERVING
        assert health.statistics()[INGESTION] is False
        with pytest.raises(EntityNotFoundError, match="nothing"):
            await stub.Check(asking("nothing"))


@pytest.mark.skipif(
    not hasattr(health_pb2, "HealthListResponse"),
    reason="this grpcio-health-checking has no Health.List",
)
async def test_health_list(standard):
    async with standard() as (health, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        health.set_serving(True)
        health.set_serving(False, services=[INGESTION])
        health.set_serving(True, services=["later"])
        response = await stub.List(health_pb2.HealthListRequest())
        assert {name: each.status for name, each in response.statuses.items()} == {
            "": Serving.SERVING,
            INGESTION: Serving.NOT_SERVING,
            "grpc.health.v1.Health": Serving.SERVING,
            "grpc.reflection.v1.ServerReflection": Serving.SERVING,
            "grpc.reflection.v1alpha.ServerReflection": Serving.SERVING,
            "later": Serving.SERVING,
        }


async def test_health_watch(standard):
    async with standard() as (health, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        async with stub.Watch(asking("later")) as stream:
            (first,) = await stream.recv_many()
            assert first.status == Serving.SERVICE_UNKNOWN
            health.set_serving(True)  # does not name it: nothing changes for it
            health.set_serving(True, services=["later"])
            (second,) = await stream.recv_many()
            assert second.status == Serving.SERVING
            health.set_serving(False)
            (third,) = await stream.recv_many()
            assert third.status == Serving.NOT_SERVING


async def ask(channel, *requests, service=None):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    method = stub.ServerReflectionInfo
    if service is not None:
        method = channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
    async with method() as stream:
        for request in requests:
            await stream.send(reflection_pb2.ServerReflectionRequest(**request))
        stream.close_send()
        return [response async for response in stream]


@pytest.mark.parametrize(
    "service", ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
)
async def test_reflection_lists_services(standard, service):
    async with standard() as (_, channel):
        (response,) = await ask(channel, {"list_services": ""}, service=service)
        names = [each.name for each in response.list_services_response.service]
        assert names == [
            INGESTION,
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ]


async def test_reflection_describes_a_service_with_all_it_imports(standard):
    async with standard() as (_, channel):
        by_symbol, by_name = await ask(
            channel,
            {"file_containing_symbol": f"{INGESTION}.Ingest"},
            {"file_by_filename": "cluster/rpc/v1/ingestion.proto"},
        )
        for response in (by_symbol, by_name):
            files = [
                descriptor_pb2.FileDescriptorProto.FromString(each)
                for each in response.file_descriptor_response.file_descriptor_proto
            ]
            names = [file.name for file in files]
            assert names[0] == "cluster/rpc/v1/ingestion.proto"
            assert len(set(names)) == len(names)
            assert {each for file in files for each in file.dependency} <= set(names)
        assert by_name.original_request.file_by_filename == "cluster/rpc/v1/ingestion.proto"


async def test_reflection_answers_what_it_cannot_find(standard):
    extension = reflection_pb2.ExtensionRequest(containing_type="no.Type", extension_number=1)
    async with standard() as (_, channel):
        responses = await ask(
            channel,
            {"file_containing_symbol": "no.Such"},
            {"file_by_filename": "no.proto"},
            {"all_extension_numbers_of_type": "no.Type"},
            {"file_containing_extension": extension},
            {},
            {"all_extension_numbers_of_type": "google.protobuf.FieldOptions"},
        )
        codes = [each.error_response.error_code for each in responses]
        assert codes == [*[Status.NOT_FOUND] * 4, Status.INVALID_ARGUMENT, 0]
        last = responses[-1].all_extension_numbers_response
        assert last.base_type_name == "google.protobuf.FieldOptions"
