"""The index knows every attempt of an execution, not only the last."""

import gzip
import hashlib
import sqlite3
from pathlib import Path

import pytest
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult
from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.core.state.rows import ExecutionRow
from raftsched.history import schema
from raftsched.history.documents import document
from raftsched.history.frames import ChangedRows
from tests.support.history_bench import FAILED, SUCCEEDED, Bench, alike, record_of, retire
from tests.support.machine_driver import SECOND

WRITTEN_BY_VERSION_8 = Path(__file__).parents[2] / "fixtures" / "history-index-version-8.sqlite.gz"
"""Of a ``Bench``: a success, one with an output of 500 bytes, a failure with the error "exit code 7: no route to host",
one that is armed, two that run and have the same first place, and the changes of both tasks."""
FIRST_US = 2 * SECOND
"""How long after its nominal time the first attempt starts."""


class Retried(Bench):
    """A task that is tried again, run once."""

    def __init__(self, path):
        super().__init__(path)
        command = self.machine.command()
        task = task_pb2.Task(name="retried", retry=task_pb2.RetryPolicy(max_attempts=100))
        command.register_tasks.items.add(task=task)
        self.apply(command)
        command = self.machine.command()
        command.run_task.name = "retried"
        command.run_task.executor_id = "e1"
        self.begun = self.apply(command)
        (self.id,) = self.begun.executions
        self.machine.now_us += FIRST_US

    def end(self, state: int, error: str = "", output: bytes = b"", stored: bytes = b"") -> ChangedRows:
        """Report the present attempt, which started just now."""
        row = self.row(self.id)
        start_us = self.machine.now_us
        self.machine.now_us += SECOND
        command = self.machine.command()
        command.report.items.add(
            id=self.id,
            attempt=row.attempt,
            executor_id=row.executor_id,
            state=state,
            result=AttemptResult(
                error=error,
                start_us=start_us,
                end_us=start_us + 1,
                output_tail=output or stored[-4096:],
                output_size_bytes=len(stored or output),
                output_stored_bytes=len(stored),
                output_sha256=hashlib.sha256(stored).digest() if stored else b"",
            ),
        )
        return self.apply(command)

    def again(self) -> list[ChangedRows]:
        """The wait is over, and an executor has the next attempt."""
        row = self.row(self.id)
        self.machine.now_us = max(self.machine.now_us, row.not_before_us)
        wake = self.machine.command()
        wake.wake.items.add(due_us=row.not_before_us, id=self.id)
        assign = self.machine.command()
        assign.assign.items.add(id=self.id, expected_attempt=row.attempt, executor_id="e2")
        return [self.apply(wake), self.apply(assign)]

    def found(self, query: str) -> bool:
        return self.keys(query=query) == [self.id]


@pytest.fixture
def bench(tmp_path):
    return Retried(tmp_path / "index.sqlite")


def test_the_words_of_a_failed_attempt_are_found_before_and_after_a_later_one_succeeds(bench):
    bench.tell([bench.begun, bench.end(FAILED, "exit code 7", b"no route to host")])
    assert bench.found("route")
    bench.tell([*bench.again(), bench.end(SUCCEEDED, output=b"delivered")])
    for query in ("route", 'output:"no route to host"', 'error:"exit code 7"', "delivered", "route delivered"):
        assert bench.found(query), query
    assert not bench.found("error:route")
    (hit,) = bench.hits(query="route")
    assert hit.snippet == "no route to host"


def test_they_are_found_when_all_was_missed_until_the_end(bench):
    bench.end(FAILED, "exit code 7", b"no route to host")
    bench.again()
    bench.end(SUCCEEDED, output=b"delivered")
    bench.catch_up()
    assert bench.found("route")
    assert bench.found("delivered")


def test_each_of_many_attempts_is_found(bench):
    for number in range(40):
        bench.end(FAILED, f"error{number}", f"output{number}".encode())
        bench.again()
    bench.tell([bench.end(SUCCEEDED)])
    assert all(bench.found(f"{kind}{number}") for kind in ("error", "output") for number in range(40))
    (hit,) = bench.hits(task="retried")
    assert ExecutionRow.FromString(hit.body).past_attempts[0].result.output_tail == b"output0"


def test_nothing_is_found_of_a_record_that_was_removed(bench):
    bench.tell([bench.begun, bench.end(FAILED, "exit code 7", b"no route to host")])
    bench.tell([*bench.again(), bench.end(SUCCEEDED, stored=b"long " * 2000)])
    (hit,) = bench.hits(task="retried")
    with bench.index.transaction():
        bench.index.set_output(hit.seq, bench.id, "beginning of what is long")
    assert bench.found("beginning")
    assert bench.found("route")
    with bench.index.transaction():
        bench.index.remove([hit.seq])
    for query in ("route", "beginning", "code", "long"):
        assert bench.keys(query=query) == []
    # What FTS5 was told to forget is what it was told before, or this raises.
    bench.index.sql.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")


def test_text_that_has_not_changed_is_not_indexed_again(bench):
    bench.tell([bench.begun, bench.end(FAILED, "exit code 7", b"no route to host")])
    writes = []
    bench.index.sql.set_trace_callback(lambda text: writes.append(text) if "INTO texts" in text else None)
    bench.tell(bench.again())
    assert writes == []


