"""Wall clocks of nodes and executors that are wrong by seconds, hours and days, on real processes (libfaketime).

Executors and the commands that note their starts have true time. Each test is a row of the table in docs/testing.md.
"""

import re
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raftsched_client import Client, task
from raftsched_proto.v1 import execution_pb2

from tests.support.clock_cluster import (
    BOUND_S,
    ClockCluster,
    Recurring,
    Witness,
    check_recurring,
    check_starts,
    now_s,
    recurring,
)
from tests.support.cluster import STATUS_S, eventually
from tests.support.faketime import why_no_faketime

pytestmark = pytest.mark.skipif(bool(why_no_faketime()), reason=why_no_faketime())

HOUR_S = 3600
DAY_S = 24 * HOUR_S
LEADER, FOLLOWER = "leader", "follower"
PATIENCE_S = 180.0
"""On a busy machine an election, and all that follows, may take a while."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockCluster]:
    with ClockCluster(tmp_path_factory.mktemp("clocks")) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: ClockCluster) -> Iterator[Client]:
    cluster.make_whole()
    with cluster.client(timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "starts")


@pytest.fixture
def tasks(client: Client, witness: Witness) -> Iterator[list[Recurring]]:
    """Tasks that fire, each of which has by the time that they are given."""
    found = recurring(witness, uuid.uuid4().hex[:6])
    for each in found:
        client.create_task(each.definition)
    wait_for_starts(witness, found, 2)
    yield found
    for each in found:
        client.delete_task(each.name)


def wait_for_starts(witness: Witness, tasks: list[Recurring], more: int) -> None:
    """Until each task has begun so many times more, and began when it was due."""
    begun_s = now_s()

    def have_begun() -> bool:
        starts = [each for each in witness.started() if each.nominal_s >= begun_s]
        return all(sum(each.task == one.name for each in starts) >= more for one in tasks)

    eventually(have_begun, within_s=PATIENCE_S, what=f"{more} more starts of each task")


def step(cluster: ClockCluster, role: str, by_s: float) -> str:
    """Let the wall clock of the leader step, or that of a follower, which is asked to lead then; the node."""
    victim = cluster.leader() if role == LEADER else cluster.follower()
    cluster.clocks[victim].step_to(by_s)
    if role == FOLLOWER:
        cluster.let_lead(victim)
    return victim


def check_told(cluster: ClockCluster, client: Client, victim: str) -> None:
    """The status names the node, and by how much its clock is off."""
    off_by_s = cluster.clocks[victim].off_by_s
    direction = "ahead" if off_by_s > 0 else "behind"

    def told() -> bool:
        problems = cluster.problems(client)
        found = re.search(r"clock of this machine .*?([0-9.]+) s (ahead|behind)", problems[victim])
        return found is not None and found[2] == direction and abs(float(found[1]) - abs(off_by_s)) < 1.0

    eventually(told, within_s=PATIENCE_S, what=f"a problem of {victim} that says {off_by_s:+} s")
    blamed = [id_ for id_, problem in cluster.problems(client).items() if "clock of this machine" in problem]
    assert blamed == [victim]


@pytest.mark.parametrize("role", [LEADER, FOLLOWER])
@pytest.mark.parametrize("by_s", [30, -HOUR_S])
def test_a_clock_that_stays_wrong_moves_nothing_and_is_named(
    cluster: ClockCluster, client: Client, witness: Witness, tasks: list[Recurring], role: str, by_s: int
) -> None:
    begun_s = now_s()
    victim = step(cluster, role, by_s)
    wait_for_starts(witness, tasks, 3)
    check_told(cluster, client, victim)
    # Whoever leads by now dies: the next leader, whose clock may be the wrong one, goes on where this one was.
    died = cluster.leader()
    cluster.nodes[died].kill()
    wait_for_starts(witness, tasks, 2)
    cluster.nodes[died].start()
    cluster.clocks[victim].step_to(0)
    wait_for_starts(witness, tasks, 3)
    check_recurring(client, witness, tasks, begun_s, now_s())
    eventually(lambda: not any(cluster.problems(client).values()), what="no problem once the clock is right")


@pytest.mark.parametrize("role", [LEADER, FOLLOWER])
@pytest.mark.parametrize(("by_s", "for_s"), [(HOUR_S, 6), (40 * DAY_S, 7)])
def test_a_clock_that_is_far_ahead_for_some_seconds_moves_nothing_and_deletes_nothing(
    cluster: ClockCluster,
    client: Client,
    witness: Witness,
    tasks: list[Recurring],
    role: str,
    by_s: int,
    for_s: int,
) -> None:
    far = f"{tasks[0].name}-far"
    client.create_task(task(far, at=datetime.now(UTC) + timedelta(hours=20), command=witness.command))
    decided = {one.name: ledger(client, one.name) for one in tasks}
    ran = executions(client)
    begun_s = now_s()
    victim = step(cluster, role, by_s)
    time.sleep(for_s)
    cluster.clocks[victim].step_to(0)
    wait_for_starts(witness, tasks, 4)
    check_recurring(client, witness, tasks, begun_s, now_s())
    assert not witness.started(far), "what is due in 20 hours ran"
    assert not list(client.list_ledger(far)), "what is due in 20 hours was decided"
    for name, before in decided.items():
        assert before <= ledger(client, name), f"entries of the ledger of {name} are gone"
    assert ran <= executions(client), "executions are gone"
    client.delete_task(far)


def ledger(client: Client, name: str) -> set[str]:
    return {entry.execution_id or entry.nominal_time.ToJsonString() for entry in client.list_ledger(name)}


def executions(client: Client) -> set[str]:
    return {execution.id for execution in client.list_executions()}


def test_a_request_id_is_remembered_whatever_the_leader_took_the_time_for(
    cluster: ClockCluster, client: Client, witness: Witness, tasks: list[Recurring]
) -> None:
    request_id = uuid.uuid4().hex
    first = client.run_task(tasks[0].name, request_id=request_id)
    victim = step(cluster, LEADER, 62 * 60)
    time.sleep(8)
    cluster.clocks[victim].step_to(0)
    wait_for_starts(witness, tasks, 3)
    assert client.run_task(tasks[0].name, request_id=request_id).id == first.id
    manual = [each for each in client.list_executions() if each.trigger == execution_pb2.TRIGGER_MANUAL]
    assert [each.id for each in manual if each.task == tasks[0].name] == [first.id]


def test_a_node_that_starts_a_year_ahead_keeps_its_history_and_its_copies_of_outputs(
    cluster: ClockCluster, client: Client, witness: Witness, tasks: list[Recurring]
) -> None:
    name = f"{tasks[0].name}-long"
    client.create_task(task(name, at=datetime.now(UTC), shell="head -c 20000 /dev/zero | tr '\\0' x"))
    keeper = eventually(lambda: next((id_ for id_ in cluster.nodes if copies(cluster, id_)), None), what="a copy")
    with cluster.client(keeper, timeout=PATIENCE_S) as asked:

        def records() -> set[str]:
            return {each.execution.id for each in asked.search_logs(task=tasks[0].name, page_size=1000)}

        kept, before = copies(cluster, keeper), eventually(records, what="records in its history")
        cluster.clocks[keeper].step_to(365 * DAY_S)
        cluster.nodes[keeper].kill()
        cluster.nodes[keeper].start()
        # By the time that it has indexed what is new, it has looked for what is old.
        wait_for_starts(witness, tasks, 2)
        newest = witness.started(tasks[0].name)[-1].execution_id
        eventually(lambda: newest in records(), what="what is new in its history")
        assert before <= records(), "records are gone"
        assert kept <= copies(cluster, keeper), "copies are gone"
    client.delete_task(name)


def copies(cluster: ClockCluster, node_id: str) -> set[str]:
    """The names of whole ones; one that is being written has a name of its own until it is."""
    paths = (cluster.directory / node_id / "outputs").glob("*-*")
    return {path.name for path in paths if path.suffix != ".new"}


@pytest.mark.parametrize("off_by_s", [DAY_S, -DAY_S])
def test_an_executor_whose_clock_is_a_day_off_starts_on_time_and_its_record_is_true(
    cluster: ClockCluster, client: Client, witness: Witness, tasks: list[Recurring], off_by_s: int
) -> None:
    try:
        cluster.restart_executor(off_by_s=off_by_s)
        wait_for_starts(witness, tasks, 3)
        begun_s = now_s()
        wait_for_starts(witness, tasks, 3)
        check_recurring(client, witness, tasks, begun_s, now_s())
        began = {each.execution_id: each.at_s for each in witness.started()}
        ended = [
            each
            for each in client.list_executions(task=tasks[0].name)
            if each.HasField("end_time") and each.id in began
        ]
        assert ended
        for each in ended:
            # A shell comes before the command says so, and a busy machine before the shell.
            assert -BOUND_S <= began[each.id] - each.start_time.ToMicroseconds() / 1e6 <= 10
            assert each.start_time.ToMicroseconds() <= each.end_time.ToMicroseconds() <= (now_s() + BOUND_S) * 1e6
    finally:
        cluster.restart_executor(off_by_s=0)


def test_a_cluster_of_one_goes_on_by_the_time_that_passes_until_a_step_is_confirmed(tmp_path: Path) -> None:
    """Forward, and back."""
    witness = Witness(tmp_path / "starts")
    with ClockCluster(tmp_path, nodes=1) as alone, alone.client() as client:
        tasks = recurring(witness, "alone")
        for each in tasks:
            client.create_task(each.definition)
        wait_for_starts(witness, tasks, 2)
        decided = {one.name: ledger(client, one.name) for one in tasks}
        begun_s = now_s()
        for by_s in (HOUR_S, -HOUR_S):
            alone.clocks["n1"].step_to(by_s)
            wait_for_starts(witness, tasks, 3)
            check_told(alone, client, "n1")
            assert "raftsched cluster confirm-clock" in alone.problems(client)["n1"]
        check_recurring(client, witness, tasks, begun_s, now_s())
        for name, before in decided.items():
            assert before <= ledger(client, name), f"entries of the ledger of {name} are gone"
        # The clock is an hour behind: so it is, says the operator.
        assert abs(client.confirm_clock().total_seconds() + HOUR_S) < BOUND_S
        eventually(lambda: not any(alone.problems(client).values()), what="no problem after the word")
        client.create_task(task("after", every=timedelta(seconds=1), command=witness.command))
        eventually(
            lambda: len(witness.started("after")) >= 3, what="a new task that fires an hour earlier by the clock"
        )
        off_s = [each.at_s - HOUR_S - each.nominal_s for each in witness.started("after")]
        assert all(-BOUND_S <= each <= 10 for each in off_s), off_s
        check_starts(witness.started(*(each.name for each in tasks)))


def test_the_status_of_a_healthy_cluster_knows_the_offset_of_every_clock(cluster: ClockCluster, client: Client) -> None:
    def all_known() -> bool:
        nodes = client.get_status(timeout=STATUS_S).nodes
        return all(
            node.clock.certain
            and abs(node.clock.offset.ToMicroseconds()) < BOUND_S * 1e6
            and set(node.clock.agreeing_node_ids) == set(cluster.nodes)
            for node in nodes
        )

    eventually(all_known, what="three clocks that agree, and a small offset of each")
