"""Our error details, read with the messages of google.rpc that they stand for."""

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from raftsched.api.door import errors


def decoded(error: errors.ApiError) -> status_pb2.Status:
    ((key, value),) = error.metadata()
    assert key == "grpc-status-details-bin"
    return status_pb2.Status.FromString(value)


def test_bad_input_is_read_as_a_google_rpc_bad_request() -> None:
    status = decoded(errors.invalid([errors.Violation("task.name", "is empty"), errors.Violation("x", "y")]))
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.code == 3
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == ("INVALID_FIELDS", "raftsched", {"applied": "no"})
    assert status.details[1].Unpack(bad_request)
    assert [(v.field, v.description) for v in bad_request.field_violations] == [("task.name", "is empty"), ("x", "y")]


def test_a_delay_is_read_as_a_google_rpc_retry_info() -> None:
    status = decoded(errors.not_leader("127.0.0.1:7101"))
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.metadata["leader_address"] == "127.0.0.1:7101"
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay == Duration(nanos=100_000_000)
