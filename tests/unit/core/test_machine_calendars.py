"""Calendars in the state machine: a change moves the cursors of all tasks that name it, or changes nothing."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import calendar_pb2, task_pb2

from raftsched.core.machine import ABORTED, FAILED_PRECONDITION, INVALID_ARGUMENT, calendar_uses
from raftsched.core.machine.context import RESOURCE_EXHAUSTED
from raftsched.core.state.rows import decode_cursor, due_key, due_value
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver

NOW = 1_000_000 * SECOND


@pytest.fixture
def driver() -> MachineDriver:
    driver = MachineDriver(MemoryStore(), now_us=NOW)
    assert put(driver, create=True).code == 0
    return driver


def put(
    driver: MachineDriver, *tasks: tuple[str, int, list[int]], create: bool = False, revision: int = 0
) -> pb.Outcome:
    command = driver.command()
    command.put_calendar.CopyFrom(
        pb.PutCalendar(
            calendar=calendar_pb2.Calendar(name="c", exclusions=[task_pb2.Exclusion(date="2026-12-25")]),
            create=create,
            expected_revision=revision,
            tasks=[pb.PutCalendar.Item(task=name, expected_revision=at, next_us=times) for name, at, times in tasks],
        )
    )
    return driver.apply(command)


def register(
    driver: MachineDriver, name: str, next_us: int, *calendars: str, revision: int = 1, paused: bool = False
) -> pb.Outcome:
    command = driver.command()
    task = task_pb2.Task(name=name, delivery=1, paused=paused, schedule=task_pb2.Schedule(calendars=calendars))
    command.register_tasks.items.add(task=task, next_us=next_us, calendars_revision=revision)
    outcome = driver.apply(command)
    return outcome if outcome.code else outcome.results[0]


def cursor(driver: MachineDriver, name: str) -> tuple[int, int]:
    found = decode_cursor(driver.get(Table.CURSORS, name.encode()))
    return found.next_us, found.last_us


def generation(driver: MachineDriver, name: str) -> int:
    return pb.TaskRow.FromString(driver.get(Table.TASKS, name.encode())).task.generation


def test_a_change_moves_the_cursor_and_drops_the_fire_that_is_under_way(driver: MachineDriver) -> None:
    uid = register(driver, "t", NOW + 5 * SECOND, "c").uid
    assert put(driver, ("t", 2, [NOW + 9 * SECOND, NOW + 12 * SECOND]), revision=1).code == 0
    assert cursor(driver, "t") == (NOW + 9 * SECOND, 0)
    assert driver.rows(Table.DUE) == {due_key(NOW + 9 * SECOND, b"t"): due_value(uid, driver.index)}
    driver.fire("t", uid, 1, NOW + 5 * SECOND, next_us=NOW + 6 * SECOND)
    assert (cursor(driver, "t"), driver.rows(Table.LEDGER)) == ((NOW + 9 * SECOND, 0), {})


def test_a_cursor_that_is_due_already_stays(driver: MachineDriver) -> None:
    uid = register(driver, "t", NOW - SECOND, "c").uid
    assert put(driver, ("t", 2, [NOW + 9 * SECOND]), revision=1).code == 0
    assert cursor(driver, "t") == (NOW - SECOND, 0)
    assert driver.rows(Table.DUE) == {due_key(NOW - SECOND, b"t"): due_value(uid, driver.index)}


def test_a_cursor_that_fires_have_moved_goes_on_behind_what_they_decided(driver: MachineDriver) -> None:
    uid = register(driver, "t", NOW + SECOND, "c").uid
    for second in (1, 2):
        driver.fire("t", uid, 1, NOW + second * SECOND, next_us=NOW + (second + 1) * SECOND)
    times = [NOW + second * SECOND for second in (1, 2, 4)]
    assert put(driver, ("t", 2, times[:2]), revision=1).code == ABORTED
    assert (cursor(driver, "t"), generation(driver, "t")) == ((NOW + 3 * SECOND, NOW + 2 * SECOND), 1)
    assert put(driver, ("t", 2, times), revision=1).code == 0
    assert cursor(driver, "t") == (NOW + 4 * SECOND, NOW + 2 * SECOND)


def test_a_task_ends_and_begins_again_with_its_calendar(driver: MachineDriver) -> None:
    register(driver, "t", NOW + SECOND, "c")
    assert put(driver, ("t", 2, [0]), revision=1).code == 0
    assert (cursor(driver, "t"), driver.rows(Table.DUE)) == ((0, 0), {})
    assert put(driver, ("t", 3, [NOW + SECOND]), revision=3).code == 0
    assert cursor(driver, "t") == (NOW + SECOND, 0)


def test_a_paused_task_follows_without_becoming_due(driver: MachineDriver) -> None:
    register(driver, "t", NOW + SECOND, "c", paused=True)
    assert put(driver, ("t", 2, [NOW + 3 * SECOND]), revision=1).code == 0
    assert (cursor(driver, "t"), driver.rows(Table.DUE)) == ((NOW + 3 * SECOND, 0), {})


@pytest.mark.parametrize(
    ("tasks", "revision"),
    [
        ([("a", 2, [NOW + SECOND]), ("b", 3, [NOW + SECOND])], 9),
        ([("a", 2, [NOW + SECOND]), ("b", 9, [NOW + SECOND])], 1),
        ([("a", 2, [NOW + SECOND])], 1),
        ([("b", 3, [NOW + SECOND]), ("a", 2, [NOW + SECOND])], 1),
        ([("a", 2, [NOW + SECOND]), ("b", 3, [NOW + SECOND]), ("c", 4, [NOW + SECOND])], 1),
        ([("a", 2, [NOW + SECOND]), ("b", 3, [])], 1),
    ],
)
def test_a_change_that_knew_other_tasks_changes_nothing(
    driver: MachineDriver, tasks: list[tuple[str, int, list[int]]], revision: int
) -> None:
    for name in ("a", "b"):
        register(driver, name, NOW + 9 * SECOND, "c")
    before = driver.dump()
    assert put(driver, *tasks, revision=revision).code == ABORTED
    assert driver.dump() == before


def test_a_task_whose_calendar_has_changed_since_is_not_registered_or_replaced(driver: MachineDriver) -> None:
    register(driver, "t", NOW + SECOND, "c")
    assert put(driver, ("t", 2, [NOW + SECOND]), revision=1).code == 0
    assert register(driver, "u", NOW + SECOND, "c", revision=2).code == ABORTED
    assert register(driver, "u", NOW + SECOND, "c", revision=3).code == 0
    command = driver.command()
    wanted = task_pb2.Task(name="t", schedule=task_pb2.Schedule(calendars=["c"]))
    command.replace_task.CopyFrom(pb.ReplaceTask(task=wanted, expected_revision=3, calendars_revision=2))
    assert driver.apply(command).code == ABORTED
    command.replace_task.calendars_revision = 3
    assert driver.apply(command).code == 0


def test_a_calendar_is_deleted_when_no_task_names_it(driver: MachineDriver) -> None:
    for name in ("a", "b", "d", "e"):
        register(driver, name, NOW + SECOND, "c")
    command = driver.command()
    command.delete_calendar.name = "c"
    refused = driver.apply(command)
    assert (refused.code, "a, b, d and 1 more" in refused.message) == (FAILED_PRECONDITION, True)
    for name in ("a", "b", "d"):
        driver.delete(name)
    driver.replace("e", 5)
    assert driver.rows(Table.CALENDAR_USES) == {}
    assert driver.apply(command).code == 0
    assert driver.rows(Table.CALENDARS) == {}


def test_a_task_cannot_name_a_calendar_that_does_not_exist_or_is_full(
    driver: MachineDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert register(driver, "t", NOW + SECOND, "none").code == INVALID_ARGUMENT
    assert register(driver, "t", NOW + SECOND, "c\0d").code == INVALID_ARGUMENT
    monkeypatch.setattr(calendar_uses, "MAX_USES", 1)
    assert register(driver, "t", NOW + SECOND, "c").code == 0
    assert register(driver, "u", NOW + SECOND, "c").code == RESOURCE_EXHAUSTED
