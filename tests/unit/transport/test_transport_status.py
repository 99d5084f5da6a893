"""Errors as google.rpc.Status, and back."""

from __future__ import annotations

import gc

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import (
    ConflictError,
    FollowRefusedError,
    LimitExceededError,
    RemoraError,
    RpcError,
    Status,
    ThrottledError,
    TimedOutError,
    UnavailableError,
    error_classes,
)
from cluster.transport.status import (
    CALL_OK,
    FACTS_BYTES,
    TEXT_BYTES,
    CallStatus,
    error_of,
    status_code,
    status_of,
)


def details_of(status):
    found = {}
    for detail in status_pb2.Status.FromString(status.details).details:
        name = detail.type_url.rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name).FromString(detail.value)
    return found


def test_no_two_classes_share_a_reason():
    reasons = [each.reason for each in error_classes()]
    assert len(set(reasons)) == len(reasons)


def test_error_info_names_the_class_for_other_languages():
    error = FollowRefusedError("no", metadata={"database": "Db"}, remedy="turn it on")
    status = status_of(error)
    assert status.code is Status.FAILED_PRECONDITION
    assert status.message == "no"
    info = details_of(status)["ErrorInfo"]
    assert (info.reason, info.domain) == ("FOLLOWER_STREAMING_DISABLED", "remora")
    assert dict(info.metadata) == {
        "database": "Db",
        "code": "Conflict",
        "type": "Kusto.Data.Exceptions.KustoConflictException",
        "http_status": "409",
        "permanent": "true",
        "remedy": "turn it on",
    }


def test_details_that_fit_the_class():
    conflict = details_of(status_of(ConflictError("no", metadata={"database": "Db"})))
    (violation,) = conflict["PreconditionFailure"].violations
    assert (violation.type, violation.subject, violation.description) == ("CONFLICT", "Db", "no")
    assert set(conflict) == {"ErrorInfo", "PreconditionFailure"}
    limit = details_of(status_of(LimitExceededError("big", metadata={"limit": "rows"})))
    (quota,) = limit["QuotaFailure"].violations
    assert (quota.subject, quota.description) == ("rows", "big")
    throttled = details_of(status_of(ThrottledError("later", retry_after_seconds=0.25)))
    assert throttled["RetryInfo"].retry_delay.ToMilliseconds() == 250
    assert set(throttled) == {"ErrorInfo", "RetryInfo", "QuotaFailure"}
    assert set(details_of(status_of(TimedOutError("late")))) == {"ErrorInfo"}


@given(
    st.sampled_from(sorted(error_classes(), key=lambda each: each.__name__)),
    st.text(max_size=200),
    st.dictionaries(
        st.text(max_size=20).filter(lambda k: k not in {"code", "type", "http_status"}),
        st.text(max_size=20),
        max_size=5,
    ).filter(lambda facts: not facts.keys() & {"permanent", "remedy"}),
    st.none() | st.floats(0, 1e6),
)
def test_round_trip(error_class, message, metadata, retry_after_seconds):
    options = {"metadata": metadata, "retry_after_seconds": retry_after_seconds}
    if error_class is RpcError:
        error = RpcError(Status.ABORTED, message, **options)
    else:
        error = error_class(message, **options)
    got = error_of(status_of(error))
    assert type(got) is error_class
    assert got.retry_after_seconds == pytest.approx(retry_after_seconds, abs=1e-9)
    got.retry_after_seconds = error.retry_after_seconds
    assert vars(got) == vars(error)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_text_limit(extra):
    message = "m" * (TEXT_BYTES + extra)
    got = error_of(status_of(ConflictError(message)))
    expected = message if extra <= 0 else "m" * (TEXT_BYTES - 3) + "..."
    assert got.message == expected
    wide = error_of(status_of(ConflictError("€" * TEXT_BYTES)))
    assert len(wide.message.encode()) <= TEXT_BYTES
    assert wide.message.endswith("€...")


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_facts_limit(extra):
    facts = {"a": "x" * 99, "b": "y" * (FACTS_BYTES - 101 + extra)}
    got = error_of(status_of(ConflictError("no", metadata=facts)))
    assert got.metadata == (facts if extra <= 0 else {"a": facts["a"]})


def test_statuses_without_our_details():
    assert type(error_of(CallStatus(Status.DEADLINE_EXCEEDED, "late"))) is TimedOutError
    assert type(error_of(CallStatus(Status.UNAVAILABLE, "gone"))) is UnavailableError
    other = error_of(CallStatus(Status.PERMISSION_DENIED, "no"))
    assert isinstance(other, RpcError)
    assert (other.rpc_status, other.message) == (Status.PERMISSION_DENIED, "no")
    assert error_of(CallStatus(Status.UNKNOWN)).message
    with pytest.raises(ValueError, match="OK"):
        error_of(CALL_OK)


def foreign(reason, domain):
    status = status_pb2.Status(code=9)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    return CallStatus(Status.FAILED_PRECONDITION, "text", status.SerializeToString())


@pytest.mark.parametrize(
    "status",
    [
        CallStatus(Status.FAILED_PRECONDITION, "text", b"\xff\xff\xff"),
        foreign("CONFLICT", "example.com"),
        foreign("NEVER_HEARD_OF", "remora"),
        CallStatus(Status.FAILED_PRECONDITION, "text", status_pb2.Status().SerializeToString()),
    ],
    ids=["garbage", "other domain", "unknown reason", "no details"],
)
def test_details_that_prove_nothing_count_as_none(status):
    error = error_of(status)
    assert isinstance(error, RpcError)
    assert error.rpc_status is Status.FAILED_PRECONDITION


def test_a_detail_that_does_not_parse_counts_as_none():
    status = status_pb2.Status(code=9)
    detail = status.details.add()
    detail.type_url = "type.googleapis.com/google.rpc.ErrorInfo"
    detail.value = b"\xff\xff"
    error = error_of(CallStatus(Status.ABORTED, "text", status.SerializeToString()))
    assert isinstance(error, RpcError)


def test_classes_with_constructors_of_their_own_come_back():
    class OddError(RemoraError):
        reason = "ODD"

        def __init__(self, first, second, third):
            super().__init__(f"{first}{second}{third}")

    got = error_of(status_of(OddError(1, 2, 3)))
    assert type(got) is OddError
    assert got.message == "123"
    # Other tests ask for every class there is; this one must be gone by then.
    del OddError, got
    gc.collect()
    assert "ODD" not in {each.reason for each in error_classes()}


def test_unknown_numbers_are_unknown():
    assert status_code(5) is Status.NOT_FOUND
    assert status_code(99) is Status.UNKNOWN
