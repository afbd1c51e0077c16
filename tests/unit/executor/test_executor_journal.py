import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftsched.clock import SystemClock
from raftsched.executor.journal import Journal, Verdict
from raftsched.ports import StoreRefused

LARGE = 1 << 40


def key(number: int, attempt: int = 1) -> tuple[bytes, int]:
    return number.to_bytes(16, "big"), attempt


def opened(directory: Path, remembered: int = 100, rewrite_bytes: int = LARGE) -> Journal:
    return Journal(directory, "e", SystemClock(), remembered, rewrite_bytes)


def reopened(journal: Journal, directory: Path, remembered: int = 100) -> Journal:
    journal.close()
    return opened(directory, remembered)


def test_executor_id_is_made_once(tmp_path: Path) -> None:
    journal = opened(tmp_path / "a" / "b")
    first = journal.executor_id
    assert re.fullmatch("e-[0-9a-f]{8}", first)
    journal = reopened(journal, tmp_path / "a" / "b")
    assert journal.executor_id == first
    journal.close()


def test_second_user_of_the_directory_is_refused(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(StoreRefused, match=f"in use by another executor \\(process {os.getpid()}\\)"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_accepted_and_ended_attempts_are_held_across_a_restart(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.accept(key(1), 5)
    journal.accept(key(2), 6)
    journal.end(key(2), b"report")
    journal.accept(key(3), 7)
    journal.forget(key(3))
    journal.commit()
    journal = reopened(journal, tmp_path)
    assert {k: held.report for k, held in journal.held.items()} == {key(1): None, key(2): b"report"}
    assert journal.judge(key(3), 7) is Verdict.REPEATED
    journal.close()


def test_what_was_not_committed_did_not_happen(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.accept(key(1), 1)
    journal = reopened(journal, tmp_path)
    assert not journal.held
    journal.close()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("acknowledged", [False, True])
def test_assignments_are_judged_by_attempt_and_fencing_token(
    tmp_path: Path, acknowledged: bool, restarted: bool
) -> None:
    journal = opened(tmp_path)
    journal.accept(key(1, 3), 30)
    if acknowledged:
        journal.forget(key(1, 3))
    journal.commit()
    if restarted:
        journal = reopened(journal, tmp_path)
    assert journal.judge(key(1, 3), 30) is Verdict.REPEATED
    assert journal.judge(key(1, 3), 40) is Verdict.REPEATED
    assert journal.judge(key(1, 2), 20) is Verdict.STALE
    assert journal.judge(key(1, 2), 40) is Verdict.STALE
    assert journal.judge(key(1, 4), 29) is Verdict.STALE
    assert journal.judge(key(1, 4), 30) is Verdict.STALE
    assert journal.judge(key(1, 4), 31) is Verdict.NEW
    assert journal.judge(key(2, 1), 1) is Verdict.NEW
    assert journal.newest_attempt(key(1)[0]) == 3
    journal.close()


@pytest.mark.parametrize("rewritten", [False, True])
def test_an_acknowledgement_is_remembered_across_a_restart(tmp_path: Path, rewritten: bool) -> None:
    journal = opened(tmp_path)
    for number in (1, 2):
        journal.accept(key(number), 1)
        journal.forget(key(number), acknowledged=number == 1)
    journal.commit()
    if rewritten:
        asyncio.run(journal.rewrite())
    journal = reopened(journal, tmp_path)
    assert [journal.is_acknowledged(key(number)[0]) for number in (1, 2)] == [True, False]
    journal.close()


def test_acknowledged_executions_are_forgotten_oldest_first(tmp_path: Path) -> None:
    journal = opened(tmp_path, remembered=3)
    for number in range(5):
        journal.accept(key(number), 1)
    for number in (4, 3, 2, 1, 0):
        journal.forget(key(number))
    journal.commit()
    for _ in range(2):
        verdicts = [journal.judge(key(number), 1) for number in range(5)]
        assert verdicts == [Verdict.REPEATED] * 3 + [Verdict.NEW] * 2
        journal = reopened(journal, tmp_path, remembered=3)
    journal.close()


def test_older_attempt_that_is_acknowledged_late_does_not_hide_the_newer(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.accept(key(1, 1), 1)
    journal.end(key(1, 1), b"lost")
    journal.accept(key(1, 2), 2)
    journal.forget(key(1, 1))
    assert list(journal.held) == [key(1, 2)]
    assert journal.judge(key(1, 2), 2) is Verdict.REPEATED
    assert journal.judge(key(1, 1), 1) is Verdict.STALE
    journal.close()


def test_forgetting_the_unknown_changes_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    before = journal.size_bytes
    journal.forget(key(1))
    journal.commit()
    assert journal.size_bytes == before
    assert journal.judge(key(1), 1) is Verdict.NEW
    journal.close()


def test_file_cut_anywhere_gives_the_state_of_a_commit(tmp_path: Path) -> None:
    journal = opened(tmp_path / "whole")
    executor_id = journal.executor_id
    states = {journal.size_bytes: {}}
    for number in range(4):
        journal.accept(key(2 * number), 1)
        journal.accept(key(2 * number + 1), 1)
        journal.end(key(2 * number), b"r" * number)
        if number > 1:
            journal.forget(key(0))
        journal.commit()
        states[journal.size_bytes] = {k: held.report for k, held in journal.held.items()}
    journal.close()
    content = (tmp_path / "whole" / "journal").read_bytes()
    for size in range(min(states), len(content) + 1):
        directory = tmp_path / f"cut{size}"
        directory.mkdir()
        (directory / "journal").write_bytes(content[:size])
        journal = opened(directory)
        assert journal.executor_id == executor_id
        assert {k: held.report for k, held in journal.held.items()} == states[max(s for s in states if s <= size)]
        journal.accept(key(99), 1)
        journal.commit()
        journal = reopened(journal, directory)
        assert key(99) in journal.held
        journal.close()


def test_file_cut_before_the_identity_was_written_makes_a_new_one(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.close()
    content = (tmp_path / "journal").read_bytes()
    for size in range(len(content)):
        (tmp_path / "journal").write_bytes(content[:size])
        journal = opened(tmp_path)
        assert journal.executor_id.startswith("e-")
        journal.close()


@pytest.mark.parametrize("tail", [bytes(4096), b"\xff" * 100, b"\x01\x00\x00\x00abcdX"])
def test_garbage_after_the_last_commit_is_dropped(tmp_path: Path, tail: bytes) -> None:
    journal = opened(tmp_path)
    journal.accept(key(1), 1)
    journal.commit()
    journal.close()
    with (tmp_path / "journal").open("ab") as file:
        file.write(tail)
    journal = opened(tmp_path)
    assert list(journal.held) == [key(1)]
    journal.accept(key(2), 1)
    journal.commit()
    journal = reopened(journal, tmp_path)
    assert list(journal.held) == [key(1), key(2)]
    journal.close()


def test_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"dear diary, today")
    with pytest.raises(StoreRefused, match="not a journal"):
        opened(tmp_path)
    assert (tmp_path / "journal").read_bytes() == b"dear diary, today"


def test_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreRefused, match="cannot be used as the executor's data directory"):
        opened(tmp_path / "file" / "sub")


FILL = """
import resource, signal, sys
from pathlib import Path
from raftsched.clock import SystemClock
from raftsched.executor.journal import Journal
from raftsched.ports import StoreFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]), "e", SystemClock(), 10, 1 << 40)
resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size_bytes + 1000, resource.RLIM_INFINITY))
committed = 0
for _ in range(2):
    try:
        while True:
            journal.accept((committed.to_bytes(16, "big"), 1), 1)
            journal.commit()
            committed += 1
    except StoreFailed as error:
        print(committed, error)
"""


def test_full_disk_stops_the_journal_and_keeps_what_was_committed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    committed = int(first.split()[0])
    assert committed > 5
    assert "must stop" in first
    assert second.split()[0] == f"{committed}", "nothing is committed after a failure"
    journal = opened(tmp_path)
    assert list(journal.held) == [key(number) for number in range(committed)]
    journal.close()


def test_rewriting_keeps_all_that_counts_and_drops_the_rest(tmp_path: Path) -> None:
    journal = opened(tmp_path, remembered=50, rewrite_bytes=100_000)
    for number in range(1000):
        journal.accept(key(number), number)
        journal.end(key(number), bytes(100))
        journal.commit()
        journal.forget(key(number))
    journal.accept(key(2000), 7)
    journal.accept(key(2001), 8)
    journal.end(key(2001), b"spooled")
    journal.commit()
    assert journal.rewrite_due
    executor_id = journal.executor_id

    async def rewrite_while_committing() -> None:
        rewriting = asyncio.create_task(journal.rewrite())
        number = 3000
        while not rewriting.done():
            journal.accept(key(number), 1)
            journal.commit()
            number += 1
            await asyncio.sleep(0)
        await rewriting

    asyncio.run(rewrite_while_committing())
    assert not journal.rewrite_due
    assert journal.size_bytes == (tmp_path / "journal").stat().st_size < 100_000
    held = dict(journal.held)
    assert len(held) > 3
    journal.accept(key(4000), 1)
    journal.commit()
    journal = reopened(journal, tmp_path, remembered=50)
    assert journal.executor_id == executor_id
    assert set(journal.held) == {*held, key(4000)}
    assert journal.held[key(2001)].report == b"spooled"
    assert journal.judge(key(999), 999) is Verdict.REPEATED
    assert journal.judge(key(949), 949) is Verdict.NEW
    journal.close()


def test_synced_while_rewritten(tmp_path: Path) -> None:
    journal = opened(tmp_path)

    async def both() -> None:
        for number in range(20):
            journal.accept(key(number), 1)
            journal.commit()
            await asyncio.gather(asyncio.to_thread(journal.sync), journal.rewrite(), asyncio.to_thread(journal.sync))

    asyncio.run(both())
    journal = reopened(journal, tmp_path)
    assert list(journal.held) == [key(number) for number in range(20)]
    journal.close()


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.integers(0, 5), st.integers(1, 4), st.integers(1, 40)),
        st.tuples(st.just("end"), st.integers(0, 5), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("forget"), st.integers(0, 5), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0), st.just(0)),
        st.tuples(st.just("rewrite"), st.just(0), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_journal_agrees_with_a_model_across_restarts(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, int, int]]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = opened(directory)
    held: dict[tuple[bytes, int], bytes | None] = {}
    newest: dict[bytes, tuple[int, int]] = {}
    for operation, number, attempt, token in operations:
        k = key(number, attempt)
        if operation == "accept":
            last_attempt, last_token = newest.get(k[0], (0, 0))
            expected = (
                Verdict.REPEATED
                if attempt == last_attempt or k in held
                else Verdict.NEW
                if attempt > last_attempt and token > last_token
                else Verdict.STALE
            )
            assert journal.judge(k, token) is expected
            if expected is Verdict.NEW:
                journal.accept(k, token)
                held[k] = None
                newest[k[0]] = (attempt, token)
        elif operation == "end" and held.get(k, b"") is None:
            journal.end(k, b"%d" % token)
            held[k] = b"%d" % token
        elif operation == "forget":
            journal.forget(k)
            held.pop(k, None)
        elif operation == "reopen":
            journal.commit()
            journal = reopened(journal, directory)
        elif operation == "rewrite":
            asyncio.run(journal.rewrite())
        assert {k: entry.report for k, entry in journal.held.items()} == held
    journal.close()