def test_lateness_counts_from_the_first_start_whatever_comes_after(bench):
    for _ in range(12):
        bench.end(FAILED)
        bench.again()
    bench.tell([bench.end(SUCCEEDED)])
    (hit,) = bench.hits(task="retried")
    shipped = document(bench.index.sql, hit.seq, "test")
    assert shipped is not None
    assert shipped.fields["lateness_ms"] == FIRST_US / 1000
    (late_us,) = bench.index.sql.execute("SELECT late_bin FROM records WHERE seq = ?", (hit.seq,)).fetchone()
    assert 1.05**late_us == pytest.approx(FIRST_US, rel=0.06)


@pytest.mark.parametrize("version", [6, 7])
def test_an_index_of_a_version_before_keeps_its_records_and_goes_on(tmp_path, version):
    path = tmp_path / "index.sqlite"
    bench = Retried(path)
    at_us = bench.machine.now_us
    first, second = alike(at_us)
    bench.tell(bench.run("job", output=b"of old"))
    with bench.index.transaction():
        for key in (first, second):
            bench.index.put(record_of(key, at_us), 1)
    bench.index.sql.close()
    with sqlite3.connect(path) as sql:
        sql.executescript(
            "INSERT INTO bodies SELECT seq, body FROM records WHERE body IS NOT NULL; "
            "ALTER TABLE records DROP COLUMN body; DROP INDEX records_state; "
            "CREATE INDEX records_state ON records (state, seq); "
            "ALTER TABLE records DROP COLUMN has_text; DROP TABLE displaced; "
            f"CREATE UNIQUE INDEX records_key ON records (key); PRAGMA user_version = {version};"
        )
    sql.close()
    bench.open(path)
    assert bench.keys(query="old") == bench.keys(task="job", states=frozenset((SUCCEEDED,))) != []
    assert bench.index.sql.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    bench.tell([bench.begun, bench.end(FAILED, "exit code 7", b"no route to host")])
    assert bench.found("route")
    # What stood beside its place is found there.
    with bench.index.transaction():
        for key in (first, second):
            bench.index.put(record_of(key, at_us, error="seen again"), 1)
    assert set(bench.keys(query="seen")) == {first, second}
    assert bench.index.number("records_1") == 4
    # Of old records it is not written down whether they have text.
    retire(bench, bench.machine.now_us + 100 * SECOND, keep_s=10)
    assert bench.keys() == []
    bench.index.sql.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")


def test_an_index_that_the_version_before_wrote_keeps_its_records_and_goes_on(tmp_path):
    path = tmp_path / "index.sqlite"
    path.write_bytes(gzip.decompress(WRITTEN_BY_VERSION_8.read_bytes()))
    bench = Bench(path)
    success, with_output, failure = (bench.run("job"), bench.run("job"), bench.run("other", state=FAILED))
    at_us = bench.machine.now_us
    execution_id, armed = bench.arm("job")
    displaced = alike(at_us)

    def ids(*states: int) -> set[bytes]:
        return {ExecutionRow.FromString(hit.body) and hit.key for hit in bench.hits(states=frozenset(states))}

    first, second, third = (entries[0].executions[0] for entries in (success, with_output, failure))
    assert bench.index.sql.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    assert ids(SUCCEEDED) == {first, second}
    assert ids(FAILED, ExecutionState.ARMED) == {third, execution_id}
    assert bench.keys(query='"long ago"') == [second]
    assert bench.keys(query="error:route") == [third]
    # All of them as a start that was told nothing finds them, and then the end of one that was open.
    bench.catch_up()
    bench.tell([armed, bench.end(execution_id)])
    assert ids(SUCCEEDED) == {first, second, execution_id}
    # Of the state of the version before only its records are left, open ones without a state that has them included.
    assert ids(ExecutionState.ARMED, ExecutionState.RUNNING) == set()
    with bench.index.transaction():
        for key in displaced:
            bench.index.put(record_of(key, at_us, FAILED, error="seen again"), 1)
    assert set(bench.keys(query="seen")) == set(displaced)
    retire(bench, bench.machine.now_us + 100 * SECOND, keep_s=10)
    assert bench.keys() == []
    assert bench.index.sql.execute("SELECT count(*) FROM bodies").fetchone() == (2,), "only those of changes are left"
    bench.index.sql.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")


def test_what_is_told_of_an_attempt_after_the_execution_has_ended_is_found(bench):
    expire = bench.machine.command()
    expire.expire.items.add(id=bench.id, expected_attempt=1, reason="its lease ran out")
    bench.tell([bench.begun, bench.apply(expire)])
    assign = bench.machine.command()
    assign.assign.items.add(id=bench.id, expected_attempt=2, executor_id="e2")
    bench.tell([bench.apply(assign), bench.end(SUCCEEDED, stored=b"long " * 2000)])
    (hit,) = bench.hits(task="retried")
    with bench.index.transaction():
        bench.index.set_output(hit.seq, bench.id, "beginning of what is long")
    late = bench.machine.command()
    late.report.items.add(
        id=bench.id,
        attempt=1,
        executor_id="e1",
        state=FAILED,
        result=AttemptResult(output_tail=b"no route", output_size_bytes=8),
    )
    bench.tell([bench.apply(late)])
    for query in ("route", "beginning", "lease"):
        assert bench.found(query), query
    assert bench.index.sql.execute("SELECT count(*) FROM outbox").fetchone() == (1,)
