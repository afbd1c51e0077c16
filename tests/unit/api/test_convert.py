"""Rows as public messages."""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.api.convert import etag, public_execution, public_task, revision_of
from raftsched.core.state.model import Cursor


def test_an_etag_stands_for_its_revision() -> None:
    assert revision_of(etag(uid=16_384, revision=255)) == 255
    for other in ("", "x", "4000-", "4000-xyz"):
        assert revision_of(other) == -1


def test_a_clock_far_off_the_mark_still_gives_an_answer() -> None:
    row = pb.ExecutionRow(task="t", result=AttemptResult(start_us=2**63 - 1, end_us=-(2**63)))
    execution = public_execution(bytes(16), row)
    assert execution.start_time.ToDatetime().year == 9999
    assert not execution.HasField("end_time")


def test_the_next_fire_of_a_paused_task_is_open() -> None:
    row = pb.TaskRow(uid=1, revision=2)
    assert public_task(row, Cursor(5, 4)).HasField("next_fire_time")
    row = pb.TaskRow(uid=1, revision=2)
    row.task.paused = True
    paused = public_task(row, Cursor(5, 4))
    assert not paused.HasField("next_fire_time")
    assert paused.last_fire_time.ToMicroseconds() == 4
