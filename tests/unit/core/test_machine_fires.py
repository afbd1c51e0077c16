"""Many decisions in one entry of the log: each has its own terms, however much it has in common with others."""

from itertools import product

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.state.model import Decision
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver

T0 = 1_800_000_000 * SECOND
DUE = T0 + SECOND

TERMS = (
    {},
    {"priority": 3},
    {"notifies": True},
    {"start_deadline_us": 60 * SECOND},
    {"group": "g"},
    {"delivery": 2},
    {"misfire_policy": 2, "overlap_policy": 2, "max_running": 2},
    {"generation": 4},
    {"executor_ids": ["e2", "e3"]},
)
DECISIONS = (
    {"decision": Decision.RAN, "executor_id": "e1"},
    {"decision": Decision.RAN, "reason": "late", "count": 3},
    {"decision": Decision.RAN, "start_us": DUE + SECOND},
    {"decision": Decision.SKIPPED, "reason": "was off"},
    {"decision": Decision.COALESCED, "into_us": DUE + SECOND},
)


def items(uids: list[int], revision: int) -> list[pb.Fire.Item]:
    """Of each terms and decision two tasks, which have all in common but who they are."""
    found = []
    for number, (decided, terms, _) in enumerate(product(DECISIONS, TERMS, range(2))):
        named = {"generation": 1, "delivery": 1, "expected_revision": revision, "expected_next_us": DUE, **terms}
        item = pb.Fire.Item(task=f"t{number:03}", uid=uids[number], next_us=DUE + 5 * SECOND, **named)
        nominal_us = DUE - number % 3 * SECOND
        item.decided.add(**{"nominal_us": nominal_us, "last_nominal_us": nominal_us, "count": 1, **decided})
        found.append(item)
    # Those alike do not stand together.
    return found[::2] + found[1::2]


def fired(entries_of: int) -> tuple[dict[bytes, ExecutionRow], dict[bytes, bytes]]:
    """Executions without their tokens, which say in which entry they were decided, and the ledger."""
    machine = MachineDriver(MemoryStore(), now_us=T0)
    group = machine.command()
    group.put_group.create, group.put_group.group.name = True, "g"
    assert not machine.apply(group).code
    names = [f"t{number:03}" for number in range(2 * len(DECISIONS) * len(TERMS))]
    uids = [result.uid for result in machine.register(*names, next_us=DUE).results]
    pending = items(uids, machine.index)
    for start in range(0, len(pending), entries_of):
        command = machine.command()
        command.fire.items.extend(pending[start : start + entries_of])
        assert not machine.apply(command).code
    assert {name.decode() for name in machine.rows(Table.CURSORS)} == set(names)
    executions = {key: ExecutionRow.FromString(value) for key, value in machine.rows(Table.EXECUTIONS).items()}
    for row in executions.values():
        row.fencing_token = 0
    return executions, machine.rows(Table.LEDGER)


def test_decisions_in_one_entry_are_recorded_as_those_in_entries_of_their_own() -> None:
    together, apart = fired(entries_of=1_000), fired(entries_of=1)
    assert together == apart
    executions, ledger = together
    assert len(ledger) == 2 * len(DECISIONS) * len(TERMS)
    assert len(executions) == 2 * 3 * (len(TERMS) + 1), "those with two executors have two"
