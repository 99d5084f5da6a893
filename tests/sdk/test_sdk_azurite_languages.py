"""Queued clients of other languages that upload to a real Azurite, unmodified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azurite_account import WithAzurite
from languages import run_java, run_node
from sdk_setup import following, sdk_call, variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sdk_setup import Outcomes

pytestmark = pytest.mark.timeout(600)

NODE_TESTS = (
    "managed: what is too large is queued",
    "managed: what fails three times is queued",
    "queued: streams, files and blobs",
    "queued: everything a message can say",
    "queued: what is told in queues",
)
"""Not what the status table tells: Node's client of tables takes no SAS over http."""

JAVA_TESTS = ("managed", "managedQueuesWhatFailsThreeTimes", "queued", "queuedAtAnAddress")


@pytest.fixture(scope="module")
def account_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    session = WithAzurite(tmp_path_factory.mktemp("account") / "session")
    try:
        with following(session) as pair:
            found = pair.leader.command(".get ingestion resources").rows()
            assert all(session.azurite.endpoints["blob"].rpartition(":")[0] in str(row[1])
                       for row in found)  # fmt: skip
            yield variables(session, pair, tmp_path_factory.mktemp("work"))
    finally:
        session.close()


@pytest.fixture(scope="module")
def node_outcomes(
    account_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Outcomes:
    names = f"/^({'|'.join(NODE_TESTS)})$/"
    return run_node(account_environment, tmp_path_factory.mktemp("node"), names=names)


@pytest.fixture(scope="module")
def java_outcomes(
    account_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Outcomes:
    methods = [f"IngestTest#{name}" for name in JAVA_TESTS]
    return run_java(account_environment, tmp_path_factory.mktemp("java"), *methods)


@sdk_call("node", "IngestClient.ingestFromStream", "works", "uploads to Azurite")
@sdk_call("node", "ManagedStreamingIngestClient.ingestFromStream", "works", "queued in Azurite")
@pytest.mark.parametrize("name", NODE_TESTS)
def test_node_with_azurite(node_outcomes: Outcomes, name: str) -> None:
    node_outcomes.check(name)


@sdk_call("java", "QueuedIngestClient.ingestFromStream", "works", "uploads to Azurite")
@sdk_call("java", "ManagedStreamingIngestClient.ingestFromStream", "works", "queued in Azurite")
@pytest.mark.parametrize("name", JAVA_TESTS)
def test_java_with_azurite(java_outcomes: Outcomes, name: str) -> None:
    java_outcomes.check(f"{name}()")
