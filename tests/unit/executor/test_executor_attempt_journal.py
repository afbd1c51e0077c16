import asyncio
import errno
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftsched.clock import SystemClock
from raftsched.executor.attempt_journal import AssignmentVerdict, AttemptJournal
from raftsched.executor.journal_file import DiskFile
from raftsched.executor.journal_state import RecordKind, pack
from raftsched.ports import StoreFailed, StoreRefused

LARGE = 1 << 40


def key(number: int, attempt: int = 1) -> tuple[bytes, int]:
    return number.to_bytes(16, "big"), attempt


def opened(directory: Path, remembered: int = 100, rewrite_bytes: int = LARGE) -> AttemptJournal:
    return AttemptJournal(directory, "e", SystemClock(), remembered, rewrite_bytes)


def reopened(journal: AttemptJournal, directory: Path, remembered: int = 100) -> AttemptJournal:
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
    assert journal.judge(key(3), 7) is AssignmentVerdict.REPEATED
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
    assert journal.judge(key(1, 3), 30) is AssignmentVerdict.REPEATED
    given_anew = AssignmentVerdict.NEW if acknowledged else AssignmentVerdict.REPEATED
    assert journal.judge(key(1, 3), 40) is given_anew
    assert journal.judge(key(1, 2), 20) is AssignmentVerdict.STALE
    assert journal.judge(key(1, 2), 40) is AssignmentVerdict.STALE
    assert journal.judge(key(1, 4), 29) is AssignmentVerdict.STALE
    assert journal.judge(key(1, 4), 30) is AssignmentVerdict.STALE
    assert journal.judge(key(1, 4), 31) is AssignmentVerdict.NEW
    assert journal.judge(key(2, 1), 1) is AssignmentVerdict.NEW
    assert journal.newest_attempt(key(1)[0]) == 3
    journal.close()


@pytest.mark.parametrize("rewritten", [False, True])
def test_what_was_forgotten_is_recognised_across_a_restart(tmp_path: Path, rewritten: bool) -> None:
    journal = opened(tmp_path)
    journal.accept(key(1), 1)
    journal.forget(key(1))
    journal.commit()
    if rewritten:
        asyncio.run(journal.rewrite())
    journal = reopened(journal, tmp_path)
    assert journal.judge(key(1), 1) is AssignmentVerdict.REPEATED
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
        assert verdicts == [AssignmentVerdict.REPEATED] * 3 + [AssignmentVerdict.NEW] * 2
        journal = reopened(journal, tmp_path, remembered=3)
    journal.close()


def test_execution_with_an_attempt_that_is_held_is_remembered_however_many_are_over(tmp_path: Path) -> None:
    journal = opened(tmp_path, remembered=1)
    journal.accept(key(1, 1), 10)
    journal.forget(key(1, 1))
    journal.accept(key(1, 2), 20)
    for number in (2, 3):
        journal.accept(key(number), 30)
        journal.forget(key(number))
    journal.commit()
    for _ in range(2):
        assert journal.newest_attempt(key(1)[0]) == 2
        assert journal.judge(key(1, 1), 10) is AssignmentVerdict.STALE
        journal = reopened(journal, tmp_path, remembered=1)
    journal.close()


@pytest.mark.parametrize("rewritten", [False, True])
def test_secret_is_made_once(tmp_path: Path, rewritten: bool) -> None:
    journal = opened(tmp_path)
    secret = journal.secret
    assert secret
    if rewritten:
        asyncio.run(journal.rewrite())
    journal = reopened(journal, tmp_path)
    assert journal.secret == secret
    journal.close()


def test_numbers_of_the_kinds_of_records_are_those_of_files_that_exist() -> None:
    assert {kind.name: kind.value for kind in RecordKind} == {
        "IDENTITY": 1,
        "ACCEPT": 2,
        "END": 3,
        "FORGET": 4,
        "SECRET": 5,
        "GIVE_BACK": 6,
    }


