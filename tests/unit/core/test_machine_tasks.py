"""The state machine on tasks: registration, replacement, deletion, and remembered requests."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core import machine
from raftsched.core.state.model import Decision
from raftsched.core.state.rows import decode_cursor, decode_task, due_key, due_value, parse_ledger_key
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver

T0 = 1_800_000_000 * SECOND


@pytest.fixture
def driver() -> MachineDriver:
    return MachineDriver(MemoryStore(), now_us=T0)


def updated_us(driver: MachineDriver, name: str) -> int:
    row = pb.TaskRow.FromString(driver.get(Table.TASKS, name.encode()))
    return row.task.update_time.ToMicroseconds()


def test_register_writes_task_cursor_and_due_row(driver: MachineDriver) -> None:
    outcome = driver.register("backup", next_us=T0 + SECOND)
    task = decode_task(driver.get(Table.TASKS, b"backup"))
    assert (task.uid, task.revision, task.generation) == (outcome.results[0].uid, driver.index, 1)
    assert task.create_us == updated_us(driver, "backup") == T0
    assert decode_cursor(driver.get(Table.CURSORS, b"backup")).next_us == T0 + SECOND
    assert driver.rows(Table.DUE) == {due_key(T0 + SECOND, b"backup"): due_value(task.uid, 1)}


def test_uids_differ_within_and_between_commands(driver: MachineDriver) -> None:
    first = driver.register("a", "b", next_us=T0 + 1)
    second = driver.register("c", next_us=T0 + 1)
    assert len({result.uid for result in (*first.results, *second.results)}) == 3


def test_a_paused_task_is_never_due(driver: MachineDriver) -> None:
    driver.register("backup", next_us=T0 + SECOND, paused=True)
    assert driver.rows(Table.DUE) == {}
    assert decode_cursor(driver.get(Table.CURSORS, b"backup")).next_us == T0 + SECOND


def test_a_name_is_registered_once(driver: MachineDriver) -> None:
    first = driver.register("backup", next_us=T0 + SECOND)
    before = driver.dump()
    second = driver.register("backup", "other", next_us=T0 + 2 * SECOND)
    assert [result.code for result in second.results] == [machine.ALREADY_EXISTS, machine.OK]
    assert second.results[0].field == "task.name"
    assert driver.get(Table.TASKS, b"backup") == before[Table.TASKS][b"backup"]
    assert first.results[0].uid == decode_task(driver.get(Table.TASKS, b"backup")).uid


def test_a_name_twice_in_one_command_is_registered_once(driver: MachineDriver) -> None:
    outcome = driver.register("backup", "backup", next_us=T0 + SECOND)
    assert [result.code for result in outcome.results] == [machine.OK, machine.ALREADY_EXISTS]


def test_an_item_without_a_task_is_refused_and_the_others_stand(driver: MachineDriver) -> None:
    command = driver.command()
    command.register_tasks.items.add()
    command.register_tasks.items.add(task=task_pb2.Task(name="good"), next_us=T0 + 1)
    outcome = driver.apply(command)
    assert [result.code for result in outcome.results] == [machine.INVALID_ARGUMENT, machine.OK]


def test_as_many_tasks_as_a_batch_may_have_are_registered(
    driver: MachineDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftsched.core.machine.tasks.MAX_BATCH_TASKS", 3)
    outcome = driver.register("a", "b", "c", next_us=T0 + 1)
    assert [result.code for result in outcome.results] == [machine.OK] * 3
    assert driver.register("d", "e", "f", "g", next_us=T0 + 1).code == machine.INVALID_ARGUMENT


def test_more_tasks_than_a_batch_may_have_are_refused_whole(driver: MachineDriver) -> None:
    command = driver.command()
    for number in range(machine.MAX_BATCH_TASKS + 1):
        command.register_tasks.items.add(task=task_pb2.Task(name=f"t{number}"))
    assert driver.apply(command).code == machine.INVALID_ARGUMENT
    assert driver.rows(Table.TASKS) == {}


def test_replace_needs_the_revision_that_was_read(driver: MachineDriver) -> None:
    driver.register("backup", next_us=T0 + SECOND)
    revision = driver.index
    assert driver.replace("backup", revision, paused=True).code == machine.OK
    before = driver.dump()
    assert driver.replace("backup", revision, paused=False).code == machine.ABORTED
    assert driver.dump() == before


def test_replace_of_an_unknown_task_is_not_found(driver: MachineDriver) -> None:
    assert driver.replace("nothing", 1).code == machine.NOT_FOUND


def test_pausing_keeps_the_cursor_and_takes_the_due_row(driver: MachineDriver) -> None:
    driver.register("backup", next_us=T0 + SECOND)
    driver.replace("backup", driver.index, paused=True)
    assert driver.rows(Table.DUE) == {}
    assert decode_cursor(driver.get(Table.CURSORS, b"backup")).next_us == T0 + SECOND
    assert decode_task(driver.get(Table.TASKS, b"backup")).generation == 1


def test_resuming_records_what_was_missed_and_is_due_again(driver: MachineDriver) -> None:
    uid = driver.register("backup", next_us=T0 + SECOND, paused=True).results[0].uid
    driver.now_us = T0 + 10 * SECOND
    driver.replace(
        "backup",
        driver.index,
        moves_cursor=True,
        expected_next_us=T0 + SECOND,
        next_us=T0 + 11 * SECOND,
        skipped_last_us=T0 + 10 * SECOND,
        skipped_count=10,
        skip_reason="the task was paused",
    )
    assert driver.rows(Table.DUE) == {due_key(T0 + 11 * SECOND, b"backup"): due_value(uid, driver.index)}
    cursor = decode_cursor(driver.get(Table.CURSORS, b"backup"))
    assert (cursor.next_us, cursor.last_us) == (T0 + 11 * SECOND, T0 + 10 * SECOND)
    [(key, value)] = driver.rows(Table.LEDGER).items()
    row = pb.LedgerRow.FromString(value)
    assert parse_ledger_key(key)[:2] == ("backup", T0 + SECOND)
    assert (row.last_nominal_us, row.count, row.decision, row.reason) == (
        T0 + 10 * SECOND,
        10,
        Decision.SKIPPED,
        "the task was paused",
    )


def test_a_cursor_that_moved_meanwhile_aborts_the_change(driver: MachineDriver) -> None:
    uid = driver.register("backup", next_us=T0 + SECOND).results[0].uid
    revision = driver.index
    driver.fire("backup", uid, 1, T0 + SECOND, next_us=T0 + 2 * SECOND)
    before = driver.dump()
    outcome = driver.replace(
        "backup", revision, moves_cursor=True, expected_next_us=T0 + SECOND, next_us=T0 + 5 * SECOND
    )
    assert outcome.code == machine.ABORTED
    assert driver.dump() == before


def test_a_new_schedule_is_a_new_generation(driver: MachineDriver) -> None:
    uid = driver.register("backup", next_us=T0 + SECOND).results[0].uid
    driver.replace(
        "backup",
        driver.index,
        schedule_changed=True,
        moves_cursor=True,
        expected_next_us=T0 + SECOND,
        next_us=T0 + 7 * SECOND,
    )
    assert driver.rows(Table.DUE) == {due_key(T0 + 7 * SECOND, b"backup"): due_value(uid, driver.index)}
    # A fire that was proposed for the old schedule comes too late.
    driver.fire("backup", uid, 1, T0 + SECOND, next_us=T0 + 2 * SECOND)
    assert driver.rows(Table.EXECUTIONS) == {}


def test_replacing_keeps_creation_time_and_uid(driver: MachineDriver) -> None:
    uid = driver.register("backup", next_us=T0 + SECOND).results[0].uid
    driver.now_us += 5 * SECOND
    driver.replace("backup", driver.index)
    task = decode_task(driver.get(Table.TASKS, b"backup"))
    assert (task.uid, task.create_us, updated_us(driver, "backup")) == (uid, T0, T0 + 5 * SECOND)


def test_delete_removes_the_task_and_records_what_was_due(driver: MachineDriver) -> None:
    driver.register("backup", next_us=T0 + SECOND)
    driver.now_us = T0 + 2 * SECOND
    assert driver.delete("backup").code == machine.OK
    assert not any(driver.rows(table) for table in (Table.TASKS, Table.CURSORS, Table.DUE))
    [value] = driver.rows(Table.LEDGER).values()
    assert pb.LedgerRow.FromString(value).reason == "the task was deleted"


def test_delete_before_the_first_fire_leaves_no_record(driver: MachineDriver) -> None:
    driver.register("backup", next_us=T0 + SECOND)
    driver.delete("backup")
    assert driver.rows(Table.LEDGER) == {}


def test_delete_checks_the_revision_when_one_is_given(driver: MachineDriver) -> None:
    driver.register("backup", next_us=T0 + SECOND)
    assert driver.delete("backup", expected_revision=driver.index + 99).code == machine.ABORTED
    assert driver.delete("backup", expected_revision=1).code == machine.OK
    assert driver.delete("backup").code == machine.NOT_FOUND


def test_a_name_that_is_registered_again_gets_another_uid(driver: MachineDriver) -> None:
    first = driver.register("backup", next_us=T0 + SECOND).results[0].uid
    driver.delete("backup")
    assert driver.register("backup", next_us=T0 + SECOND).results[0].uid != first


def test_a_repeated_request_gets_the_first_outcome_and_changes_nothing(driver: MachineDriver) -> None:
    first = driver.register("backup", next_us=T0 + SECOND, request_id="r1")
    before = driver.dump()
    driver.now_us += SECOND
    assert driver.register("backup", next_us=T0 + SECOND, request_id="r1") == first
    assert driver.dump() == before


def test_a_rejected_request_is_judged_again_when_repeated(driver: MachineDriver) -> None:
    assert driver.delete("backup", request_id="r1").code == machine.NOT_FOUND
    driver.register("backup", next_us=T0 + SECOND)
    assert driver.delete("backup", request_id="r1").code == machine.OK


def test_retention_forgets_request_ids(driver: MachineDriver) -> None:
    driver.register("backup", next_us=T0 + SECOND, request_id="r1")
    [expiry_key] = driver.rows(Table.REQUEST_EXPIRY)
    assert int.from_bytes(expiry_key[:8], "big") == T0 + machine.REQUEST_MEMORY_US
    command = driver.command()
    command.retire.request_expiry_keys.append(expiry_key)
    driver.apply(command)
    assert driver.rows(Table.REQUESTS) == driver.rows(Table.REQUEST_EXPIRY) == {}


def test_a_command_without_a_kind_is_rejected(driver: MachineDriver) -> None:
    assert driver.apply(driver.command()).code == machine.INVALID_ARGUMENT


def test_bytes_that_are_no_command_are_rejected(driver: MachineDriver) -> None:
    assert driver.apply_bytes(b"\xff\xff\xff").outcome.code == machine.INVALID_ARGUMENT


def change_revisions(driver: MachineDriver, name: str) -> list[int]:
    rows = driver.rows(Table.TASK_CHANGES)
    return [int.from_bytes(key[-8:], "big") for key in sorted(rows) if key[:-9] == name.encode()]


def test_the_last_hundred_replaced_definitions_of_a_name_are_kept(driver: MachineDriver) -> None:
    driver.register("backup", "other", next_us=T0 + SECOND)
    first = driver.index
    driver.replace("other", first)
    for _ in range(100):
        assert driver.replace("backup", decode_task(driver.get(Table.TASKS, b"backup")).revision).code == machine.OK
    assert change_revisions(driver, "backup") == [first, *range(first + 2, first + 101)]
    driver.replace("backup", driver.index)
    assert change_revisions(driver, "backup") == list(range(first + 2, first + 102))
    driver.delete("backup")
    kept = change_revisions(driver, "backup")
    assert (len(kept), kept[-2:]) == (100, [driver.index - 1, driver.index]), "the last definition, and its deletion"
    assert change_revisions(driver, "other") == [first]
