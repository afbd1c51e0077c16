"""Whatever the log holds, ``apply`` gives an outcome, and every node that applies the same log has the same tables."""

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine import COMMAND_VERSION, apply
from raftsched.core.state import ids
from raftsched.ports import STATE_TABLES, NodeOutdated, Store
from raftsched.store.lmdb_store import LmdbStore
from raftsched.store.memory_store import MemoryStore

NOW_US = 1_800_000_000_000_000
TIMES = [0, NOW_US, NOW_US + 1, NOW_US + 1_000_000]
# What the first registrations of a log are given.
UIDS = [1, 2, 3]
IDS = [ids.execution_id(uid, 1, time_us) for uid in UIDS for time_us in TIMES]


def mostly(likely: st.SearchStrategy[object], rare: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Most commands of a log must be plausible, or they never get past the first check."""
    return st.integers(0, 19).flatmap(lambda number: likely if number else rare)


integers_64 = mostly(st.sampled_from([*TIMES, *UIDS, 1, 2, 3]), st.integers(-(2**63), 2**63 - 1))
integers_32 = mostly(st.integers(0, 2), st.integers(-(2**31), 2**31 - 1))
texts = mostly(st.sampled_from(["a", "b", "e1"]), st.text(max_size=8) | st.just("x" * 600))
blobs = mostly(st.sampled_from(IDS), st.binary(max_size=20) | st.just(b"x" * 600))
SCALARS: dict[int, st.SearchStrategy[object]] = {
    Field.CPPTYPE_INT64: integers_64,
    Field.CPPTYPE_INT32: integers_32,
    Field.CPPTYPE_UINT32: st.integers(0, 3),
    Field.CPPTYPE_ENUM: integers_32,
    Field.CPPTYPE_BOOL: st.booleans(),
}


def value_of(field: Field) -> st.SearchStrategy[object]:
    if field.cpp_type == Field.CPPTYPE_STRING:
        return blobs if field.type == Field.TYPE_BYTES else texts
    return SCALARS[field.cpp_type]


def fill(data: st.DataObject, message: Message, depth: int = 0) -> None:
    """Give random fields of the message random values, likely ones more often."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and not field.has_presence:
            continue
        if field.containing_oneof is not None and field.containing_oneof.name == "kind" and depth == 0:
            continue
        if not data.draw(st.integers(0, 4)):
            continue
        target = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            target.update(data.draw(st.dictionaries(texts, texts, max_size=3)))
        elif field.is_repeated and field.message_type is not None:
            for _ in range(data.draw(st.integers(0, 2))):
                fill(data, target.add(), depth + 1)
        elif field.is_repeated:
            target.extend(data.draw(st.lists(value_of(field), max_size=2)))
        elif field.message_type is not None:
            if field.message_type.full_name.startswith("google.protobuf."):
                target.seconds = data.draw(integers_64)
            elif depth < 4:
                target.SetInParent()
                fill(data, target, depth + 1)
        else:
            setattr(message, field.name, data.draw(value_of(field)))


@st.composite
def commands(draw: st.DrawFn) -> bytes:
    data = draw(st.data())
    command = pb.Command(version=COMMAND_VERSION, now_us=NOW_US, leader_id="n1", term=1)
    if not draw(st.integers(0, 3)):
        fill(data, command)
        command.version = COMMAND_VERSION
    kind = draw(st.sampled_from([field.name for field in pb.Command.DESCRIPTOR.oneofs_by_name["kind"].fields]))
    body = getattr(command, kind)
    body.SetInParent()
    fill(data, body, 1)
    if not draw(st.integers(0, 2)):
        command.request_id = draw(st.sampled_from(["r1", "r2", "x" * 400, "x" * 401]))
    return command.SerializeToString()


def registration() -> bytes:
    command = pb.Command(version=COMMAND_VERSION, now_us=NOW_US)
    for name in ("a", "b"):
        item = command.register_tasks.items.add(next_us=NOW_US)
        item.task.name = name
    return command.SerializeToString()


def fires() -> list[bytes]:
    """Fires of what ``registration`` made due, so that random attempts find executions."""
    logs = []
    for name, uid, executor_id in (("a", UIDS[0], "e1"), ("b", UIDS[1], "")):
        command = pb.Command(version=COMMAND_VERSION, now_us=NOW_US, leader_id="n1", term=1)
        item = command.fire.items.add(
            task=name,
            uid=uid,
            generation=1,
            expected_revision=1,
            expected_next_us=NOW_US,
            next_us=NOW_US + 1_000_000,
        )
        item.decided.add(nominal_us=NOW_US, last_nominal_us=NOW_US, count=1, decision=1, executor_id=executor_id)
        logs.append(command.SerializeToString())
    return logs


START = [registration(), *fires()]


def run(store: Store, log: list[bytes]) -> list[bytes]:
    outcomes = []
    for index, entry in enumerate(START + log, 1):
        try:
            outcomes.append(apply(store.batch(), index, entry).outcome.SerializeToString(deterministic=True))
        except NodeOutdated:
            # Fields that there are not yet: the node stops before it takes anything of the entry.
            assert not store.commit()
            break
        store.commit()
    return outcomes


def dump(store: Store) -> dict[str, list[tuple[bytes, bytes]]]:
    with store.read() as reader:
        return {table.name: list(reader.scan(table)) for table in STATE_TABLES}


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes_raise_nothing_but_that_the_node_is_outdated(log: list[bytes]) -> None:
    run(MemoryStore(), log)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(commands(), max_size=12))
def test_random_commands_never_raise(log: list[bytes]) -> None:
    run(MemoryStore(), log)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(commands(), max_size=12))
def test_both_stores_hold_the_same_rows_after_the_same_log(log: list[bytes]) -> None:
    memory = MemoryStore()
    with tempfile.TemporaryDirectory() as directory:
        lmdb = LmdbStore(Path(directory) / "data", max_size_bytes=64 << 20)
        try:
            assert run(lmdb, log) == run(memory, log)
            assert dump(lmdb) == dump(memory)
        finally:
            lmdb.close()


_OTHER_PROCESS = """
import hashlib
from raftsched.core.machine import (COMMAND_VERSION, apply)
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched.ports import STATE_TABLES
from raftsched.store.memory_store import MemoryStore
command = pb.Command(version=COMMAND_VERSION, now_us=1)
task = command.register_tasks.items.add().task
task.name = "t"
task.labels.update({f"key-{number}": "value" for number in range(24)})
task.action.command.env.update({f"VARIABLE_{number}": "value" for number in range(24)})
store = MemoryStore()
apply(store.batch(), 1, command.SerializeToString(deterministic=True))
store.commit()
with store.read() as reader:
    rows = [row for table in STATE_TABLES for row in reader.scan(table)]
print(hashlib.sha256(repr(rows).encode()).hexdigest())
"""


def test_every_process_writes_the_same_bytes() -> None:
    digests = {
        subprocess.run([sys.executable, "-c", _OTHER_PROCESS], check=True, capture_output=True, text=True).stdout
        for _ in range(3)
    }
    assert len(digests) == 1, "maps have another order in each process unless they are written in key order"
