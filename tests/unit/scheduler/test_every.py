"""What the leader does about tasks that run on every executor."""

from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.v1 import policy_pb2

from raftsched.core.state.model import Decision, ExecutionState
from tests.unit.scheduler.test_scheduler import World

EVERY = policy_pb2.PLACEMENT_EVERY
LEASE_S = 5.0


def settled(*executor_ids: str, **labels: str) -> World:
    """A leader to whom every executor has had the time to come."""
    world = World()
    world.links = {each: world.connect(each, **labels) for each in executor_ids}
    pass_time(world, LEASE_S)
    return world


def pass_time(world: World, seconds: float) -> None:
    """All that are connected stay so."""
    for _ in range(int(seconds)):
        world.clock.advance(1)
        for executor_id in world.sessions:
            world.heartbeat(executor_id)
        world.settle()


def register(world: World, **fields: object) -> None:
    world.register("t", placement=EVERY, **fields)


def decided(world: World) -> list[tuple[float, int, list[str]]]:
    return [(at, row.decision, list(row.executor_ids)) for at, row in world.ledger("t")]


def test_each_executor_runs_each_nominal_time() -> None:
    world = settled("e1", "e2", "e3")
    register(world)
    pass_time(world, 1)
    assert decided(world)[-1] == (6, Decision.RAN, ["e1", "e2", "e3"])
    for link in world.links.values():
        items = link.take_assignments()
        assert sorted({item.nominal_us for item in items}) == [item.nominal_us for item in items]
        assert len(items) == len(decided(world))


def test_executors_without_the_labels_and_draining_ones_are_left_out() -> None:
    world = settled("e1", "e2", disk="ssd")
    world.connect("e3", disk="tape")
    world.scheduler.receive(world.sessions["e2"], xpb.ConnectRequest(heartbeat=xpb.Heartbeat(draining=True)))
    register(world, executor_labels={"disk": "ssd"})
    world.run()
    assert decided(world)[-1][1:] == (Decision.RAN, ["e1"])


def test_with_no_executor_that_carries_the_labels_the_nominal_time_is_skipped() -> None:
    world = settled("e1")
    register(world, executor_labels={"disk": "ssd"})
    world.run()
    *_, (_, row) = world.ledger("t")
    assert (row.decision, row.reason) == (
        Decision.SKIPPED,
        "no connected executor carries the labels; placement EVERY",
    )


def test_a_new_leader_decides_nothing_until_every_executor_has_had_a_lease_to_come_back() -> None:
    world = settled("e1", "e2")
    register(world)
    world.run()
    before = decided(world)
    world.lead(2)
    world.connect("e1")
    pass_time(world, 4)
    assert decided(world) == before
    world.connect("e2")
    pass_time(world, 1)
    fresh = decided(world)[len(before) :]
    assert len(fresh) == 5
    assert {tuple(executors) for _, _, executors in fresh} == {("e1", "e2")}


def test_an_executor_that_left_a_moment_ago_is_waited_for_and_one_whose_lease_ran_out_is_not() -> None:
    world = settled("e1", "e2")
    register(world)
    world.run()
    world.scheduler.disconnect(world.sessions.pop("e2"))
    pass_time(world, 1)
    assert decided(world)[-1][2] == ["e1", "e2"]
    link = world.connect("e2")
    world.run()
    assert link.take_assignments()[-1].nominal_us == world.clock.us
    world.scheduler.disconnect(world.sessions.pop("e2"))
    pass_time(world, 7)
    assert decided(world)[-1][2] == ["e1"]


def test_a_full_executor_delays_only_its_own() -> None:
    world = World()
    full, free = world.connect("full", slots=1), world.connect("free", slots=8)
    pass_time(world, LEASE_S)
    register(world, misfire_policy=policy_pb2.MISFIRE_POLICY_ALL)
    world.run()
    (first,) = full.take_assignments()
    assert len(free.take_assignments()) == 5
    world.report("full", first, ExecutionState.SUCCEEDED)
    world.settle()
    assert full.take_assignments()[0].nominal_us > first.nominal_us
