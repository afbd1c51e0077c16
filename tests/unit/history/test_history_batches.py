"""Records are written many at a time, and each comes out as if it had come alone."""

import pytest

from raftsched.core.state import ids
from raftsched.core.state.model import ExecutionState
from raftsched.core.state.rows import ExecutionRow
from raftsched.history.counts import Span, count
from raftsched.history.records import execution_record
from raftsched.ports import Table
from tests.support.history_bench import FAILED, NOW, SUCCEEDED, Bench, alike, record_of, retire
from tests.support.machine_driver import SECOND

ID = ids.execution_id(1, 1, NOW)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "index.sqlite")


def put(bench: Bench, *records) -> None:
    with bench.index.transaction():
        bench.index.put_all(records, 1)


def counted(bench: Bench) -> dict[int, int]:
    """Executions by state, from the sums."""
    span = Span(start_ms=0, end_ms=NOW // 1000 * 2, bucket_ms=NOW // 1000 * 2)
    (states, *_) = [bucket.states for bucket in count(bench.index.sql, span, NOW, percentiles=False).values()] or [{}]
    return dict(states)


def look_for_what_is_left(bench: Bench) -> None:
    """Nothing must be, of records that are gone; the text index raises where it was not told what it had."""
    for table in ("records", "bodies", "displaced", "rollups", "output_texts", "wanted_outputs", "outbox"):
        assert bench.index.sql.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    bench.index.sql.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")
    assert bench.index.number("records_1") == 0


def test_what_changes_twice_within_a_batch_is_as_it_was_last_and_shipped_once(bench):
    put(
        bench,
        record_of(ID, NOW, error="too early"),
        record_of(ids.execution_id(2, 1, NOW), NOW),
        record_of(ID, NOW, FAILED, error="at last"),
    )
    assert bench.keys(query="early") == []
    assert bench.keys(query="last") == [ID]
    assert counted(bench) == {ExecutionState.RUNNING: 1, FAILED: 1}
    assert bench.index.sql.execute("SELECT count(*) FROM outbox").fetchone() == (1,)


def test_what_ended_within_a_batch_does_not_change_any_more(bench):
    put(bench, record_of(ID, NOW, FAILED, error="first"), record_of(ID, NOW, SUCCEEDED, error="first and second"))
    assert counted(bench) == {FAILED: 1}
    assert bench.keys(query="second", states=frozenset((FAILED,))) == [ID]


def test_a_body_is_the_last_one_however_large_it_and_those_before_are(bench):
    for state, error in ((ExecutionState.RUNNING, ""), (ExecutionState.ASSIGNED, "x" * 300), (FAILED, "short")):
        record = record_of(ID, NOW, state, error=error)
        put(bench, record)
        assert [hit.body for hit in bench.hits()] == [record.body]
    late = record_of(ID, NOW, FAILED, error="short " + "y" * 300)
    put(bench, late)
    assert [hit.body for hit in bench.hits(query="short")] == [late.body]
    bench.index.remove([hit.seq for hit in bench.hits()])
    assert bench.index.sql.execute("SELECT count(*) FROM bodies").fetchone() == (0,)


def test_numbers_are_kept_as_they_are_and_none_stays_none(bench):
    row = ExecutionRow(task="job", nominal_us=NOW, state=FAILED)
    row.result.exit_code = -1
    put(bench, execution_record(ID, row.SerializeToString()), record_of(ids.execution_id(2, 1, NOW), NOW, SUCCEEDED))
    columns = "exit_code, duration_us, late_bin, duration_bin, backfilled_ms, executor, has_text"
    found = bench.index.sql.execute(f"SELECT {columns} FROM records ORDER BY exit_code").fetchall()
    assert found == [(None, None, None, None, None, None, 0), (-1, None, None, None, None, None, 0)]
    assert bench.keys(exit_codes=frozenset((-1,))) == [ID]


@pytest.mark.parametrize("step_us", [0, 60 * SECOND])
def test_what_comes_again_is_known_be_it_close_together_or_scattered_among_others(bench, step_us):
    keys = [ids.execution_id(number, 1, NOW + number * step_us) for number in range(200)]
    records = [record_of(key, NOW + number * step_us) for number, key in enumerate(keys)]
    put(bench, *records, *(record_of(key, NOW) for key in alike(NOW)))
    again = [*range(0, 200, 40), 199]
    put(bench, *(record_of(keys[number], NOW + number * step_us, FAILED) for number in again))
    assert set(bench.keys(states=frozenset((FAILED,)))) == {keys[number] for number in again}
    assert bench.index.number("records_1") == 202
    assert counted(bench) == {ExecutionState.RUNNING: 202 - len(again), FAILED: len(again)}


def test_what_is_removed_in_the_transaction_that_put_it_leaves_nothing(bench):
    with bench.index.transaction():
        bench.index.put_all([record_of(key, NOW, FAILED, error="words") for key in alike(NOW)], 1)
        bench.index.remove([seq for (seq,) in bench.index.sql.execute("SELECT seq FROM records").fetchall()])
    look_for_what_is_left(bench)


def test_what_ends_before_it_starts_took_no_time_and_what_never_started_none_is_known_of(bench):
    row = ExecutionRow(task="job", nominal_us=NOW, state=SUCCEEDED)
    row.result.start_us, row.result.end_us = NOW + SECOND, NOW
    put(bench, execution_record(ID, row.SerializeToString()))
    assert [hit.key for hit in bench.hits(max_duration_us=0)] == [ID]
    row.result.start_us = 0
    other = ids.execution_id(2, 1, NOW)
    put(bench, execution_record(other, row.SerializeToString()))
    assert bench.keys(min_duration_us=0) == [ID]
    assert set(bench.keys()) == {ID, other}


def test_text_that_comes_later_is_found_and_forgotten_again(bench):
    put(bench, record_of(ID, NOW))
    assert bench.keys() == [ID]
    put(bench, record_of(ID, NOW, error="first words"))
    assert bench.keys(query="words") == [ID]
    put(bench, record_of(ID, NOW))
    assert bench.keys(query="words") == []
    put(bench, record_of(ID, NOW, FAILED))
    put(bench, record_of(ID, NOW, FAILED, error="words told late"))
    assert bench.keys(query="late") == [ID]
    retire(bench, NOW + 100 * SECOND, keep_s=10)
    look_for_what_is_left(bench)


def test_a_record_without_text_is_found_by_all_but_text(bench):
    put(bench, record_of(ID, NOW, SUCCEEDED))
    states = frozenset((SUCCEEDED,))
    assert bench.keys(task="job", states=states, start_us=NOW, end_us=NOW + 1) == [ID]
    assert bench.index.sql.execute("SELECT count(*) FROM texts_docsize").fetchone() == (0,)


def test_a_record_that_has_not_changed_is_not_written_again(bench):
    put(bench, record_of(ID, NOW, error="words"))
    before = bench.index.sql.total_changes
    put(bench, record_of(ID, NOW, error="words"))
    assert bench.index.sql.total_changes == before


@pytest.mark.parametrize("together", [True, False])
def test_records_of_one_place_stand_beside_each_other_whichever_goes_first(bench, together):
    first, second = alike(NOW)
    records = [record_of(first, NOW, error="one"), record_of(second, NOW, error="two")]
    for some in [records] if together else [records[:1], records[1:]]:
        put(bench, *some)
    assert set(bench.keys()) == {first, second}
    (seq,) = [hit.seq for hit in bench.hits(query="one")]
    with bench.index.transaction():
        bench.index.remove([seq])
    # Its place is free now, and the second is still where it was.
    put(bench, record_of(second, NOW, FAILED, error="three"))
    assert (bench.keys(), bench.keys(query="two"), bench.keys(query="three")) == ([second], [], [second])
    put(bench, record_of(first, NOW, error="four"))
    assert set(bench.keys()) == {first, second}
    assert counted(bench) == {ExecutionState.RUNNING: 1, FAILED: 1}
    retire(bench, NOW + 100 * SECOND, keep_s=10)
    bench.index.sql.execute("DELETE FROM outbox")
    look_for_what_is_left(bench)


def test_catching_up_finds_what_stands_beside_its_place(bench):
    for key in alike(NOW):
        row = ExecutionRow(task="job", nominal_us=NOW, state=SUCCEEDED)
        bench.store.batch().put(Table.EXECUTIONS, key, row.SerializeToString())
    bench.store.commit()
    for _ in range(2):
        bench.catch_up()
        assert bench.index.number("records_1") == 2
    before = bench.index.sql.total_changes
    bench.catch_up()
    assert bench.index.sql.total_changes - before <= 1, "only the cursor"


def test_many_records_of_one_millisecond_are_all_there_however_they_came(bench):
    keys = [ids.execution_id(number, 1, NOW) for number in range(5_000)]
    put(bench, *(record_of(key, NOW) for key in keys[::2]))
    put(bench, *(record_of(key, NOW, SUCCEEDED) for key in reversed(keys)))
    found = bench.index.sql.execute("SELECT key, state FROM records").fetchall()
    assert dict(found) == dict.fromkeys(keys, SUCCEEDED)
    assert len(found) == len(keys)
    assert counted(bench) == {SUCCEEDED: len(keys)}


def test_a_clock_that_went_back_does_not_hide_the_newest_change_of_a_task(bench):
    for number in range(2):
        revision = bench.task("job").revision
        bench.machine.now_us -= number * 3600 * SECOND
        command = bench.machine.command()
        command.replace_task.expected_revision = revision
        command.replace_task.task.name = "job"
        command.replace_task.task.priority = number + 1
        bench.tell([bench.apply(command)])
    assert bench.index.last_revision("job") == bench.task("job").revision
