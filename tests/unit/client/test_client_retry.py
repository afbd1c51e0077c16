"""Decisions about the next attempt, without a network."""

from datetime import timedelta

import pytest
from raftsched_client._endpoints import Endpoints, parse_endpoints
from raftsched_client._retry import Attempts, Reconnects
from raftsched_client.errors import (
    AlreadyExistsError,
    ConflictError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    RaftschedError,
    ResourceExhaustedError,
    UnavailableError,
)


def attempts(
    *, endpoints: int = 3, changes: bool = True, repeatable: bool = True, timeout_s: float = 10, now: float = 0
) -> Attempts:
    return Attempts(
        now,
        timeout_s,
        endpoints=endpoints,
        changes=changes,
        repeatable=repeatable,
        request_id="r1" if repeatable else "",
        jitter=lambda: 0.0,
    )


def refused() -> UnavailableError:
    return UnavailableError("cannot connect: Connection refused", applied="no")


def lost() -> UnavailableError:
    return UnavailableError("connection reset", applied="unknown")


def test_first_round_over_the_endpoints_does_not_wait():
    call = attempts(endpoints=3)
    assert [call.failed(endpoint, refused(), 0) for endpoint in "abc"] == [0, 0, pytest.approx(0.05)]


def test_backoff_doubles_each_round_up_to_a_second():
    call = attempts(endpoints=1, timeout_s=100)
    delays = [call.failed("a", refused(), 0) for _ in range(8)]
    assert delays == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1, 1, 1])


def test_jitter_adds_up_to_half():
    call = Attempts(0, 10, endpoints=1, changes=False, repeatable=True, request_id="", jitter=lambda: 0.999)
    assert call.failed("a", refused(), 0) == pytest.approx(0.05 * 1.4995)


@pytest.mark.parametrize("kind", [InvalidArgumentError, NotFoundError, AlreadyExistsError, ConflictError])
def test_refusals_are_not_repeated(kind):
    error = kind("no")
    with pytest.raises(kind) as raised:
        attempts().failed("a", error, 0)
    assert raised.value is error
    assert error.applied == "no"


def test_retry_info_is_respected():
    call = attempts(endpoints=3)
    busy = ResourceExhaustedError("too much in flight", retry_after=timedelta(seconds=2))
    assert call.failed("a", busy, 0) == pytest.approx(2)


def test_retry_info_beyond_the_deadline_ends_the_call():
    busy = ResourceExhaustedError("too much in flight", retry_after=timedelta(seconds=20))
    with pytest.raises(ResourceExhaustedError, match="too much in flight") as raised:
        attempts().failed("a", busy, 0)
    assert raised.value.retry_after == timedelta(seconds=20)


def test_resource_exhausted_without_retry_info_is_final():
    with pytest.raises(ResourceExhaustedError):
        attempts().failed("a", ResourceExhaustedError("message too large"), 0)


def test_unknown_fate_is_repeated_only_with_a_request_id():
    assert attempts().failed("a", lost(), 0) == 0
    with pytest.raises(UnavailableError) as raised:
        attempts(repeatable=False).failed("a", lost(), 0)
    assert raised.value.applied == "unknown"


def test_certainly_not_applied_is_repeated_even_without_a_request_id():
    assert attempts(repeatable=False).failed("a", refused(), 0) == 0


def test_unknown_fate_of_any_code_is_repeated():
    error = RaftschedError("leadership was lost", applied="unknown", metadata={"applied": "unknown"})
    assert attempts().failed("a", error, 0) == 0


def test_internal_error_is_not_repeated():
    with pytest.raises(RaftschedError) as raised:
        attempts().failed("a", RaftschedError("bug", applied="unknown"), 0)
    assert raised.value.applied == "unknown"


def test_not_leader_is_repeated():
    assert attempts().failed("a", RaftschedError("n2 leads", reason="NOT_LEADER"), 0) == 0


def test_one_attempt_of_unknown_fate_makes_the_whole_call_unknown():
    call = attempts(endpoints=2, timeout_s=1)
    call.failed("a", lost(), 0)
    with pytest.raises(UnavailableError) as raised:
        call.failed("b", refused(), 2)
    assert raised.value.applied == "unknown"
    assert raised.value.request_id == "r1"
    assert "a: connection reset; b: cannot connect" in str(raised.value)


