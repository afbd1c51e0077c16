"""How a task is shown whose nominal times were decided ahead."""

import asyncio

from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.api.tasks.as_of import task_as_of
from raftsched.api.tasks.listing import list_tasks, read_task
from raftsched.core.state.model import Decision, ExecutionState
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver

_TASKS, _EXECUTIONS = Table.TASKS, Table.EXECUTIONS
T0 = 1_800_000_000 * SECOND
HALF = SECOND // 2


class Armed:
    """A task of every second whose nominal times a test decides, each half a second ahead."""

    def __init__(self, *names: str) -> None:
        self.store = MemoryStore()
        self.machine = MachineDriver(self.store, now_us=T0 - HALF)
        self.machine.register(*names, next_us=T0)

    def arm(self, name: str, *nominal_us: int, next_us: int) -> None:
        """Decide nominal times half a second before the first of them."""
        self.machine.now_us = nominal_us[0] - HALF
        row = pb.TaskRow.FromString(self.machine.get(_TASKS, name.encode()))
        command = self.machine.command()
        item = command.fire.items.add(
            task=name,
            uid=row.uid,
            generation=row.task.generation,
            expected_revision=row.revision,
            expected_next_us=nominal_us[0],
            next_us=next_us,
        )
        for time_us in nominal_us:
            item.decided.add(
                nominal_us=time_us,
                last_nominal_us=time_us,
                count=1,
                decision=Decision.RAN,
                executor_id="e1",
                armed=True,
            )
        self.machine.apply(command)

    def run(self, name: str) -> None:
        """Run it by hand."""
        command = self.machine.command()
        command.run_task.name = name
        self.machine.apply(command)

    def give_back(self) -> None:
        """The executor gives back the only execution."""
        ((execution_id, row),) = self.machine.rows(_EXECUTIONS).items()
        command = self.machine.command()
        item = command.report.items.add(id=execution_id, attempt=1, executor_id="e1", state=ExecutionState.PENDING)
        item.fencing_token = pb.ExecutionRow.FromString(row).fencing_token
        self.machine.apply(command)

    def shown(self, name: str, now_us: int) -> tuple[int, int]:
        """The last and the next fire, in microseconds after T0; -1: there is none."""
        with self.store.read() as reader:
            task = task_as_of(reader, *read_task(reader, name), now_us)
        return _after(task, "last_fire_time"), _after(task, "next_fire_time")

    def listed(self, now_us: int, **fields: object) -> list[str]:
        """Names of the tasks of a list."""
        with self.store.read() as reader:
            found = asyncio.run(list_tasks(reader, task_pb2.ListTasksRequest(**fields), now_us))
        return [each.name for each in found.tasks]


def _after(task: task_pb2.Task, field: str) -> int:
    time: Timestamp = getattr(task, field)
    return time.ToMicroseconds() - T0 if task.HasField(field) else -1


def test_what_is_armed_is_the_next_fire_until_its_time_has_come() -> None:
    armed = Armed("t")
    assert armed.shown("t", T0 - HALF) == (-1, 0)
    armed.arm("t", T0, next_us=T0 + SECOND)
    assert armed.shown("t", T0 - HALF) == (-1, 0)
    assert armed.shown("t", T0 - 1) == (-1, 0)
    assert armed.shown("t", T0) == (0, SECOND)
    armed.arm("t", T0 + SECOND, T0 + 2 * SECOND, next_us=T0 + 3 * SECOND)
    assert armed.shown("t", T0 + HALF) == (0, SECOND)
    assert armed.shown("t", T0 + SECOND) == (SECOND, 2 * SECOND)
    assert armed.shown("t", T0 + 2 * SECOND) == (2 * SECOND, 3 * SECOND)


def test_runs_by_hand_are_no_fires_of_the_schedule() -> None:
    armed = Armed("t")
    armed.arm("t", T0, next_us=T0 + SECOND)
    armed.arm("t", T0 + SECOND, next_us=T0 + 2 * SECOND)
    for _ in range(3):
        armed.run("t")
    assert armed.shown("t", armed.machine.now_us) == (0, SECOND)


def test_what_is_skipped_while_the_task_is_paused_is_no_fire_to_come() -> None:
    armed = Armed("t")
    armed.arm("t", T0, next_us=T0 + SECOND)
    armed.machine.replace("t", armed.machine.revision("t"), paused=True, next_us=T0 + SECOND)
    armed.give_back()
    armed.machine.replace("t", armed.machine.revision("t"), next_us=T0 + SECOND)
    assert armed.shown("t", T0 - HALF + 1) == (-1, SECOND)


def test_a_task_whose_last_nominal_time_is_armed_is_active_until_then() -> None:
    armed = Armed("t", "u")
    armed.arm("t", T0, next_us=0)
    assert armed.listed(T0 - 1, state=task_pb2.TASK_STATE_ACTIVE) == ["t", "u"]
    assert armed.listed(T0, state=task_pb2.TASK_STATE_ACTIVE) == ["u"]
    assert armed.listed(T0, state=task_pb2.TASK_STATE_FINISHED) == ["t"]


def test_a_list_by_next_fire_leaves_out_nothing_that_is_armed() -> None:
    armed = Armed("t", "u")
    armed.arm("t", T0, next_us=0)
    for order in ("next_fire_time", "next_fire_time desc"):
        assert armed.listed(T0 - 1, order_by=order) == ["u", "t"]


def test_a_task_does_not_fail_for_what_is_armed() -> None:
    armed = Armed("t", "u")
    armed.arm("t", T0, next_us=T0 + SECOND)
    assert armed.listed(T0 - 1, condition=task_pb2.TASK_CONDITION_FAILING) == []
