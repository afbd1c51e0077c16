"""What becomes of a batch of registrations when the log answers otherwise."""

import asyncio
from collections.abc import Callable, Sequence

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.api.door.errors import ApiError
from raftsched.api.proposals import ATTEMPTS
from raftsched.api.tasks import batch

NOW_US = 1_800_000_000_000_000
ABORTED, FAILED = (code.value[0] for code in (grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION))


class Log:
    """Stands in for the proposals of a node: the outcome of each command is what the test says, the last for ever."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.commands: list[pb.Command] = []

    def command(self, request_id: str = "") -> pb.Command:
        return pb.Command(now_us=NOW_US, request_id=request_id)

    async def propose_early(self, command: pb.Command, look: Callable[[pb.Outcome, None], pb.Outcome]) -> pb.Outcome:
        self.commands.append(command)
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        results = [pb.Outcome(uid=number) for number, _ in enumerate(command.register_tasks.items, start=1)]
        return look(pb.Outcome(code=code, message="said the log", results=[] if code else results), None)


def tasks(count: int) -> list[task_pb2.Task]:
    found = []
    for number in range(count):
        task = task_pb2.Task(name=f"t{number}", schedule=task_pb2.Schedule(at=Timestamp(seconds=2_000_000_000)))
        task.action.noop.SetInParent()
        found.append(task)
    return found


def create(log: Log, sent: Sequence[task_pb2.Task], key: str = "") -> list[task_pb2.BatchCreateTaskResult]:
    reads: object = None
    return asyncio.run(batch.create_tasks(log, reads, sent, key))  # type: ignore[arg-type]  # stand-ins


def test_as_many_as_are_allowed_are_taken_and_one_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_BATCH_TASKS", 3)
    assert [result.name for result in create(Log(0), tasks(3))] == ["t0", "t1", "t2"]
    with pytest.raises(ApiError, match="has 4 tasks; at most 3"):
        create(Log(0), tasks(4))


def test_a_batch_whose_calendars_changed_is_proposed_again_and_not_for_ever() -> None:
    log = Log(ABORTED, ABORTED, 0)
    assert len(create(log, tasks(2))) == 2
    assert len(log.commands) == 3
    log = Log(ABORTED)
    with pytest.raises(ApiError) as refused:
        create(log, tasks(2))
    assert refused.value.code is grpc.StatusCode.ABORTED
    assert len(log.commands) == ATTEMPTS


def test_a_refusal_of_the_whole_command_is_no_result_of_its_tasks() -> None:
    with pytest.raises(ApiError, match="said the log"):
        create(Log(FAILED), tasks(2))


def test_a_batch_goes_into_commands_of_bounded_size_with_request_ids_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "CHUNK_TASKS", 2)
    log = Log(0)
    assert [result.name for result in create(log, tasks(5), "key")] == [f"t{number}" for number in range(5)]
    assert [(len(each.register_tasks.items), each.request_id) for each in log.commands] == [
        (2, "key/0"),
        (2, "key/1"),
        (1, "key/2"),
    ]
    monkeypatch.setattr(batch, "CHUNK_BYTES", 2 * tasks(1)[0].ByteSize())
    monkeypatch.setattr(batch, "CHUNK_TASKS", 100)
    log = Log(0)
    create(log, tasks(5))
    assert [(len(each.register_tasks.items), each.request_id) for each in log.commands] == [(2, ""), (2, ""), (1, "")]


def test_a_failure_after_the_first_command_says_how_much_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHUNK_TASKS", 2)
    with pytest.raises(ApiError, match="the first 2 tasks were decided, then: said the log"):
        create(Log(0, FAILED), tasks(3))


@pytest.mark.parametrize(("key", "commands"), [("", 0), ("key", 1)])
def test_a_batch_of_which_nothing_is_valid_needs_the_log_only_to_be_remembered(key: str, commands: int) -> None:
    log = Log(FAILED if not key else 0)
    bad = tasks(3)
    for task in bad:
        task.schedule.at.seconds = 1
    results = create(log, bad, key)
    assert len(log.commands) == commands
    if not key:
        invalid = grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert [(result.name, result.code) for result in results] == [(f"t{number}", invalid) for number in range(3)]
        assert all(result.field == "task.schedule.at" for result in results)


def test_other_work_gets_its_turns_while_a_large_batch_is_checked() -> None:
    async def test() -> None:
        log = Log(0)
        reads: object = None
        made = asyncio.ensure_future(batch.create_tasks(log, reads, tasks(100), ""))  # type: ignore[arg-type]  # stand-ins
        turns = 0
        while not made.done():
            turns += 1
            await asyncio.sleep(0)
        assert 100 // 20 <= turns < 20

    asyncio.run(test())
