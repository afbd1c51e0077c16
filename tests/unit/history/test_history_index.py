"""The index follows the state tables, whatever it missed."""

import re
import sqlite3
from collections.abc import Callable

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult
from raftsched_proto.v1 import history_pb2

from raftsched.core.state import ids
from raftsched.core.state.model import ExecutionState, Trigger
from raftsched.core.state.rows import ExecutionRow
from raftsched.history import schema
from raftsched.history.counts import Span, count
from raftsched.history.documents import document
from raftsched.history.follow import HistoryFollower
from raftsched.history.frames import ChangedRows, Parser, Word, entry_frame, parse_entry
from raftsched.history.index import Index
from raftsched.history.records import execution_record
from raftsched.history.retention import IndexRetention
from raftsched.history.search import Search, recent_runs, search
from raftsched.ports import Table
from tests.support.history_bench import FAILED, FIRST_US, NOW, SUCCEEDED, Bench, retire, settings
from tests.support.machine_driver import SECOND


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "index.sqlite")


def test_what_was_told_and_what_was_found_is_the_same(bench, tmp_path):
    entries = [bench.run("job", state=FAILED, error=f"refused {n}") for n in range(30)]
    bench.tell([each for pair in entries for each in pair])
    told = bench.rows()
    bench.index = Index(schema.open_writer(tmp_path / "second.sqlite", "test"))
    bench.follower = HistoryFollower(bench.index, bench.store)
    bench.catch_up()
    executions = [row for row in bench.rows() if row[1] == 1]
    assert executions == told
    assert bench.index.cursor > 0
    assert len(bench.keys(query="refused")) == 30


def test_an_execution_is_indexed_as_it_ended_even_when_its_steps_were_missed(bench):
    started, ended = bench.run("job", output=b"all is well")
    bench.tell([started])
    bench.tell([ended])
    (row,) = [row for row in bench.rows() if row[1] == 1]
    assert (row[2], row[3], row[4]) == (SUCCEEDED, "e1", 1000)
    assert bench.keys(query="well") == bench.keys(task="job")


def test_what_is_armed_when_all_is_compared_is_indexed_again_as_it_ends(bench):
    def states() -> list[int]:
        return [run.state for runs in recent_runs(bench.index.sql, ["job"], 10) for run in runs]

    changes_of_tasks = 2
    execution_id, _ = bench.arm("job")
    bench.catch_up()
    assert states() == [ExecutionState.ARMED]
    assert bench.index.sql.execute("SELECT count(*) FROM outbox").fetchone() == (changes_of_tasks,)
    bench.machine.now_us = FIRST_US + 5
    command = bench.machine.command()
    command.report.items.add(id=execution_id, attempt=1, state=SUCCEEDED, executor_id="e1")
    bench.apply(command)
    bench.catch_up()
    assert states() == [SUCCEEDED]
    assert bench.index.sql.execute("SELECT count(*) FROM outbox").fetchone() == (changes_of_tasks + 1,)


def test_an_armed_execution_that_vanished_meanwhile_is_forgotten(bench):
    execution_id, changed = bench.arm("job")
    bench.tell([changed])
    bench.store.batch().delete(Table.EXECUTIONS, execution_id)
    bench.store.commit()
    bench.catch_up()
    assert not bench.keys(kinds=frozenset({1}))


