"""What the indexer makes of the frames that it hears."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from raftsched.core.state.model import ExecutionState
from raftsched.history import indexer
from raftsched.history.frames import ChangedRows, Parser, Word, entry_frame, frame, index_frame, time_frame
from raftsched.history.indexer import Indexer
from raftsched.history.records import Kind
from raftsched.history.retention import IndexRetention
from raftsched.history.shipping import Shipping
from raftsched.store.lmdb_view import LmdbView
from tests.support.history_bench import FIRST_US, Bench, settings
from tests.support.machine_driver import SECOND
from tests.support.raft_bench import ManualClock


class Heard:
    """An indexer, and the executions that it looked at."""

    def __init__(self, path: Path, **keep: int) -> None:
        self.bench = Bench(path, wants_outputs=False)
        self.clock = ManualClock()
        self.looked_at: list[bytes] = []
        take = self.bench.follower.take

        def noted(told: ChangedRows, **keywords: bool) -> None:
            self.looked_at += told.executions
            take(told, **keywords)

        self.bench.follower.take = noted
        self.retention = IndexRetention(self.bench.index, settings(self.bench, **keep))
        self.indexer = Indexer(self.bench.index, self.bench.follower, self.retention, self.clock)

    def hear(self, entries: list[ChangedRows]) -> None:
        for each in entries:
            for told in Parser().feed(entry_frame(each.index, each.executions, each.tasks, each.ledger)):
                self.indexer.hear(*told)

    def say(self, word: Word, index: int | None = None) -> None:
        for said in Parser().feed(frame(word, b"") if index is None else index_frame(word, index)):
            self.indexer.hear(*said)

    def tell_time(self, now_us: int) -> None:
        for said in Parser().feed(time_frame(now_us)):
            self.indexer.hear(*said)

    @property
    def catches_up(self) -> bool:
        return bool(self.bench.index.number("catching_up"))

    def catch_up(self) -> None:
        while self.catches_up:
            self.indexer.step()

    def work(self) -> None:
        """Until it would wait for the burst to be over, and then all."""
        self.clock.now += 0.3
        while self.indexer.gathers:
            self.indexer.step()


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    found = Heard(tmp_path / "index.db")
    yield found
    found.bench.index.sql.close()


def test_an_execution_that_changes_again_later_is_looked_at_again(heard: Heard) -> None:
    begin, end = heard.bench.run("job")
    heard.hear([begin])
    heard.work()
    heard.hear([end])
    heard.work()
    assert heard.looked_at == 2 * begin.executions


def test_an_execution_that_ends_within_a_burst_is_looked_at_once_however_long_the_burst(heard: Heard) -> None:
    entries = [heard.bench.run("job") for _ in range(1_100)]
    heard.hear([begin for begin, _ in entries])
    heard.hear([end for _, end in entries])
    heard.work()
    assert len(heard.looked_at) == len(set(heard.looked_at)) == len(entries)
    assert heard.bench.index.cursor == heard.bench.machine.index
    assert {row[2] for row in heard.bench.rows()} == {ExecutionState.SUCCEEDED}


def test_a_burst_is_indexed_when_it_is_over(heard: Heard) -> None:
    heard.hear(heard.bench.run("job"))
    assert heard.indexer.step() > 0
    assert heard.looked_at == []
    heard.clock.now += 0.2
    heard.hear(heard.bench.run("job"))
    heard.clock.now += 0.2
    assert heard.indexer.step() > 0
    heard.work()
    assert len(set(heard.looked_at)) == 2


def test_what_is_decided_ahead_is_looked_at_once_when_it_has_ended(heard: Heard) -> None:
    execution_id, armed = heard.bench.arm("job")
    heard.tell_time(FIRST_US - SECOND // 2)
    heard.hear([armed])
    assert heard.indexer.step() <= 1.5
    heard.work()
    heard.clock.now += 0.5
    heard.indexer.step()
    assert heard.looked_at == []
    heard.hear([heard.bench.end(execution_id)])
    heard.work()
    assert heard.looked_at == [execution_id]
    assert [row[2] for row in heard.bench.rows() if row[1] == Kind.EXECUTION] == [ExecutionState.SUCCEEDED]
    assert heard.bench.index.cursor == heard.bench.machine.index


def test_what_is_decided_ahead_and_has_not_ended_a_second_after_its_time_is_indexed_as_it_is(heard: Heard) -> None:
    execution_id, armed = heard.bench.arm("job")
    heard.tell_time(FIRST_US - SECOND // 2)
    heard.hear([armed])
    heard.say(Word.REACHED, armed.index)
    heard.work()
    heard.clock.now += 1.1
    assert heard.indexer.step() > 0
    # A process that ended here would have to look at it after the start.
    assert (heard.looked_at, heard.bench.index.cursor) == ([], armed.index - 1)
    heard.clock.now += 0.11
    heard.indexer.step()
    assert heard.looked_at == [execution_id]
    assert heard.bench.index.cursor == armed.index
    assert heard.bench.keys(states=frozenset((ExecutionState.ARMED,))) == [execution_id]


def test_what_is_decided_for_a_time_far_off_or_while_the_time_is_not_known_is_not_set_aside(heard: Heard) -> None:
    execution_id, armed = heard.bench.arm("job")
    heard.hear([armed])
    heard.work()
    assert heard.looked_at == [execution_id]
    heard.tell_time(FIRST_US - 3600 * SECOND)
    heard.hear([armed])
    heard.work()
    assert heard.looked_at == 2 * [execution_id]


def test_what_else_is_told_does_not_wait_for_what_is_decided_ahead(heard: Heard) -> None:
    _, armed = heard.bench.arm("job")
    heard.tell_time(FIRST_US - SECOND // 2)
    heard.hear([armed])
    ran = heard.bench.run("other")
    heard.hear(ran)
    heard.work()
    assert heard.looked_at == ran[0].executions


def test_what_was_told_is_indexed_when_the_input_ends(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = heard.bench.run("other")
    execution_id, armed = heard.bench.arm("job")
    heard.tell_time(FIRST_US - SECOND // 2)
    told, node = os.pipe()
    monkeypatch.setattr(indexer, "_INPUT", told)
    for each in [*entries, armed]:
        os.write(node, entry_frame(each.index, each.executions, each.tasks, each.ledger))
    os.close(node)
    no_sinks = Shipping(settings(heard.bench), cast(LmdbView, None), heard.retention, heard.clock, lambda: False)
    indexer._serve(heard.indexer, no_sinks, Parser(), [])
    os.close(told)
    assert set(heard.looked_at) == {*entries[0].executions, execution_id}
    # The next process goes on from there, and does not compare the whole of the state.
    assert heard.bench.index.cursor == heard.bench.machine.index


def tell_without_pause(heard: Heard, rows: int, seconds: int) -> None:
    """So many rows that do not exist, evenly, without a step that may index."""
    each = rows // (10 * seconds)
    for number in range(10 * seconds):
        heard.clock.now += 0.1
        heard.hear(
            [ChangedRows(number + 1, [b"%016d" % row for row in range(number * each, (number + 1) * each)], [], [])]
        )


@pytest.mark.parametrize(
    ("rows", "seconds", "begins"), [(5_000, 4, False), (5_000, 6, True), (40_000, 6, False), (40_000, 21, True)]
)
def test_what_is_told_without_a_pause_is_indexed_after_5_s_and_a_herd_after_20(
    heard: Heard, rows: int, seconds: int, begins: bool
) -> None:
    tell_without_pause(heard, rows, seconds)
    heard.indexer.step()
    assert bool(heard.looked_at) is begins


def test_a_herd_is_indexed_sooner_when_more_is_told_than_should_wait(heard: Heard) -> None:
    tell_without_pause(heard, 200_000, 2)
    heard.indexer.step()
    assert heard.looked_at


@pytest.mark.parametrize(("rows", "kept"), [(1, 2), (1_000, 5)])
def test_what_is_no_longer_kept_goes_while_fires_are_told_without_a_pause_but_not_in_a_herd(
    tmp_path: Path, rows: int, kept: int
) -> None:
    heard = Heard(tmp_path / "index.db", keep_per_task=2)
    for _ in range(5):
        heard.bench.tell(heard.bench.run("job"))
    heard.looked_at.clear()
    for number in range(1_000, 1_040):
        heard.clock.now += 0.1
        # In a herd the rows of one entry are enough for the whole of it.
        ids = [b"%016d" % each for each in range(rows if number > 1_000 else 30 * rows)]
        heard.hear([ChangedRows(number, ids, [], [])])
        heard.indexer.step()
    assert len(heard.bench.keys(task="job")) == kept
    assert heard.looked_at == []
    heard.bench.index.sql.close()


def test_what_is_old_is_told_by_the_time_that_the_state_counts_age_by(tmp_path: Path) -> None:
    heard = Heard(tmp_path / "index.db", keep_s=60)
    heard.bench.tell(heard.bench.run("job"))

    def left_after(elapsed_s: float) -> int:
        heard.clock.now += elapsed_s
        for _ in range(8):
            heard.indexer.step()
            heard.clock.now += 0.05
        return len(heard.bench.keys(task="job"))

    # This clock is in 1970, and then days on; what the node says of the time is not what age is counted by.
    assert left_after(0) == 1
    assert left_after(40 * 86_400) == 1
    for word, payload in Parser().feed(time_frame(heard.bench.machine.now_us + 40 * 86_400 * SECOND)):
        heard.indexer.hear(word, payload)
    assert left_after(40) == 1
    for age_s, left in ((59, 1), (61, 0)):
        command = heard.bench.machine.command()
        command.retire.time_us = heard.bench.machine.now_us + age_s * SECOND
        heard.bench.apply(command)
        assert left_after(40) == left
    heard.bench.index.sql.close()


def test_at_the_start_it_goes_on_from_its_cursor_or_catches_up_with_what_it_was_not_told(heard: Heard) -> None:
    heard.say(Word.START, 0)
    assert not heard.catches_up
    heard.bench.run("job")
    heard.say(Word.START, heard.bench.machine.index)
    assert heard.catches_up
    heard.catch_up()
    assert heard.bench.index.cursor == heard.bench.machine.index
    assert heard.bench.index.number("records_1") == 1
    heard.say(Word.START, heard.bench.machine.index)
    assert not heard.catches_up


def test_after_a_gap_all_of_the_state_is_looked_at(heard: Heard) -> None:
    for _ in range(3):
        heard.bench.run("job")
    heard.say(Word.GAP)
    heard.catch_up()
    assert heard.bench.index.cursor == heard.bench.machine.index
    assert heard.bench.index.number("records_1") == 3


def test_what_is_told_while_it_catches_up_is_indexed_and_does_not_move_the_cursor(heard: Heard) -> None:
    for _ in range(3):
        heard.bench.run("job")
    begun_at = heard.bench.machine.index
    heard.say(Word.GAP)
    heard.indexer.step()
    told = heard.bench.run("other")
    heard.hear(told)
    heard.clock.now += 0.3
    heard.indexer.step()
    assert heard.looked_at == told[0].executions
    # A process that ended here would have to catch up again.
    assert (heard.catches_up, heard.bench.index.cursor) == (True, 0)
    heard.catch_up()
    assert heard.bench.index.cursor == begun_at
    assert heard.bench.index.number("records_1") == 4


def test_the_cursor_follows_entries_that_changed_nothing_once_all_before_them_is_indexed(heard: Heard) -> None:
    heard.hear(heard.bench.run("job"))
    reached = heard.bench.machine.index + 5
    heard.say(Word.REACHED, reached)
    heard.indexer.step()
    assert heard.bench.index.cursor == 0
    heard.work()
    assert heard.bench.index.cursor == heard.bench.machine.index
    heard.indexer.step()
    assert heard.bench.index.cursor == reached
    heard.say(Word.REACHED, reached - 1)
    heard.indexer.step()
    assert heard.bench.index.cursor == reached


def test_more_than_can_wait_is_dropped_and_found_by_catching_up(heard: Heard) -> None:
    (begin, end) = heard.bench.run("job")
    heard.hear([begin])
    strangers = [b"%016d" % number for number in range(400_000)]
    heard.hear([ChangedRows(end.index, strangers + end.executions, [], [])])
    assert heard.catches_up
    heard.catch_up()
    assert heard.looked_at == []
    assert heard.bench.index.number("records_1") == 1
    assert heard.bench.index.cursor == heard.bench.machine.index
