"""What becomes of the reports of executors on their way into the log."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.core.state.model import ExecutionState
from raftsched.scheduler import reports
from raftsched.scheduler.reports import Reporter
from tests.unit.scheduler.test_scheduler import Link, World

SUCCEEDED = ExecutionState.SUCCEEDED


def acknowledged(link: Link) -> list[xpb.AttemptKey]:
    return [key for message in link.sent for key in message.acknowledge.keys]


def send(world: World, items: list[xpb.Assignment], state: ExecutionState = SUCCEEDED) -> None:
    message = xpb.ConnectRequest()
    for item in items:
        message.reports.items.add(
            key=item.key, state=state, result=AttemptResult(start_us=world.clock.us, end_us=world.clock.us)
        )
    world.scheduler.receive(world.sessions["e1"], message)


def reporter_of(**settings: int) -> tuple[Reporter, World]:
    """The reporter of a leader that nobody lets take a step."""
    world = World()
    scheduler = world.lead(2, **settings)
    return scheduler._reporter, world


def report(number: int, state: ExecutionState = SUCCEEDED, **result: object) -> xpb.AttemptReport:
    key = xpb.AttemptKey(execution_id=bytes([number] * 16), attempt=1)
    return xpb.AttemptReport(key=key, state=state, result=AttemptResult(**result), fencing_token=7)


def proposed(world: World) -> list[list[pb.Report.Item]]:
    """What each command that is under way reports."""
    return [list(pb.Command.FromString(command).report.items) for command, _ in world.log.queue]


def test_an_end_that_the_log_refused_is_proposed_again_and_acknowledged_only_then() -> None:
    world = World()
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    send(world, [item])
    world.log.refuse = True
    world.scheduler.step()
    assert world.log.pump() == 1
    assert acknowledged(link) == []
    world.log.refuse = False
    world.settle()
    assert acknowledged(link) == [item.key]
    assert world.execution(item.key.execution_id).state == SUCCEEDED


def test_a_start_is_recorded_and_not_acknowledged_as_an_end_is() -> None:
    world = World()
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    send(world, [item], ExecutionState.RUNNING)
    world.settle()
    assert world.execution(item.key.execution_id).state == ExecutionState.RUNNING
    assert acknowledged(link) == []


def test_an_executor_whose_reports_find_no_room_is_cut_off_and_sends_them_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reports, "MAX_QUEUED_BYTES", 2 * 400)
    world = World()
    link = world.connect("e1")
    world.register("tick")
    world.run(3.0)
    first, second, third = link.take_assignments()
    send(world, [first, second])
    assert not link.closed
    send(world, [third])
    assert link.closed
    world.settle()
    assert acknowledged(link) == [first.key, second.key]
    again = world.connect("e1", held=[(third.key.execution_id, 1)])
    send(world, [third])
    world.settle()
    assert acknowledged(again) == [third.key]


def test_ends_in_one_message_with_starts_are_acknowledged_and_let_go() -> None:
    world = World()
    link = world.connect("e1")
    world.register("tick")
    world.run(3.0)
    items = link.take_assignments()
    message = xpb.ConnectRequest()
    for item, state in zip(items, (ExecutionState.RUNNING, SUCCEEDED, SUCCEEDED), strict=True):
        message.reports.items.add(key=item.key, state=state, result=AttemptResult(start_us=world.clock.us))
    world.scheduler.receive(world.sessions["e1"], message)
    world.settle()
    assert acknowledged(link) == [item.key for item in items[1:]]
    assert world.sessions["e1"].held.keys() == {(items[0].key.execution_id, 1)}


@pytest.mark.parametrize("result", [{"error": "x" * 400}, {"output_tail": b"x" * 400}], ids=["error", "output"])
def test_a_command_has_as_much_as_its_bytes_allow_and_texts_count(
    monkeypatch: pytest.MonkeyPatch, result: dict[str, object]
) -> None:
    monkeypatch.setattr(reports, "_BATCH_BYTES", 1_600)
    reporter, world = reporter_of()
    reporter.take("e1", [report(number, **result) for number in range(3)])
    reporter.step()
    assert list(map(len, proposed(world))) == [2]
    world.log.pump()
    reporter.step()
    assert list(map(len, proposed(world))) == [1]


def test_behind_a_command_that_is_under_way_only_whole_ones_follow_and_no_more_than_may_be() -> None:
    reporter, world = reporter_of(report_batch_items=2, pipeline_commands=3)
    reporter.take("e1", map(report, range(4)))
    reporter.step()
    assert list(map(len, proposed(world))) == [2, 2]
    reporter.take("e1", [report(4)])
    reporter.step()
    assert list(map(len, proposed(world))) == [2, 2], "one alone waits for company"
    reporter.take("e1", map(report, range(5, 9)))
    reporter.step()
    assert list(map(len, proposed(world))) == [2, 2, 2]
    world.log.pump()
    reporter.step()
    assert list(map(len, proposed(world))) == [2]
    world.log.pump()
    reporter.step()
    assert list(map(len, proposed(world))) == [1]


def test_how_long_reports_may_wait_counts_from_the_first_of_them() -> None:
    reporter, world = reporter_of()
    assert reporter.patience_s() == 0
    world.clock.advance(10.0)
    reporter.take("e1", [report(1)])
    assert reporter.patience_s() == pytest.approx(0.02)
    world.clock.advance(0.015)
    reporter.take("e1", [report(2)])
    assert reporter.patience_s() == pytest.approx(0.005)
    world.clock.advance(1.0)
    assert reporter.patience_s() == 0
    reporter.step()
    reporter.take("e1", [report(3)])
    assert reporter.patience_s() == pytest.approx(0.02), "what was queued before is under way"


@pytest.mark.parametrize(("unhurried", "most"), [(False, 31), (True, 39)])
def test_so_many_reports_wait_for_no_more(unhurried: bool, most: int) -> None:
    reporter, _ = reporter_of(report_batch_items=40)
    reporter.take("e1", map(report, range(most)), unhurried=unhurried)
    assert reporter.patience_s() > 0
    reporter.take("e1", [report(most)], unhurried=unhurried)
    assert reporter.patience_s() == 0


def test_what_is_queued_is_waited_for_if_any_of_it_is() -> None:
    reporter, _ = reporter_of()
    reporter.take("e1", [report(1)], unhurried=True)
    assert not reporter.is_waited_for
    reporter.take("e1", [report(2)])
    reporter.take("e1", [report(3)], unhurried=True)
    assert reporter.is_waited_for
    reporter.step()
    reporter.take("e1", [report(4)], unhurried=True)
    assert not reporter.is_waited_for


def test_ends_that_another_attempt_may_follow_have_the_jitter_of_its_wait() -> None:
    reporter, world = reporter_of()
    world.clock.uniform = lambda low, high: low + (high - low) / 4
    states = (SUCCEEDED, ExecutionState.FAILED, ExecutionState.CANCELLED, ExecutionState.TIMED_OUT)
    reporter.take("e1", [report(number, state) for number, state in enumerate(states)])
    reporter.step()
    [items] = proposed(world)
    assert [item.jitter_ppm for item in items] == [0, 250_000, 0, 250_000]


def test_what_is_given_back_is_known_as_such_until_the_log_has_it() -> None:
    reporter, world = reporter_of()
    reporter.take("e1", [report(1), report(2, ExecutionState.PENDING)])
    given_back = {((bytes([2] * 16), 1), 7)}
    assert reporter.given_back == given_back
    reporter.step()
    world.log.refuse = True
    world.log.pump()
    assert reporter.given_back == given_back
    world.log.refuse = False
    reporter.step()
    world.log.pump()
    assert reporter.given_back == set()


def test_a_second_copy_of_an_output_goes_into_the_log_and_is_not_acknowledged() -> None:
    reporter, world = reporter_of()
    link = world.connect("e1")
    link.sent.clear()
    world.clock.advance(10.0)
    key = xpb.AttemptKey(execution_id=bytes([1] * 16), attempt=1)
    reporter.take_copied("e1", xpb.OutputCopied(key=key, node_id="n2"))
    assert reporter.patience_s() == pytest.approx(0.02)
    assert not reporter.is_waited_for
    reporter.step()
    [[item]] = proposed(world)
    assert (item.id, item.attempt, item.executor_id, item.output_copy_node_id) == (key.execution_id, 1, "e1", "n2")
    world.log.pump()
    assert link.sent == []


def test_what_the_log_has_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_QUEUED_BYTES", 2 * 400)
    reporter, world = reporter_of()
    for _ in range(3):
        assert reporter.take("e1", [report(1), report(2)])
        assert not reporter.take("e1", [report(3)])
        reporter.step()
        world.log.pump()