def test_running_out_of_room_after_an_unknown_attempt_stays_unknown():
    call = attempts()
    call.failed("a", lost(), 0)
    with pytest.raises(ResourceExhaustedError) as raised:
        call.failed("b", ResourceExhaustedError("full"), 1)
    assert raised.value.applied == "unknown"


def test_refusal_after_an_unknown_attempt_leaves_that_attempt_open():
    call = attempts()
    call.failed("a", lost(), 0)
    with pytest.raises(NotFoundError) as raised:
        call.failed("b", NotFoundError("no such task"), 1)
    assert raised.value.applied == "unknown"


def test_definite_failures_only_leave_it_not_applied():
    call = attempts(endpoints=1, timeout_s=1)
    with pytest.raises(UnavailableError) as raised:
        call.failed("a", refused(), 1)
    assert raised.value.applied == "no"


def test_reads_are_never_applied():
    call = attempts(changes=False, timeout_s=1)
    with pytest.raises(DeadlineExceededError) as raised:
        call.failed("a", DeadlineExceededError("late", applied="unknown"), 1)
    assert raised.value.applied == "no"


def test_attempt_leaves_time_for_the_other_endpoints():
    assert attempts(endpoints=3, timeout_s=9).attempt_timeout_s(0) == pytest.approx(3)
    assert attempts(endpoints=3, timeout_s=1.5).attempt_timeout_s(0) == pytest.approx(1)
    assert attempts(endpoints=3, timeout_s=9).attempt_timeout_s(8) == pytest.approx(1)
    assert attempts(endpoints=1, timeout_s=9).attempt_timeout_s(0) == pytest.approx(9)
    assert attempts(endpoints=3, timeout_s=9, repeatable=False).attempt_timeout_s(0) == pytest.approx(9)


def test_stream_that_worked_gets_the_whole_deadline_again():
    def start(now: float) -> Attempts:
        return attempts(endpoints=1, changes=False, now=now)

    stream = Reconnects(start, 10)
    stream.opened(0)
    stream.failed("a", lost(), 0)
    with pytest.raises(UnavailableError):
        stream.failed("a", lost(), 9.99)
    stream.opened(10)
    stream.progressed()
    assert stream.failed("a", lost(), 11) > 0
    stream.opened(11)
    assert stream.failed("a", lost(), 100) > 0, "quiet for long, but open"


def test_endpoints_rotate_and_take_a_hint_that_they_know():
    endpoints = Endpoints("a:1, b:2,c:3")
    endpoints.leave("a:1")
    assert endpoints.current == "b:2"
    endpoints.leave("a:1")
    assert endpoints.current == "b:2", "another call has left it already"
    endpoints.leave("b:2", "a:1")
    assert endpoints.current == "a:1"
    endpoints.leave("a:1", "stranger:9")
    assert endpoints.current == "b:2"


def test_a_leader_is_followed_if_it_is_known_and_the_asked_node_is_still_the_current_one():
    endpoints = Endpoints("a:1,b:2")
    endpoints.follow("a:1", "stranger:9")
    assert endpoints.current == "a:1"
    endpoints.follow("a:1", "b:2")
    assert endpoints.current == "b:2"
    endpoints.follow("a:1", "a:1")
    assert endpoints.current == "b:2"


@pytest.mark.parametrize(
    "bad", ["", " , ", "host", "host:0", "host:65536", "host:x", ":7101", "::1:7101", "http://h:1"]
)
def test_bad_endpoints_are_refused(bad):
    with pytest.raises(ValueError, match="endpoints"):
        parse_endpoints(bad)


def test_endpoints_from_text_and_sequence():
    assert parse_endpoints("a:1,b:2,a:1,") == ("a:1", "b:2")
    assert parse_endpoints(["[::1]:7101"]) == ("[::1]:7101",)


def test_streams_that_break_after_their_first_message_are_opened_again_ever_more_slowly():
    stream = Reconnects(lambda now: attempts(endpoints=3, changes=False, now=now, timeout_s=60), 60)
    now, waits = 100.0, []
    for _ in range(8):
        stream.opened(now)
        stream.progressed()
        waits.append(stream.failed("a", lost(), now))
        now += waits[-1]
    assert waits == pytest.approx([0, 0.05, 0.1, 0.2, 0.4, 0.8, 1, 1])
    stream.opened(now)
    stream.progressed()
    assert stream.failed("a", lost(), now + 1) == 0, "it worked for as long as the longest wait"
