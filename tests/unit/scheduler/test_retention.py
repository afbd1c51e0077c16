"""What the leader removes beside executions and their ledger: request ids, earlier definitions, rounds of chains."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.machine import REQUEST_MEMORY_US
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState, Trigger
from raftsched.core.state.rows import ExecutionRow, LedgerRow, be64, ledger_key
from raftsched.core.times.paced_time import PACE
from raftsched.ports import Table
from raftsched.scheduler import retention
from tests.unit.scheduler.test_dispatcher import proposed
from tests.unit.scheduler.test_groups import propose
from tests.unit.scheduler.test_scheduler import SECOND_US, START_US, World

DAY_S = 86_400


def count(world: World, table: Table) -> int:
    with world.store.read() as reader:
        return reader.count(table)


def test_a_request_id_is_forgotten_when_its_time_is_over_and_not_before() -> None:
    world = World()
    world.lead(1, retention_interval_s=0)
    world.register("t", paused=True)
    propose(world, pb.Command(run_task=pb.RunTask(name="t"), request_id="r"))
    world.run(REQUEST_MEMORY_US / SECOND_US - 1)
    assert count(world, Table.REQUESTS) == 1
    world.run(2)
    assert count(world, Table.REQUESTS) == count(world, Table.REQUEST_EXPIRY) == 0


def test_an_earlier_definition_is_kept_as_long_as_the_ledger() -> None:
    world = World()
    world.lead(1, keep_ledger_s=DAY_S, retention_interval_s=0)
    world.register("t", paused=True)
    propose(world, pb.Command(delete_task=pb.DeleteTask(name="t")))
    world.run(DAY_S - 1)
    assert count(world, Table.TASK_CHANGES) > 0
    world.run(2)
    assert count(world, Table.TASK_CHANGES) == 0


def test_a_round_of_a_chain_that_does_not_end_is_recorded_as_skipped() -> None:
    world = World()
    world.lead(1, keep_executions_s=DAY_S, retention_interval_s=0)
    link = world.connect("e1")
    command = pb.Command()
    for name, parents in (("a", ""), ("b", "a"), ("c", "a"), ("d", "bc")):
        after = [task_pb2.ChainParent(task=parent) for parent in parents]
        action = task_pb2.Action(noop=task_pb2.NoopAction())
        command.register_tasks.items.add(task=task_pb2.Task(name=name, after=after, action=action))
    propose(world, command)
    propose(world, pb.Command(run_task=pb.RunTask(name="a")))
    world.settle()
    (first,) = link.take_assignments()
    world.report("e1", first, ExecutionState.SUCCEEDED)
    parents = {item.task: item for item in link.take_assignments()}
    assert sorted(parents) == ["b", "c"]
    world.report("e1", parents["b"], ExecutionState.SUCCEEDED)
    world.run(DAY_S - 1)
    assert (count(world, Table.ROUNDS), world.ledger("d")) == (1, [])
    world.run(2)
    ((_, entry),) = world.ledger("d")
    assert (entry.decision, entry.reason) == (Decision.SKIPPED, "the tasks it runs after did not all end in time")


def test_a_jump_before_the_first_removal_makes_nothing_old() -> None:
    world = World()
    ahead_us = [0]
    world.clock.now_us = lambda: world.clock.us + ahead_us[0]
    world.lead(1, retention_interval_s=5, retention_settle_s=60)
    world.register("t", paused=True)
    propose(world, pb.Command(run_task=pb.RunTask(name="t"), request_id="r"))
    world.pass_time(20)
    ahead_us[0] = 40 * DAY_S * SECOND_US
    world.clock.stepped_at_s = world.clock.monotonic()
    kept = [(table, count(world, table)) for table in (Table.EXECUTIONS, Table.LEDGER, Table.REQUESTS)]
    world.pass_time(120)
    assert [(table, count(world, table)) for table, _ in kept] == kept
    assert all(rows for _, rows in kept)


def put(world: World, table: Table, rows: dict[bytes, bytes]) -> None:
    for key, value in rows.items():
        world.store.batch().put(table, key, value)
    world.store.commit()


def retire(world: World) -> pb.Retire | None:
    """What is proposed by one look; None: nothing."""
    with world.store.read() as reader:
        world.scheduler._retention.step(reader, world.clock.monotonic())
    found = [command.retire for command in proposed(world, "retire")]
    world.log.pump()
    return found[-1] if found else None


def ended(number: int, *, us: int, fire_us: int = 0, **fields: object) -> dict[bytes, bytes]:
    """An execution that has ended, whose nominal time was then."""
    row = ExecutionRow(
        **{
            "task": "t",
            "uid": 1,
            "state": ExecutionState.SUCCEEDED,
            "nominal_us": us,
            "fire_us": fire_us or us,
            **fields,
        }
    )
    return {ids.execution_id(number, 1, us): row.SerializeToString()}


def test_how_far_age_has_gone_is_saved_now_and_then_and_with_what_is_removed() -> None:
    world = World()
    world.lead(1, retention_interval_s=5)
    saved = retire(world)
    assert saved is not None
    assert saved.time_us == START_US
    world.clock.advance(595)
    assert retire(world) is None
    world.clock.advance(4)
    assert retire(world) is None, "it has just looked"
    world.clock.advance(1)
    saved = retire(world)
    assert saved is not None
    assert saved.time_us == world.clock.us
    put(world, Table.REQUEST_EXPIRY, {be64(START_US) + b"r": b""})
    world.clock.advance(5)
    removal = retire(world)
    assert removal is not None
    assert removal.time_us == world.clock.us
    world.clock.advance(596)
    assert retire(world) is None, "that was saved, too"
    world.clock.advance(5)
    assert retire(world) is not None


def test_a_leader_goes_on_where_the_one_before_left_off_no_faster_than_the_pace() -> None:
    world = World()
    world.lead(1, retention_interval_s=5)
    retire(world)
    world.clock.advance(DAY_S)
    world.lead(2, retention_interval_s=5)
    put(world, Table.REQUEST_EXPIRY, {be64(START_US - 1) + b"r": b"", be64(START_US) + b"s": b""})
    removal = retire(world)
    assert removal is not None
    assert (removal.time_us, len(removal.request_expiry_keys)) == (START_US, 1)
    world.clock.advance(60)
    removal = retire(world)
    assert removal is not None
    assert removal.time_us == START_US + 60 * PACE * SECOND_US


def test_a_leader_waits_until_the_clocks_have_settled() -> None:
    world = World()
    world.lead(1, retention_interval_s=5, retention_settle_s=7)
    for seconds in (0, 5, 1.9):
        world.clock.advance(seconds)
        assert retire(world) is None
    world.clock.advance(0.1)
    assert retire(world) is not None


def test_it_looks_as_soon_as_the_clocks_have_settled_however_seldom_it_looks_otherwise() -> None:
    world = World()
    world.lead(1, retention_interval_s=50, retention_settle_s=7)
    assert retire(world) is None
    world.clock.advance(7)
    assert retire(world) is not None


def test_one_batch_is_under_way_at_a_time_and_one_that_the_log_refused_follows_again() -> None:
    world = World()
    world.lead(1, retention_interval_s=0)
    put(world, Table.REQUEST_EXPIRY, {be64(START_US - 1) + b"r": b""})
    world.scheduler.step()
    world.scheduler.step()
    assert len(proposed(world, "retire")) == 1
    world.log.refuse = True
    world.log.pump()
    world.log.refuse = False
    removal = retire(world)
    assert removal is not None
    assert len(removal.request_expiry_keys) == 1


@pytest.mark.parametrize("table", [Table.REQUEST_EXPIRY, Table.LEDGER, Table.EXECUTIONS])
def test_where_a_batch_was_full_the_next_follows_at_once(table: Table) -> None:
    world = World()
    world.lead(1, retention_interval_s=5, retention_batch_rows=2)
    old_us = START_US - 100 * DAY_S * SECOND_US
    rows = {
        Table.REQUEST_EXPIRY: {be64(old_us + number) + b"r": b"" for number in range(4)},
        Table.LEDGER: {
            ledger_key("t", old_us + number, bytes(16)): LedgerRow().SerializeToString() for number in range(2)
        },
        Table.EXECUTIONS: {**ended(1, us=old_us), **ended(2, us=old_us), **ended(3, us=old_us)},
    }[table]
    put(world, table, rows)
    counts = []
    for _ in range(4):
        found = retire(world)
        if found is None:
            counts.append(0)
        else:
            counts.append(len(found.request_expiry_keys) + len(found.ledger_keys) + len(found.execution_ids))
    assert (
        counts
        == {Table.REQUEST_EXPIRY: [2, 2, 0, 0], Table.LEDGER: [2, 0, 0, 0], Table.EXECUTIONS: [2, 1, 0, 0]}[table]
    )
    put(world, Table.REQUEST_EXPIRY, {be64(old_us) + b"r": b""})
    assert retire(world) is None
    world.clock.advance(5)
    assert retire(world) is not None


def test_after_a_full_batch_of_the_ledger_the_next_follows_at_once() -> None:
    world = World()
    world.lead(1, retention_interval_s=5, retention_batch_rows=2)
    old_us = START_US - 100 * DAY_S * SECOND_US
    row = LedgerRow().SerializeToString()
    put(world, Table.LEDGER, {ledger_key("t", old_us + number, bytes(16)): row for number in range(2)})
    assert retire(world) is not None
    put(world, Table.REQUEST_EXPIRY, {be64(old_us) + b"r": b""})
    assert retire(world) is not None


def test_an_execution_goes_when_its_decision_is_old_and_it_has_ended() -> None:
    world = World()
    world.lead(1, keep_executions_s=DAY_S)
    old_us = START_US - DAY_S * SECOND_US
    gone = {**ended(1, us=old_us - SECOND_US), **ended(2, us=old_us - SECOND_US, trigger=Trigger.BACKFILL)}
    kept = {
        **ended(3, us=old_us - SECOND_US, fire_us=old_us),
        **ended(4, us=old_us - SECOND_US, state=ExecutionState.RUNNING),
        **ended(5, us=old_us + SECOND_US),
        **ended(6, us=old_us - 2 * SECOND_US, fire_us=old_us, trigger=Trigger.BACKFILL),
    }
    put(world, Table.EXECUTIONS, gone | kept)
    removal = retire(world)
    assert removal is not None
    assert set(removal.execution_ids) == set(gone)


def test_of_more_than_are_kept_the_oldest_go() -> None:
    world = World()
    world.lead(1, keep_executions_count=3)
    rows = [ended(number, us=START_US + number * SECOND_US) for number in range(4)]
    running = ended(9, us=START_US - SECOND_US, state=ExecutionState.RUNNING)
    for row in (*rows, running):
        put(world, Table.EXECUTIONS, row)
    removal = retire(world)
    assert removal is not None
    assert list(removal.execution_ids) == list(rows[0]), "what runs counts, and stays"


def test_an_entry_of_the_ledger_goes_when_its_decision_is_old() -> None:
    world = World()
    world.lead(1, keep_ledger_s=DAY_S)
    old_us = START_US - DAY_S * SECOND_US
    made = {
        (task, nominal_us): ledger_key(task, nominal_us, bytes(16))
        for task in "ab"
        for nominal_us in (old_us - 1, old_us)
    }
    put(world, Table.LEDGER, {key: LedgerRow(decide_us=at[1]).SerializeToString() for at, key in made.items()})
    late = ledger_key("c", old_us - 1, bytes(16))
    put(world, Table.LEDGER, {late: LedgerRow(decide_us=old_us).SerializeToString()})
    removal = retire(world)
    assert removal is not None
    assert list(removal.ledger_keys) == [made["a", old_us - 1], made["b", old_us - 1]]


def test_a_walk_goes_on_where_it_was_cut_short_and_then_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_LEDGER_ROWS_READ", 2)
    monkeypatch.setattr(retention, "_CHANGE_ROWS_READ", 2)
    world = World()
    world.lead(1, retention_interval_s=5, retention_batch_rows=2)
    old_us, late_us = START_US - 100 * DAY_S * SECOND_US, START_US + SECOND_US
    late = LedgerRow(decide_us=late_us).SerializeToString()
    put(world, Table.LEDGER, {ledger_key("t", old_us + number, bytes(16)): late for number in range(2)})
    put(world, Table.LEDGER, {ledger_key("t", old_us + 2, bytes(16)): LedgerRow().SerializeToString()})
    for table, kind in ((Table.TASK_CHANGES, pb.TaskRow), (Table.ROUNDS, pb.RoundRow)):
        field = "delete_us" if kind is pb.TaskRow else "begin_us"
        for key, us in ((b"a", late_us), (b"b", late_us), (b"c", old_us)):
            put(world, table, {key: kind(**{field: us}).SerializeToString()})
    walks = world.scheduler._retention
    found = []
    with world.store.read() as reader:
        walks._begin(reader, world.clock.monotonic())
        for _ in range(5):
            command = pb.Command()
            for walk in (walks._old_ledger, walks._old_changes, walks._old_rounds):
                walk(reader, command)
            body = command.retire
            found.append((len(body.ledger_keys), list(body.task_change_keys), list(body.round_keys)))
    # A walk looks at the last row of the one before again.
    assert [ledger for ledger, _, _ in found] == [0, 1, 0, 1, 0]
    assert [changes for _, changes, _ in found] == [[], [b"c"], [b"c"], [], [b"c"]]
    assert [rounds for _, _, rounds in found] == [[], [b"c"], [b"c"], [], [b"c"]]
