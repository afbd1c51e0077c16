"""Uids, execution ids and fencing tokens: which are never equal, and which are higher than which."""

import re
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.clock import SystemClock
from raftsched.core.machine.numbers import found, raise_epoch
from raftsched.core.state.ids import MAX_SHARD_ID, uid_before_first
from raftsched.core.state.model import Decision, ExecutionState
from raftsched.core.state.rows import ExecutionRow
from raftsched.executor.attempt_journal import AssignmentVerdict, AttemptJournal
from raftsched.history.follow import HistoryFollower
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.history_bench import Bench
from tests.support.machine_driver import SECOND, MachineDriver

T0 = 1_800_000_000 * SECOND
MAX_INT64 = (1 << 63) - 1
ROOT = Path(__file__).parents[3]


class Shard(MachineDriver):
    """Tasks t0, t1, ... that are due each second after T0."""

    def __init__(self, shard_id: int = 1, tasks: int = 1) -> None:
        super().__init__(MemoryStore(), now_us=T0, shard_id=shard_id)
        done = self.register(*(f"t{number}" for number in range(tasks)), next_us=T0 + SECOND)
        self.uids = [each.uid for each in done.results]
        self.registered = self.index
        self.seconds = 0

    def fire_all(self, executor_id: str = "e1") -> list[bytes]:
        """Fire all tasks in one entry; the new executions."""
        self.seconds += 1
        self.now_us = due_us = T0 + self.seconds * SECOND
        command = self.command()
        for number, uid in enumerate(self.uids):
            item = command.fire.items.add(
                task=f"t{number}",
                uid=uid,
                generation=1,
                expected_revision=self.registered,
                expected_next_us=due_us,
                next_us=due_us + SECOND,
            )
            item.decided.add(
                nominal_us=due_us, last_nominal_us=due_us, count=1, decision=Decision.RAN, executor_id=executor_id
            )
        made = [key for key, _ in self.apply_bytes(command.SerializeToString()).executions]
        assert len(made) == len(self.uids)
        return made

    def again(self, execution_id: bytes) -> int:
        """Take the attempt from its executor and give the next one away; the token of that."""
        attempt = self.row(execution_id).attempt
        command = self.command()
        command.expire.items.add(id=execution_id, expected_attempt=attempt)
        assert not self.apply(command).code
        command = self.command()
        command.assign.items.add(id=execution_id, expected_attempt=attempt + 1, executor_id="e2")
        assert not self.apply(command).code
        assert self.row(execution_id).state == ExecutionState.ASSIGNED
        return self.token(execution_id)

    def row(self, execution_id: bytes) -> pb.ExecutionRow:
        return ExecutionRow.FromString(self.get(Table.EXECUTIONS, execution_id))

    def token(self, execution_id: bytes) -> int:
        return self.row(execution_id).fencing_token

    def tokens(self, execution_ids: list[bytes]) -> list[int]:
        return [self.token(each) for each in execution_ids]


def rises(tokens: list[int]) -> bool:
    return all(earlier < later for earlier, later in pairwise(tokens))


def test_two_shards_with_equal_logs_give_other_uids_and_execution_ids() -> None:
    one, other = Shard(1, tasks=5), Shard(2, tasks=5)
    assert not set(one.uids) & set(other.uids)
    assert not set(one.fire_all()) & set(other.fire_all())


def test_a_shard_never_gives_a_uid_twice() -> None:
    shard = Shard(tasks=300)
    shard.register("t0", "more", next_us=T0)  # the first of them exists
    shard.delete("t0")
    again = shard.register("t0", next_us=T0).results[0].uid
    assert rises([*shard.uids, again])


@pytest.mark.parametrize("shard_id", [1, 2, MAX_SHARD_ID])
def test_uids_of_a_shard_are_positive_numbers_of_64_bits_below_those_of_the_next(shard_id: int) -> None:
    assert uid_before_first(shard_id) < Shard(shard_id).uids[0] <= min(MAX_INT64, (shard_id + 1 << 48) - 1)


@pytest.mark.parametrize("shard_id", [0, MAX_SHARD_ID + 1])
def test_there_is_no_shard_whose_uids_do_not_fit(shard_id: int) -> None:
    with pytest.raises(AssertionError, match="no shard"):
        uid_before_first(shard_id)


@pytest.mark.parametrize("tasks", [1, 2, 256, 257, 600])
def test_each_attempt_has_a_token_of_its_own_and_later_entries_give_higher_ones(tasks: int) -> None:
    shard = Shard(tasks=tasks)
    tokens = [token for _ in range(3) for token in shard.tokens(shard.fire_all())]
    assert len(tokens) == 3 * tasks
    assert rises(tokens)


