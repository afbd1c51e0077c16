"""What an executor may say of itself and of attempts."""

import pytest
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.core.state.model import ExecutionState
from raftsched.scheduler.border import MAX_CAPABILITIES, hello_problem, report_item

HUGE = 2**63 - 1


def hello(field: str, names: list[str]) -> xpb.Hello:
    message = xpb.Hello(executor_id="e1")
    getattr(message.capabilities, field).extend(names)
    return message


@pytest.mark.parametrize("field", ["action_kinds", "callables"])
def test_what_an_executor_can_run_is_bounded(field: str) -> None:
    fine = ["x" * 200] * MAX_CAPABILITIES
    assert hello_problem(hello(field, fine)) == ""
    for names in ([*fine, "x"], ["x" * 201]):
        assert "hello.capabilities has at most 1000 names" in hello_problem(hello(field, names))


def told(result: AttemptResult, state: int = ExecutionState.SUCCEEDED) -> AttemptResult:
    """What the log is told of the result."""
    return report_item("e1", xpb.AttemptReport(state=state, result=result)).result


def test_report_within_the_bounds_goes_into_the_log_as_it_is() -> None:
    result = AttemptResult(
        start_us=5,
        end_us=9,
        exit_code=0,
        http_status=200,
        error="none",
        output_tail=b"x" * 4096,
        output_size_bytes=9_000,
        output_sha256=b"d" * 32,
        output_stored_bytes=8_000,
    )
    assert told(result) == result


def test_every_field_of_a_report_is_bounded() -> None:
    low = AttemptResult(start_us=-1, end_us=-HUGE, output_size_bytes=-1, output_stored_bytes=-1)
    assert told(low) == AttemptResult()
    high = AttemptResult(
        start_us=HUGE,
        end_us=HUGE,
        error="e" * 2_000,
        output_tail=b"a" + b"b" * 4096,
        output_size_bytes=HUGE,
        output_sha256=b"d" * 33,
        output_stored_bytes=HUGE,
    )
    bounded = told(high)
    assert bounded.start_us == bounded.end_us < HUGE
    assert bounded.output_size_bytes == bounded.output_stored_bytes < HUGE
    assert bounded.error == "e" * 1_000
    assert bounded.output_tail == b"b" * 4096
    assert bounded.output_sha256 == b"d" * 32


def test_what_a_report_says_in_unknown_fields_does_not_reach_the_log() -> None:
    # Field 1000, of 1 MiB: a length behind the key.
    smuggled = b"\xc2\x3e\x80\x80\x40" + bytes(1 << 20)
    result = AttemptResult.FromString(AttemptResult(start_us=5).SerializeToString() + smuggled)
    assert result.ByteSize() > 1 << 20
    assert told(result).ByteSize() < 10


def test_only_what_succeeded_has_the_exit_code_of_success() -> None:
    assert told(AttemptResult(exit_code=0)).HasField("exit_code")
    assert not told(AttemptResult(exit_code=0), ExecutionState.FAILED).HasField("exit_code")
    assert told(AttemptResult(exit_code=3), ExecutionState.FAILED).exit_code == 3