def test_what_is_armed_is_late_when_it_has_not_started_long_after_its_time(bench):
    _, changed = bench.arm("job")
    bench.tell([changed])
    span = Span(start_ms=FIRST_US // 1000 - 1000, end_ms=FIRST_US // 1000 + 1000, bucket_ms=2000, task="job")

    def late(now_us: int) -> int:
        (bucket,) = count(bench.index.sql, span, now_us, percentiles=False).values()
        assert bucket.states == {ExecutionState.ARMED: 1}
        return bucket.late

    assert [late(FIRST_US + seconds * SECOND) for seconds in (-1, 9, 12)] == [0, 0, 1]


def test_what_is_shipped_of_an_output_is_what_a_terminal_would_show(bench):
    bench.tell(bench.run("job", output=b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07and \xff"))
    (hit,) = bench.hits()
    shipped = document(bench.index.sql, hit.seq, "test")
    assert shipped is not None
    assert shipped.fields["output_tail"] == "red and \ufffd"


def test_text_of_an_earlier_state_is_not_found_any_more(bench):
    (started, ended) = bench.run("job", output=b"second text")
    execution_id = started.executions[0]
    row = ExecutionRow.FromString(bench.store.batch().get(Table.EXECUTIONS, execution_id))
    running = ExecutionRow(task="job", nominal_us=row.nominal_us, state=1, result=AttemptResult(error="first text"))
    bench.store.batch().put(Table.EXECUTIONS, execution_id, running.SerializeToString())
    bench.store.commit()
    bench.tell([started])
    assert bench.keys(query="first") == [execution_id]
    bench.store.batch().put(Table.EXECUTIONS, execution_id, row.SerializeToString())
    bench.store.commit()
    bench.tell([ended])
    assert bench.keys(query="first") == []
    assert bench.keys(query="second") == [execution_id]


def test_words_are_found_behind_the_escape_sequences_of_terminals(bench):
    coloured, marked = b"\x1b[32minvoice\x1b[0m", b"pay\x1b[01;31m\x1b[Kment"
    link, apart = b"\x1b]8;;http://u\x1b\\receipt\x1b]8;;\x07", b"left\x1b[2;9Hright"
    bench.tell(bench.run("job", output=b" ".join([coloured, marked, link, apart])))
    for word in ("invoice", "payment", "receipt", "left", "right"):
        (hit,) = search(bench.index.sql, Search(query=word), 0, 10).hits
        assert hit.snippet == "invoice payment receipt left right"
    for word in ("32minvoice", "8", "http"):
        assert not search(bench.index.sql, Search(query=word), 0, 10).hits


def test_catching_up_ends_open_executions_and_removes_those_that_are_gone(bench):
    (started, _) = bench.run("job")
    lost_id = ids.execution_id(99, 1, NOW)
    bench.store.batch().put(
        Table.EXECUTIONS, lost_id, ExecutionRow(task="job", nominal_us=NOW, state=3).SerializeToString()
    )
    bench.store.commit()
    bench.tell([ChangedRows(3, [lost_id], [], [])])
    bench.store.batch().delete(Table.EXECUTIONS, lost_id)
    bench.store.commit()
    bench.catch_up()
    assert bench.keys(task="job") == started.executions
    assert bench.index.number("deleted_records") == 1


def test_every_version_of_a_task_is_found_after_a_gap_with_who_made_it(bench):
    for number, actor in enumerate(("ann@10.0.0.1", "bob@10.0.0.2")):
        revision = pb.TaskRow.FromString(bench.store.batch().get(Table.TASKS, b"job")).revision
        command = bench.machine.command()
        command.actor = actor
        command.replace_task.expected_revision = revision
        command.replace_task.task.name = "job"
        command.replace_task.task.delivery = 1
        command.replace_task.task.priority = number + 1
        bench.apply(command)
    bench.machine.delete("job")
    bench.machine.register("job", next_us=0)
    bench.catch_up()
    found = search(bench.index.sql, Search(kinds=frozenset((3,)), task="job"), 0, 10).hits
    changes = [history_pb2.TaskChange.FromString(hit.body) for hit in found]
    assert {(change.kind, change.actor, tuple(change.changed_fields)) for change in changes} == {
        (1, "", ()),
        (2, "ann@10.0.0.1", ("priority",)),
        (2, "bob@10.0.0.2", ("priority",)),
        (3, "", ()),
    }
    assert len(changes) == 5
    bench.catch_up()
    assert len(bench.keys(kinds=frozenset((3,)), task="job")) == 5


def test_skipped_nominal_times_are_found_by_their_reason(bench):
    bench.machine.now_us = NOW + 2000 * SECOND
    command = bench.machine.command()
    command.delete_task.name = "job"
    bench.tell([bench.apply(command)])
    (hit,) = search(bench.index.sql, Search(query="deleted"), 0, 10).hits
    assert (hit.kind, hit.task) == (2, "job")
    assert "the task was deleted" in hit.snippet


def failed(number: int) -> bool:
    return number % 3 == 0


FILTERS: list[tuple[Search, Callable[[int], bool]]] = [
    (Search(), lambda n: True),
    (Search(task="job"), lambda n: n % 2 == 0),
    (Search(task_prefix="o"), lambda n: n % 2 == 1),
    (Search(states=frozenset((SUCCEEDED, FAILED))), lambda n: True),
    (Search(states=frozenset((FAILED,))), failed),
    (Search(query="broken", task="other"), lambda n: failed(n) and n % 2 == 1),
    (Search(min_duration_us=20_000, max_duration_us=40_000), lambda n: 20 <= n <= 40),
    (Search(exit_codes=frozenset((3,))), failed),
    (Search(executor="e2"), lambda n: n % 4 == 0),
    (Search(triggers=frozenset((Trigger.MANUAL,))), lambda n: True),
    (Search(triggers=frozenset((Trigger.SCHEDULE,))), lambda n: False),
    (Search(start_us=NOW + 10 * SECOND, end_us=NOW + 30 * SECOND), lambda n: 10 <= n < 30),
]


def test_a_filter_finds_what_it_says_in_pages_that_are_complete_and_without_repeats(bench):
    bench.machine.now_us -= SECOND
    keys = []
    for n in range(60):
        entries = bench.run(
            ("job", "other")[n % 2],
            state=FAILED if failed(n) else SUCCEEDED,
            error="broken" if failed(n) else "",
            ran_us=n * 1000,
            executor_id=("e1", "e2")[n % 4 == 0],
        )
        bench.tell(entries)
        keys += entries[0].executions
    for wanted, chosen in FILTERS:
        whole = search(bench.index.sql, wanted, 0, 1000)
        assert whole.resume == 0
        assert [keys.index(hit.key) for hit in whole.hits] == [n for n in reversed(range(60)) if chosen(n)], wanted
        before, paged = 0, []
        while True:
            page = search(bench.index.sql, wanted, before, 7)
            paged += page.hits
            before = page.resume
            if not before:
                break
        assert paged == whole.hits


def test_labels_are_those_that_the_task_carries_now(bench):
    command = bench.machine.command()
    item = command.register_tasks.items.add(next_us=0)
    item.task.name = "labelled"
    item.task.labels.update({"team": "ops", "tier": "1"})
    bench.tell([bench.apply(command), *bench.run("labelled"), *bench.run("job")])
    assert len(bench.keys(labels={"team": "ops"})) == 1
    assert len(bench.keys(labels={"team": ""})) == 1
    assert bench.keys(labels={"team": "dev"}) == []


def test_recent_runs_of_many_tasks_newest_first(bench):
    for _ in range(5):
        bench.tell(bench.run("job"))
    newest = [ids.to_text(key) for key in bench.keys(task="job")[:3]]
    job, other, nobody = recent_runs(bench.index.sql, ["job", "other", "nobody"], 3)
    assert [run.execution_id for run in job] == newest
    assert other == nobody == []


def test_retention_by_age_counts_what_it_deletes_and_what_was_not_shipped(bench):
    for _ in range(20):
        bench.tell(bench.run("job", output=b"words"))
    retire(bench, bench.machine.now_us, keep_s=10)
    assert len(bench.keys()) == 11
    assert bench.index.number("deleted_records") == 9
    assert bench.index.number("lost_records") == 9
    assert len(bench.keys(query="words")) == 11
    assert bench.index.number("records_1") == 11


def ended(bench: Bench, **fields: object) -> ExecutionRow:
    row = ExecutionRow(task="job", trigger=Trigger.SCHEDULE, state=SUCCEEDED, fire_us=bench.machine.now_us)
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def test_what_a_backfill_made_up_for_is_kept_from_its_decision_on(bench):
    days_ago_us = bench.machine.now_us - 90 * 24 * 3600 * SECOND
    with bench.index.transaction():
        for number, trigger in enumerate((Trigger.SCHEDULE, Trigger.BACKFILL)):
            row = ended(bench, nominal_us=days_ago_us, trigger=trigger)
            bench.index.put(execution_record(bytes(15) + bytes((number,)), row.SerializeToString()), 1)
    retire(bench, bench.machine.now_us, keep_s=10)
    assert bench.keys() == [bytes(15) + b"\1"]
    retire(bench, bench.machine.now_us + 11 * SECOND, keep_s=10)
    assert bench.keys() == []


def test_lateness_is_that_of_the_first_attempt_and_none_of_a_backfill(bench):
    row = ended(bench, nominal_us=NOW)
    row.result.start_us = NOW + 9 * SECOND
    assert execution_record(bytes(16), row.SerializeToString()).lateness_us == 9 * SECOND
    # An attempt that never started comes before the one that did.
    row.attempt = 3
    row.past_attempts.add(attempt=1)
    row.past_attempts.add(attempt=2, result=AttemptResult(start_us=NOW + SECOND))
    assert execution_record(bytes(16), row.SerializeToString()).lateness_us == SECOND
    row.trigger = Trigger.BACKFILL
    assert execution_record(bytes(16), row.SerializeToString()).lateness_us is None


def test_retention_by_count_keeps_the_newest_of_each_task(bench):
    for number in range(20):
        bench.tell(bench.run("job" if number % 4 else "other"))
    newest = bench.keys(task="job")[:10]
    retire(bench, bench.machine.now_us, keep_per_task=10)
    assert bench.keys(task="job") == newest
    assert len(bench.keys(task="other")) == 5


def test_retention_by_count_looks_at_all_tasks_once_and_then_at_those_that_ran(bench):
    for name in ("job", "other", "job"):
        bench.tell(bench.run(name))
    retention = IndexRetention(bench.index, settings(bench, keep_per_task=1))
    looked_at: list[str] = []

    def note(text: str) -> None:
        for tids in re.findall(r"tid IN \(([\d,]+)\)", text):
            looked_at.extend(tids.split(","))

    bench.index.sql.set_trace_callback(note)

    def round_at(now_s):
        looked_at.clear()
        while retention.step(bench.machine.now_us, now_s) < 1:
            now_s += 0.1
        return len(looked_at)

    assert round_at(0.0) == 2
    assert len(bench.keys(task="job")) == 1
    assert round_at(100.0) == 0
    bench.machine.register("new", next_us=bench.machine.now_us + 1000 * SECOND)
    bench.tell([ChangedRows(bench.machine.index, [], ["new"], [])])
    assert bench.index.last_revision("new")
    assert round_at(150.0) == 0
    bench.tell(bench.run("other"))
    assert round_at(200.0) == 1
    assert len(bench.keys(task="other")) == 1


def test_retention_by_size_deletes_the_oldest(bench):
    for _ in range(200):
        bench.tell(bench.run("job", output=b"x" * 4000))
    newest = bench.keys()[0]
    sizes = IndexRetention(bench.index, settings(bench))
    for _ in range(5):
        retire(bench, bench.machine.now_us, keep_bytes=600_000)
    assert sizes.size_bytes() <= 600_000
    assert bench.keys()[0] == newest
    assert 0 < len(bench.keys()) < 200


@pytest.mark.parametrize("keep", [{"keep_bytes": 600_000}, {"keep_per_task": 20}])
def test_what_is_deleted_gives_its_place_in_the_file_back(bench, keep):
    # More than the 500 pages of one step.
    for _ in range(700):
        bench.tell(bench.run("job", output=b"x" * 4000))

    def file_bytes():
        bench.index.sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return bench.path.stat().st_size

    before = file_bytes()
    for _ in range(3):
        retire(bench, bench.machine.now_us, **keep)
    assert 0 < len(bench.keys()) < 700
    assert file_bytes() < 0.8 * before
    assert file_bytes() <= IndexRetention(bench.index, settings(bench)).size_bytes() * 8 / 7 + 8192


def test_what_all_sinks_have_leaves_the_outbox_and_nothing_else(bench):
    ends = []
    for _ in range(3):
        pair = bench.run("job")
        ends.append(pair[-1].index)
        bench.tell(pair)
    retention = IndexRetention(bench.index, settings(bench))

    def waiting():
        return bench.index.number("records_1"), [
            row[0] for row in bench.index.sql.execute("SELECT high FROM outbox ORDER BY number")
        ]

    assert waiting() == (3, ends)
    retention.forget_shipped(ends[0] - 1)
    assert waiting() == (3, ends)
    retention.forget_shipped(ends[1])
    assert waiting() == (3, ends[2:])


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 1000])
def test_a_file_that_cannot_be_used_is_moved_aside_and_made_anew(tmp_path, damage):
    path = tmp_path / "index.sqlite"
    path.write_bytes(damage)
    assert schema.open_writer(path, "test").execute("SELECT count(*) FROM records").fetchone() == (0,)
    moved = path.with_name("index.sqlite.bad")
    assert moved.exists() == bool(damage)


def test_a_file_of_another_cluster_is_moved_aside(tmp_path):
    path = tmp_path / "index.sqlite"
    schema.open_writer(path, "one").close()
    schema.open_writer(path, "two").close()
    assert path.with_name("index.sqlite.bad").exists()


def test_an_index_that_is_opened_again_goes_on_from_its_cursor(bench):
    bench.tell(bench.run("job"))
    bench.index.sql.close()
    bench.open(bench.path)
    assert bench.index.cursor == bench.machine.index


def fail_within(index: Index) -> None:
    with index.transaction():
        index.set_number("cursor", 99)
        index.sql.execute("SELECT * FROM nowhere")


def test_a_failed_transaction_leaves_nothing(bench):
    with pytest.raises(sqlite3.OperationalError):
        fail_within(bench.index)
    assert bench.index.cursor == 0


def test_frames_survive_any_cut():
    entry = ChangedRows(7, [bytes(range(16)), bytes(16)], ["job", "other"], [b"ledger key"])
    data = entry_frame(entry.index, entry.executions, entry.tasks, entry.ledger) * 2
    for size in (1, 3, 17, len(data)):
        parser = Parser()
        frames = [each for start in range(0, len(data), size) for each in parser.feed(data[start : start + size])]
        assert [word for word, _ in frames] == [Word.ENTRY] * 2
        assert [parse_entry(payload) for _, payload in frames] == [entry] * 2


def test_the_last_hundred_changes_of_a_task_are_kept_and_all_of_another(bench):
    for number in range(104):
        command = bench.machine.command()
        revision = pb.TaskRow.FromString(bench.store.batch().get(Table.TASKS, b"job")).revision
        command.replace_task.expected_revision = revision
        command.replace_task.task.name = "job"
        command.replace_task.task.priority = number + 1
        bench.tell([bench.apply(command)])
    bench.catch_up()
    before = bench.keys(kinds=frozenset((3,)), task="job")
    retire(bench, bench.machine.now_us, keep_s=10_000, keep_per_task=10_000)
    assert bench.keys(kinds=frozenset((3,)), task="job") == before[:100]
    assert len(bench.keys(kinds=frozenset((3,)), task="other")) == 1
