"""Errors of rpcs as problem documents."""

import grpc
import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.api.door import errors
from raftsched.api.door.errors import ApiError
from raftsched.definitions.violations import Violation
from raftsched.rest.problem import REASONS, Problem, problem_of


def failed(error: ApiError) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata(*error.metadata())
    return grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), metadata, error.message)


def told(error: ApiError, *, conditional: bool = False, body: str = "", is_safe: bool = False) -> Problem:
    return problem_of(failed(error), is_safe=is_safe, conditional=conditional, body=body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.invalid_field("x", "is wrong"), 400),
        (errors.not_found("task"), 404),
        (ApiError(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS", "exists"), 409),
        (ApiError(grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION", "ended"), 409),
        (errors.etag_mismatch("t"), 409),
        (errors.overloaded("too much"), 429),
        (errors.no_leader(), 503),
        (errors.internal(), 500),
    ],
)
def test_each_code_has_its_status_and_each_reason_its_explanation(error: ApiError, status: int) -> None:
    problem = told(error)
    assert (problem.status, problem.reason, problem.detail) == (status, error.reason, problem.detail)
    assert problem.reason in REASONS
    assert problem.document()["type"] == f"/docs#problem-{error.reason}"


@pytest.mark.parametrize(
    "code", ["NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED", "RESOURCE_EXHAUSTED"]
)
def test_what_the_log_rejects_has_a_reason_that_is_explained(code: str) -> None:
    with pytest.raises(ApiError) as rejected:
        errors.raise_for_outcome(pb.Outcome(code=grpc.StatusCode[code].value[0], message="no"))
    assert rejected.value.reason in REASONS


def test_a_changed_task_is_a_failed_precondition_only_for_those_who_asked() -> None:
    assert told(errors.etag_mismatch("t"), conditional=True).status == 412


def test_those_who_are_to_come_back_are_told_when() -> None:
    for error in (errors.overloaded("too much"), errors.no_leader(), errors.outcome_unknown("gone")):
        assert told(error).response().headers["Retry-After"] == "1"
    assert "Retry-After" not in told(errors.not_found("task")).response().headers


def test_violations_name_the_fields_as_json_does() -> None:
    error = errors.invalid(
        [Violation("task.schedule.cron.time_zone", "is unknown"), Violation("request_id", "is long")]
    )
    problem = told(error, body="task")
    assert [each.field for each in problem.violations] == ["schedule.cron.timeZone", "requestId"]
    assert problem.detail == "schedule.cron.timeZone: is unknown; requestId: is long"


def test_the_caller_learns_whether_anything_was_done() -> None:
    assert told(errors.outcome_unknown("gone")).applied == "unknown"
    assert told(errors.no_leader()).applied == "no"
    bare = grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata(), "")
    assert problem_of(bare, is_safe=False, conditional=False, body="").applied == "unknown"
    assert problem_of(bare, is_safe=True, conditional=False, body="").applied == "no"


def test_details_that_cannot_be_read_leave_the_status() -> None:
    broken = grpc.aio.Metadata((errors.DETAILS_KEY, b"\xff\xff"))
    error = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), broken, "gone")
    problem = problem_of(error, is_safe=True, conditional=False, body="")
    assert (problem.status, problem.reason) == (404, "NOT_FOUND")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_words_of_the_library_are_told_to_nobody(code: grpc.StatusCode) -> None:
    raw = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused"
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), raw)
    problem = problem_of(error, is_safe=True, conditional=False, body="")
    assert problem.detail
    assert "addresses" not in problem.detail


def test_the_nodes_that_a_majority_lacks_are_members_of_the_problem() -> None:
    document = told(errors.no_majority("n1 reaches 1 of 3 nodes", ["n2", "n3"])).document()
    assert (document["status"], document["reason"], document["missingNodes"]) == (503, "NO_MAJORITY", ["n2", "n3"])
    assert "missingNodes" not in told(errors.no_leader()).document()
