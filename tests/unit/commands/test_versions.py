"""Two versions of the program on one log: they hold the same, or the older one stops."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.commands.gate import Gate, NotYetAllowed
from raftsched.commands.versions import (
    CLUSTER_VERSION_KEY,
    FIRST_VERSION,
    VERSIONS,
    Versions,
    cluster_version,
    cluster_version_row,
)
from raftsched.core import machine
from raftsched.node.replica import Replica
from raftsched.ports import STATE_TABLES, NodeOutdated, Store, Table
from raftsched.store.memory_store import MemoryStore
from tests.support.versions import NEW_COMMAND, NEW_FIELD, NEW_NUMBER, NEWER, NEWER_PROGRAM, OLDER, OLDER_PROGRAM

NOW_US = 1_800_000_000_000_000


def command(version: int = OLDER) -> pb.Command:
    return pb.Command(version=version, now_us=NOW_US, leader_id="n1", term=1)


def create(name: str, version: int = OLDER, **fields: object) -> pb.Command:
    made = command(version)
    made.register_tasks.items.add(task=task_pb2.Task(name=name, **fields), next_us=NOW_US)
    return made


def raised(to: int = NEWER) -> pb.Command:
    made = command(to)
    made.raise_version.to = to
    return made


def run(log: list[pb.Command], versions: Versions) -> Store:
    store = MemoryStore()
    for index, each in enumerate(log, 1):
        machine.apply(store.batch(), index, each.SerializeToString(), versions)
        store.commit()
    return store


def rows(store: Store) -> dict[str, list[tuple[bytes, bytes]]]:
    with store.read() as reader:
        return {table.name: list(reader.scan(table)) for table in STATE_TABLES}


def test_a_newer_command_stops_the_older_program_and_no_two_tables_differ() -> None:
    log = [create("a"), create("b", NEWER)]
    store = MemoryStore()
    machine.apply(store.batch(), 1, log[0].SerializeToString(), OLDER_PROGRAM)
    store.commit()
    for _ in range(2):
        with pytest.raises(NodeOutdated, match=f"log entry 2 is of cluster version {NEWER}.*Upgrade this node"):
            machine.apply(store.batch(), 2, log[1].SerializeToString(), OLDER_PROGRAM)
        assert not store.commit(), "something of it was applied"
    # Upgraded, it goes on.
    machine.apply(store.batch(), 2, log[1].SerializeToString(), NEWER_PROGRAM)
    store.commit()
    assert rows(store) == rows(run(log, NEWER_PROGRAM))


def test_both_versions_hold_the_same_for_as_long_as_both_go_on() -> None:
    log = [create("a"), create("b")]
    assert rows(run(log, OLDER_PROGRAM)) == rows(run(log, NEWER_PROGRAM))


def test_a_newer_program_applies_what_older_ones_wrote() -> None:
    store = run([create("a"), raised(), create("b"), create("c", NEWER)], NEWER_PROGRAM)
    with store.read() as reader:
        assert [key for key, _ in reader.scan(Table.TASKS)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    "newer",
    [
        pb.Command(version=OLDER, now_us=NOW_US, put_group=pb.PutGroup(create=True)),
        create("a", labels={"disk": "ssd"}),
        create("a", overlap_policy=NEW_NUMBER),
    ],
    ids=["command", "field", "value"],
)
def test_what_a_program_does_not_know_stops_it_whatever_version_the_entry_says(newer: pb.Command) -> None:
    with pytest.raises(NodeOutdated, match="newer version"):
        run([newer], OLDER_PROGRAM)
    run([newer], NEWER_PROGRAM)


def test_a_field_that_the_protocol_does_not_have_stops_the_node() -> None:
    data = create("a").SerializeToString() + b"\xfa\x7f\x01x"  # field 2047
    with pytest.raises(NodeOutdated, match="field 2047"):
        machine.apply(MemoryStore().batch(), 1, data)


def test_the_cluster_version_is_of_the_state_and_never_falls() -> None:
    store = run([raised(), raised(), raised(OLDER)], NEWER_PROGRAM)
    with store.read() as reader:
        assert cluster_version(reader) == NEWER
    with MemoryStore().read() as reader:
        assert cluster_version(reader) == FIRST_VERSION


def test_a_raise_that_is_not_of_its_own_version_is_rejected() -> None:
    made = raised()
    made.version = OLDER
    outcome = machine.apply(MemoryStore().batch(), 1, made.SerializeToString(), NEWER_PROGRAM).outcome
    assert outcome.code == machine.INVALID_ARGUMENT


def test_a_replica_follows_the_cluster_version_through_restarts_and_snapshots() -> None:
    store = MemoryStore()
    replica = Replica(store, "n1", NEWER_PROGRAM)
    assert replica.cluster_version == FIRST_VERSION
    replica.apply(1, raised().SerializeToString())
    assert replica.cluster_version == NEWER
    store.commit()
    assert Replica(store, "n1", NEWER_PROGRAM).cluster_version == NEWER
    store.batch().put(Table.META, CLUSTER_VERSION_KEY, cluster_version_row(FIRST_VERSION))
    store.commit()
    replica.restored()
    assert replica.cluster_version == FIRST_VERSION


def test_tables_of_a_newer_cluster_version_are_refused() -> None:
    with pytest.raises(NodeOutdated, match="state of this node is of cluster version"):
        Replica(run([raised()], NEWER_PROGRAM), "n1", OLDER_PROGRAM)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"labels": {"disk": "ssd"}}, "Task.labels"),
        ({"overlap_policy": NEW_NUMBER}, "OverlapPolicy.OVERLAP_POLICY_QUEUE"),
    ],
    ids=["field", "value"],
)
def test_the_gate_refuses_what_came_later_and_says_who_is_older(fields: dict[str, object], what: str) -> None:
    gate = Gate(lambda: OLDER, NEWER_PROGRAM, lambda version: ["n2", "n3"] if version == NEWER else [])
    gate.check(create("a"))
    with pytest.raises(NotYetAllowed, match=f"{what} needs cluster version {NEWER}.*n2 and n3 must be upgraded first"):
        gate.check(create("a", **fields))
    gate.check(create("a", NEWER, **fields))


def test_the_gate_refuses_a_command_that_came_later() -> None:
    later = pb.Command(version=OLDER, put_group=pb.PutGroup(create=True))
    with pytest.raises(NotYetAllowed, match=r"Command\.put_group"):
        Gate(lambda: OLDER, NEWER_PROGRAM).check(later)


def test_a_proposer_can_ask_before_it_uses_something() -> None:
    version = OLDER
    gate = Gate(lambda: version, NEWER_PROGRAM)
    assert not gate.allows(NEW_COMMAND)
    assert not gate.allows(NEW_FIELD)
    assert gate.allows("raftsched.v1.Task.name")
    version = NEWER
    assert gate.allows(NEW_COMMAND)


def test_all_is_allowed_at_the_newest_version() -> None:
    assert not VERSIONS.beyond(VERSIONS.newest, create("a", labels={"disk": "ssd"}))


def test_a_node_that_holds_the_cluster_version_back_says_that_it_knows_no_more() -> None:
    assert NEWER_PROGRAM.shown(0) == NEWER_PROGRAM.shown(99) == NEWER
    assert NEWER_PROGRAM.shown(OLDER) == OLDER