def test_older_attempt_that_is_acknowledged_late_does_not_hide_the_newer(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.accept(key(1, 1), 1)
    journal.end(key(1, 1), b"lost")
    journal.accept(key(1, 2), 2)
    journal.forget(key(1, 1))
    assert list(journal.held) == [key(1, 2)]
    assert journal.judge(key(1, 2), 2) is AssignmentVerdict.REPEATED
    assert journal.judge(key(1, 1), 1) is AssignmentVerdict.STALE
    journal.close()


def test_forgetting_the_unknown_changes_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    before = journal.size_bytes
    journal.forget(key(1))
    journal.commit()
    assert journal.size_bytes == before
    assert journal.judge(key(1), 1) is AssignmentVerdict.NEW
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


class Refusing(DiskFile):
    """Refuses the next call of a kind."""

    refuses = ""
    appended = 0

    def read(self) -> bytes:
        self._refuse("read")
        return super().read()

    def append(self, data: bytes) -> None:
        self._refuse("append")
        super().append(data)
        self.appended += 1

    def sync(self) -> None:
        self._refuse("sync")
        super().sync()

    def write_new(self, parts: Iterable[bytes]) -> None:
        self._refuse("rewrite")
        super().write_new(parts)

    def _refuse(self, what: str) -> None:
        if self.refuses == what:
            self.refuses = ""
            raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("refused", ["append", "sync"])
def test_nothing_is_written_behind_what_the_disk_refused(tmp_path: Path, refused: str) -> None:
    files: list[Refusing] = []

    def open_file(directory: Path) -> Refusing:
        files.append(Refusing(directory))
        return files[0]

    journal = AttemptJournal(tmp_path, "e", SystemClock(), 100, LARGE, open_file)
    (file,) = files
    journal.accept(key(1), 1)
    file.refuses = refused
    with pytest.raises(StoreFailed, match="Input/output error"):
        _commit_and_sync(journal)
    appended = file.appended
    journal.accept(key(2), 1)
    with pytest.raises(StoreFailed):
        journal.commit()
    assert file.appended == appended
    journal.close()


@pytest.mark.parametrize(
    ("refused", "error"), [("read", StoreRefused), ("append", StoreRefused), ("sync", StoreFailed)]
)
def test_new_journal_that_the_disk_refuses_is_not_opened_and_leaves_the_directory_free(
    tmp_path: Path, refused: str, error: type[Exception]
) -> None:
    """Its id and secret are on the disk before anything is accepted."""

    class RefusingAtOnce(Refusing):
        refuses = refused

    with pytest.raises(error, match="Input/output error"):
        AttemptJournal(tmp_path, "e", SystemClock(), 100, LARGE, RefusingAtOnce)
    opened(tmp_path).close()


def test_file_cut_within_its_header_is_begun_anew(tmp_path: Path) -> None:
    opened(tmp_path).close()
    content = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(content[:10])
    journal = opened(tmp_path)
    journal.accept(key(1), 1)
    journal.commit()
    journal = reopened(journal, tmp_path)
    assert list(journal.held) == [key(1)]
    journal.close()


def test_no_attempt_is_the_newest_of_an_execution_that_was_never_seen(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert journal.newest_attempt(key(1)[0]) == 0
    journal.close()


def test_what_is_committed_after_a_rewrite_is_not_kept_for_the_next(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    asyncio.run(journal.rewrite())
    journal.accept(key(1), 1)
    journal.commit()
    assert journal._since_rewrite is None
    journal.close()


def _commit_and_sync(journal: AttemptJournal) -> None:
    journal.commit()
    journal.sync()


def test_state_that_stays_large_is_written_anew_only_when_the_file_has_doubled(tmp_path: Path) -> None:
    journal = opened(tmp_path, rewrite_bytes=100)
    number = 0
    while not journal.rewrite_due:
        number += 1
        journal.accept(key(number), 1)
        journal.commit()
    asyncio.run(journal.rewrite())
    rewritten = journal.size_bytes
    assert rewritten > 100
    while not journal.rewrite_due:
        number += 1
        journal.accept(key(number), 1)
        journal.commit()
    assert 2 * rewritten < journal.size_bytes < 3 * rewritten
    journal.close()


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (pack(RecordKind.END, key(1), 0, b"report")[:-1], "a record is longer than its frame"),
        (bytes([9]) + pack(RecordKind.END, key(1), 0, b"report")[1:], "a record is of kind 9"),
    ],
)
def test_records_that_make_no_sense_are_refused_and_left_alone(tmp_path: Path, records: bytes, problem: str) -> None:
    journal = opened(tmp_path)
    journal.accept(key(1), 1)
    journal.commit()
    journal.close()
    with (tmp_path / "journal").open("ab") as file:
        file.write(struct.pack("<II", len(records), zlib.crc32(records)) + records)
    content = (tmp_path / "journal").read_bytes()
    with pytest.raises(StoreRefused, match=f"{problem}; nothing was changed"):
        opened(tmp_path)
    assert (tmp_path / "journal").read_bytes() == content


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
from raftsched.executor.attempt_journal import AttemptJournal
from raftsched.ports import StoreFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = AttemptJournal(Path(sys.argv[1]), "e", SystemClock(), 10, 1 << 40)
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
        # Enough to fall into the rewriting, and few enough to stay small however long the disk takes.
        for number in range(3000, 3100):
            journal.accept(key(number), 1)
            journal.commit()
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
    assert journal.judge(key(999), 999) is AssignmentVerdict.REPEATED
    assert journal.judge(key(949), 949) is AssignmentVerdict.NEW
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
        st.tuples(st.just("give back"), st.integers(0, 5), st.integers(1, 4), st.just(0)),
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
                AssignmentVerdict.REPEATED
                if k in held or (attempt == last_attempt and token <= last_token)
                else AssignmentVerdict.NEW
                if attempt >= last_attempt and token > last_token
                else AssignmentVerdict.STALE
            )
            assert journal.judge(k, token) is expected
            if expected is AssignmentVerdict.NEW:
                journal.accept(k, token)
                held[k] = None
                newest[k[0]] = (attempt, token)
        elif operation == "give back" and held.get(k, b"") is None:
            journal.give_back(k)
            del held[k]
            if newest[k[0]][0] == attempt:
                newest[k[0]] = (attempt - 1, newest[k[0]][1])
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