def test_a_later_attempt_has_a_higher_token_than_all_before_it() -> None:
    shard = Shard(tasks=600)
    execution_ids = shard.fire_all()
    seen = shard.tokens(execution_ids)
    for execution_id in execution_ids[:3]:
        seen.append(shard.again(execution_id))
    assert rises(seen)


def test_tokens_of_a_task_rise_when_it_moves_to_a_shard_with_a_shorter_log_and_back() -> None:
    old, new = Shard(1, tasks=600), Shard(2)
    for _ in range(20):
        last = old.tokens(old.fire_all())[-1]
    raise_epoch(new.store.batch(), above=last)
    new.store.commit()
    moved = new.tokens(new.fire_all())
    raise_epoch(old.store.batch(), above=moved[-1])
    old.store.commit()
    assert rises([last, *moved, *old.tokens(old.fire_all())])


def test_what_a_recovered_cluster_gives_is_higher_than_what_was_lost_with_the_one_before() -> None:
    lost, left = Shard(tasks=3), Shard(tasks=3)
    for _ in range(50):
        given = lost.tokens(lost.fire_all())
    found(left.store.batch(), 1)
    left.store.commit()
    execution_ids = left.fire_all()
    assert rises([*given, *left.tokens(execution_ids)])
    assert left.uids == lost.uids


def test_tokens_stay_exact_in_programs_that_count_in_floating_point() -> None:
    shard = Shard()
    for _ in range(1000):
        found(shard.store.batch(), 1)
        shard.store.commit()
    shard.index = 1 << 40
    assert shard.tokens(shard.fire_all())[0] < 1 << 53


def test_an_executor_takes_attempts_of_two_shards_with_equal_logs_for_what_they_are(tmp_path: Path) -> None:
    one, other = Shard(1), Shard(2)
    (first,), (second,) = one.fire_all(), other.fire_all()
    assert one.index == other.index
    journal = AttemptJournal(tmp_path, "e", SystemClock(), 100, 1 << 20)
    journal.accept((first, 1), one.token(first))
    assert journal.judge((first, 1), one.token(first)) is AssignmentVerdict.REPEATED
    assert journal.judge((second, 1), other.token(second)) is AssignmentVerdict.NEW
    journal.accept((second, 1), other.token(second))
    journal.end((second, 1), b"report")
    journal.commit()
    journal.close()
    journal = AttemptJournal(tmp_path, "e", SystemClock(), 100, 1 << 20)
    assert {key: held.report for key, held in journal.held.items()} == {(first, 1): None, (second, 1): b"report"}
    assert journal.judge((first, 2), one.again(first)) is AssignmentVerdict.NEW
    journal.close()


def test_an_executor_takes_the_next_attempt_of_an_execution_that_has_moved(tmp_path: Path) -> None:
    old, new = Shard(1), Shard(2)
    for _ in range(30):
        (execution_id,) = old.fire_all()
    journal = AttemptJournal(tmp_path, "e", SystemClock(), 100, 1 << 20)
    journal.accept((execution_id, 1), old.token(execution_id))
    new.fire_all()
    raise_epoch(new.store.batch(), above=old.token(execution_id))
    new.store.batch().put(Table.EXECUTIONS, execution_id, old.get(Table.EXECUTIONS, execution_id))
    new.store.commit()
    assert new.index < old.index
    assert journal.judge((execution_id, 2), new.again(execution_id)) is AssignmentVerdict.NEW
    journal.close()


def test_the_history_keeps_executions_of_two_shards_with_equal_logs_apart(tmp_path: Path) -> None:
    one = Bench(tmp_path / "index")
    one.tell(one.run("job"))
    other = Bench(tmp_path / "other")
    other.store = MemoryStore()
    other.machine = MachineDriver(other.store, now_us=one.machine.now_us - SECOND, shard_id=2)
    other.machine.register("job", "other", next_us=2 * T0)
    other.follower = HistoryFollower(one.index, other.store)
    other.tell(other.run("job"))
    assert one.machine.index == other.machine.index
    assert len({hit.key for hit in one.hits(task="job")}) == 2


def test_the_condition_of_the_documents_lets_no_older_attempt_write() -> None:
    text = (ROOT / "docs/actions.md").read_text()
    (statement,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    sql = sqlite3.connect(":memory:")
    sql.execute("CREATE TABLE invoices (id, state, fencing_token)")
    sql.execute("INSERT INTO invoices VALUES (7, 'open', 0)")
    written = [sql.execute(statement, {"token": token, "id": 7}).rowcount for token in (20, 20, 10, 30, 20)]
    assert written == [1, 1, 0, 1, 0]
