"""The state machine on tasks that run after others."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core import machine
from raftsched.core.policy.chain import Arrival, ChainCondition, Parent, unmet
from raftsched.core.state.model import Decision, ExecutionState, Trigger
from raftsched.core.state.rows import LedgerRow, parse_ledger_key
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import MachineDriver

T0 = 1_800_000_000_000_000
SUCCEEDED, FAILED, CANCELLED = ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.CANCELLED


class Chains(MachineDriver):
    """Tasks that run after others, and executions that end as the test says."""

    def task(self, name: str, *after: str | tuple[str, int], **fields: object) -> pb.Outcome:
        command = self.command()
        task = task_pb2.Task(name=name, **fields)
        _chain(task, *after)
        command.register_tasks.items.add(task=task)
        (outcome,) = self.apply(command).results
        return outcome

    def change(self, name: str, *after: str | tuple[str, int]) -> pb.Outcome:
        row = pb.TaskRow.FromString(self.get(Table.TASKS, name.encode()))
        command = self.command()
        command.replace_task.CopyFrom(pb.ReplaceTask(task=row.task, expected_revision=row.revision))
        del command.replace_task.task.after[:]
        _chain(command.replace_task.task, *after)
        return self.apply(command)

    def start(self, name: str) -> bytes:
        command = self.command()
        command.run_task.name = name
        command.run_task.executor_id = "e1"
        return self.apply(command).execution_id

    def end(self, execution_id: bytes, state: ExecutionState = SUCCEEDED) -> None:
        self.now_us += 1
        row = self.execution(execution_id)
        if row.state == ExecutionState.PENDING:
            command = self.command()
            command.assign.items.add(id=execution_id, expected_attempt=row.attempt, executor_id="e1")
            self.apply(command)
        command = self.command()
        command.report.items.add(id=execution_id, attempt=row.attempt, state=state, executor_id="e1")
        self.apply(command)

    def execution(self, execution_id: bytes) -> pb.ExecutionRow:
        return pb.ExecutionRow.FromString(self.get(Table.EXECUTIONS, execution_id))

    def open(self, name: str) -> list[bytes]:
        """Executions of a task that have not ended."""
        rows = {key: pb.ExecutionRow.FromString(value) for key, value in self.rows(Table.EXECUTIONS).items()}
        return [key for key, row in rows.items() if row.task == name and not ExecutionState(row.state).ended]

    def ledger(self, name: str) -> list[LedgerRow]:
        rows = self.rows(Table.LEDGER).items()
        return [LedgerRow.FromString(value) for key, value in rows if parse_ledger_key(key)[0] == name]


def _chain(task: task_pb2.Task, *after: str | tuple[str, int]) -> None:
    for parent in after:
        name, on = (parent, 0) if isinstance(parent, str) else parent
        task.after.add(task=name, on=on)


@pytest.fixture
def chains() -> Chains:
    return Chains(MemoryStore(), now_us=T0)


def test_the_end_of_a_task_runs_the_next_with_the_execution_that_it_ran_after(chains: Chains) -> None:
    chains.task("a")
    chains.task("b", "a")
    first = chains.start("a")
    assert chains.open("b") == []
    chains.end(first)
    (second,) = chains.open("b")
    row = chains.execution(second)
    assert (list(row.parent_execution_ids), row.root_execution_id, row.trigger) == ([first], first, Trigger.CHAIN)
    (entry,) = chains.ledger("b")
    assert (entry.decision, entry.trigger) == (Decision.RAN, Trigger.CHAIN)
    assert list(entry.parent_execution_ids) == [first]


def test_each_condition_holds_for_the_ends_that_it_names_and_for_no_others() -> None:
    ends = {
        ChainCondition.SUCCESS: {ExecutionState.SUCCEEDED},
        ChainCondition.FAILURE: {
            ExecutionState.FAILED,
            ExecutionState.TIMED_OUT,
            ExecutionState.LOST,
            ExecutionState.EXPIRED,
        },
        ChainCondition.COMPLETION: {state for state in ExecutionState if state.ended},
    }
    for condition, holding in ends.items():
        for state in filter(lambda state: state.ended, ExecutionState):
            assert (unmet([Parent("a", condition)], [Arrival("a", b"x", state)]) == "") == (state in holding)
        assert unmet([Parent("a", condition)], [Arrival("a")]).startswith("a was skipped; runs on ")


def test_what_does_not_run_is_recorded_and_its_children_are_told(chains: Chains) -> None:
    chains.task("a")
    chains.task("b", "a")
    chains.task("mend", ("a", ChainCondition.FAILURE))
    chains.task("c", ("b", ChainCondition.COMPLETION))
    chains.end(chains.start("a"), FAILED)
    assert len(chains.open("mend")) == 1
    assert chains.open("b") == chains.open("c") == []
    assert [row.reason for row in chains.ledger("b")] == ["a ended as FAILED; runs on success of it"]
    assert [row.reason for row in chains.ledger("c")] == ["b was skipped; runs on completion of it"]


def test_a_cancelled_parent_neither_succeeded_nor_failed(chains: Chains) -> None:
    chains.task("a")
    for name, on in (("s", ChainCondition.SUCCESS), ("f", ChainCondition.FAILURE), ("c", ChainCondition.COMPLETION)):
        chains.task(name, ("a", on))
    chains.end(chains.start("a"), CANCELLED)
    assert [name for name in "sfc" if chains.open(name)] == ["c"]


def test_fan_in_waits_for_all_parents_of_the_round_and_rounds_do_not_mix(chains: Chains) -> None:
    chains.task("a")
    for name in ("b", "c"):
        chains.task(name, "a")
    chains.task("d", "b", "c")
    roots = [chains.start("a"), chains.start("a")]
    for root in roots:
        chains.end(root)
    by_root = {(name, chains.execution(key).root_execution_id): key for name in ("b", "c") for key in chains.open(name)}
    chains.end(by_root["b", roots[0]])
    chains.end(by_root["c", roots[1]])
    assert chains.open("d") == [], "one parent of each of two rounds has ended"
    chains.end(by_root["c", roots[0]])
    (joined,) = chains.open("d")
    row = chains.execution(joined)
    assert row.root_execution_id == roots[0]
    assert list(row.parent_execution_ids) == [by_root["b", roots[0]], by_root["c", roots[0]]]
    chains.end(by_root["b", roots[1]])
    assert len(chains.open("d")) == 2
    assert chains.rows(Table.ROUNDS) == {}


def test_a_round_that_begins_in_the_middle_waits_only_for_what_it_reaches(chains: Chains) -> None:
    chains.task("a")
    for name in ("b", "c"):
        chains.task(name, "a")
    chains.task("d", "b", "c")
    chains.end(chains.start("b"))
    assert len(chains.open("d")) == 1


def test_a_paused_child_is_skipped(chains: Chains) -> None:
    chains.task("a")
    chains.task("b", "a", paused=True)
    chains.end(chains.start("a"))
    assert [(row.decision, row.reason) for row in chains.ledger("b")] == [(Decision.SKIPPED, "the task was paused")]


def test_the_overlap_policy_of_the_child_holds(chains: Chains) -> None:
    chains.task("a")
    chains.task("b", "a", overlap_policy=2, max_running=1)
    for _ in range(2):
        chains.end(chains.start("a"))
    assert [row.decision for row in chains.ledger("b")] == [Decision.RAN, Decision.SKIPPED]
    assert "overlap policy SKIP" in chains.ledger("b")[1].reason


def test_an_attempt_that_is_followed_by_another_is_no_end(chains: Chains) -> None:
    chains.task("a", retry=task_pb2.RetryPolicy(max_attempts=2))
    chains.task("b", ("a", ChainCondition.COMPLETION))
    root = chains.start("a")
    chains.end(root, FAILED)
    assert chains.open("b") == []


def test_cycles_are_refused_with_their_path(chains: Chains) -> None:
    chains.task("a")
    chains.task("b", "a")
    chains.task("c", "b")
    outcome = chains.change("a", "c")
    assert (outcome.code, outcome.field) == (machine.INVALID_ARGUMENT, "task.after")
    assert outcome.message == "is a cycle: a -> b -> c -> a"
    assert chains.task("d", "d").message == "d cannot run after itself"
    assert chains.task("d", "nobody").message == "there is no task named 'nobody'"
    assert chains.change("b", "a").code == machine.OK


def test_parents_that_share_no_root_are_refused(chains: Chains) -> None:
    chains.task("a")
    chains.task("b")
    outcome = chains.task("c", "a", "b")
    assert outcome.field == "task.after"
    assert outcome.message.startswith("no task comes before all of a, b")


def test_a_parent_is_not_deleted_while_others_run_after_it(chains: Chains) -> None:
    chains.task("a")
    chains.task("b", "a")
    outcome = chains.delete("a")
    assert outcome.code == machine.FAILED_PRECONDITION
    assert "b run after the task 'a'" in outcome.message
    assert chains.delete("b").code == machine.OK
    assert chains.delete("a").code == machine.OK
    assert chains.rows(Table.CHILDREN) == {}


def test_a_task_that_runs_after_another_no_longer_holds_up_its_deletion(chains: Chains) -> None:
    chains.task("a")
    chains.task("other")
    chains.task("b", "a")
    assert chains.change("b", "other").code == machine.OK
    assert chains.delete("a").code == machine.OK
    assert chains.delete("other").code == machine.FAILED_PRECONDITION


def test_a_task_of_a_reused_name_does_not_inherit_ends(chains: Chains) -> None:
    chains.task("a")
    root = chains.start("a")
    chains.delete("a")
    chains.task("a")
    chains.task("b", "a")
    chains.end(root)
    assert chains.ledger("b") == []


@pytest.mark.parametrize("how", ["changed", "deleted", "retired"])
def test_a_round_that_can_not_end_is_recorded_as_skipped(chains: Chains, how: str) -> None:
    chains.task("a")
    for name in ("b", "c"):
        chains.task(name, "a")
    chains.task("d", "b", "c")
    chains.end(chains.start("a"))
    chains.end(chains.open("b")[0])
    assert len(chains.rows(Table.ROUNDS)) == 1
    if how == "changed":
        assert chains.change("d", "b").code == machine.OK
    elif how == "deleted":
        assert chains.delete("d").code == machine.OK
    else:
        command = chains.command()
        command.retire.round_keys.extend(chains.rows(Table.ROUNDS))
        chains.apply(command)
    assert chains.rows(Table.ROUNDS) == {}
    (entry,) = chains.ledger("d")
    assert entry.decision == Decision.SKIPPED
    assert (
        entry.reason
        == {
            "changed": "the tasks it runs after were changed",
            "deleted": "the task was deleted",
            "retired": "the tasks it runs after did not all end in time",
        }[how]
    )
