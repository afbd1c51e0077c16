"""The node's end of the pipe: what the process of the index is told, and what follows when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from raftsched.consensus.membership import Members
from raftsched.core.backoff import Backoff
from raftsched.history.frames import ChangedRows, Parser, Word, entry_frame, index_of, others_of, parse_entry
from raftsched.history.process import MAX_WAITING_BYTES, HistoryProcess
from raftsched.history.settings import HistorySettings
from raftsched.node.members import KnownMembers
from raftsched.ports import Peer
from tests.support.raft_bench import ManualClock

RESTART = Backoff(low_s=0.004, high_s=0.032)
BIG = [bytes([number]) * 16 for number in range(250)] * 250
"""The ids of an entry whose frame takes a megabyte."""


def history(
    tmp_path: Path, command: Sequence[str], clock: ManualClock | None = None, members: KnownMembers | None = None
) -> HistoryProcess:
    return HistoryProcess(
        HistorySettings(path=tmp_path / "i", store_path=tmp_path, store_max_bytes=0, cluster_id="c", node_id="n1"),
        7,
        lambda: True,
        lambda _sink, _index: None,
        lambda: 5,
        clock or ManualClock(),
        members or KnownMembers((Peer("n1", "a:1"), Peer("n2", "b:1"))),
        restart=RESTART,
        command=command,
    )


def shell(tmp_path: Path, script: str) -> list[str]:
    """A process in ``tmp_path`` in place of the indexer."""
    return ["sh", "-c", f"cd '{tmp_path}'; {script}"]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(process: HistoryProcess) -> AsyncIterator[None]:
    task = asyncio.create_task(process.run())
    try:
        yield
    finally:
        assert not task.done(), "run returns only when it is cancelled"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def told(entries: int, first: int = 8) -> list[ChangedRows]:
    return [ChangedRows(first + number, BIG, ["job"], [b"key"]) for number in range(entries)]


def heard(path: Path) -> list[tuple[Word, bytes]]:
    return list(Parser().feed(path.read_bytes()))


def words(path: Path) -> list[Word]:
    return [word for word, _ in heard(path)]


@pytest.mark.parametrize("code", [1, 3])
def test_process_that_ends_at_once_is_started_again_ever_more_slowly(tmp_path: Path, code: int):
    process = history(tmp_path, ["sh", "-c", f"exit {code}"])

    async def main() -> None:
        with capture_logs() as logs:
            async with running(process):
                await until(lambda: len(logs) >= 6)
        waits = [each["starts_again_in_s"] for each in logs[:6]]
        assert waits == pytest.approx([0.003, 0.006, 0.012, 0.024, 0.024, 0.024])
        assert f"ended with code {code}" in process.problem

    asyncio.run(main())


def test_pauses_start_anew_after_a_process_that_lived_long(tmp_path: Path):
    clock = ManualClock()
    script = "echo >> starts; [ $(wc -l < starts) = 4 ] || exit 1; until [ -e end ]; do sleep 0.01; done"
    process = history(tmp_path, shell(tmp_path, script), clock)

    async def main() -> None:
        with capture_logs() as logs:
            async with running(process):
                starts = tmp_path / "starts"
                await until(lambda: starts.exists() and len(starts.read_text()) == 4 and process._input is not None)
                clock.now += RESTART.high_s
                (tmp_path / "end").touch()
                await until(lambda: len(logs) >= 5)
        waits = [each["starts_again_in_s"] for each in logs[:5]]
        assert waits == pytest.approx([0.003, 0.006, 0.012, 0.003, 0.006])

    asyncio.run(main())


def test_process_that_cannot_be_started_is_tried_again_and_the_node_lives(tmp_path: Path):
    program = tmp_path / "program"
    process = history(tmp_path, [str(program)])

    async def main() -> None:
        async with running(process):
            await until(lambda: "cannot be started" in process.problem)
            program.write_text("#!/bin/sh\ncat > /dev/null\n")
            program.chmod(0o755)
            await until(lambda: not process.problem)

    asyncio.run(main())


def test_what_is_told_before_the_process_runs_reaches_it(tmp_path: Path):
    process = history(tmp_path, shell(tmp_path, "cat > out"))
    entries = told(15)
    process.changed(entries, 22)

    async def main() -> None:
        async with running(process):
            await until(lambda: Word.LEADS in words(tmp_path / "out") if (tmp_path / "out").exists() else False)

    asyncio.run(main())
    found = heard(tmp_path / "out")
    assert [word for word, _ in found[:3]] == [Word.SETTINGS, Word.OTHERS, Word.START]
    assert (others_of(found[1][1]), index_of(found[2][1])) == (["b:1"], 7)
    assert [parse_entry(payload) for word, payload in found if word is Word.ENTRY] == entries
    assert [index_of(payload) for word, payload in found if word is Word.REACHED] == [22]
    assert Word.GAP not in words(tmp_path / "out")


def test_a_process_that_runs_is_told_of_nodes_that_join(tmp_path: Path):
    members = KnownMembers((Peer("n1", "a:1"),))
    process = history(tmp_path, shell(tmp_path, "cat > out"), members=members)

    async def main() -> None:
        async with running(process):
            await until(lambda: Word.LEADS in words(tmp_path / "out") if (tmp_path / "out").exists() else False)
            members.take(Members((Peer("n2", "b:1"),), (Peer("n3", "c:1"),)))
            await until(lambda: words(tmp_path / "out").count(Word.OTHERS) == 2)

    asyncio.run(main())
    told_of = [others_of(payload) for word, payload in heard(tmp_path / "out") if word is Word.OTHERS]
    assert told_of == [[], ["b:1", "c:1"]]


def test_more_than_may_wait_before_the_process_runs_becomes_a_gap(tmp_path: Path):
    process = history(tmp_path, shell(tmp_path, "cat > out"))
    process.changed(told(15), 22)
    process.changed(told(2, first=23), 24)
    process.changed([ChangedRows(25, [], ["small"], [])], 25)

    async def main() -> None:
        async with running(process):
            await until(lambda: Word.LEADS in words(tmp_path / "out") if (tmp_path / "out").exists() else False)

    asyncio.run(main())
    found = heard(tmp_path / "out")
    assert [word for word, _ in found[:5]] == [Word.SETTINGS, Word.OTHERS, Word.START, Word.GAP, Word.REACHED]
    assert index_of(found[4][1]) == 25, "what came after the gap is part of it"


def test_as_much_as_may_wait_is_no_gap_and_a_byte_more_is(tmp_path: Path):
    room = MAX_WAITING_BYTES - len(entry_frame(8, [], [], []))
    count, rest = divmod(room, 16)
    (fits,) = [ChangedRows(8, [b"i" * 16] * (count - 1), [], [b"k" * (rest + 14)])]
    assert len(entry_frame(fits.index, fits.executions, fits.tasks, fits.ledger)) == MAX_WAITING_BYTES
    for extra, is_gap in ((0, False), (1, True)):
        process = history(tmp_path, shell(tmp_path, f"cat > out{extra}"))
        process.changed([ChangedRows(8, fits.executions, [], [fits.ledger[0] + b"k" * extra])], 8)

        async def main(process: HistoryProcess = process, out: Path = tmp_path / f"out{extra}") -> None:
            async with running(process):
                await until(lambda: Word.LEADS in words(out) if out.exists() else False)

        asyncio.run(main())
        assert (Word.GAP in words(tmp_path / f"out{extra}")) is is_gap


def test_process_that_does_not_read_holds_a_bounded_part_and_hears_of_a_gap_when_it_does(tmp_path: Path):
    process = history(tmp_path, shell(tmp_path, "until [ -e read ]; do sleep 0.01; done; exec cat > out"))

    async def main() -> None:
        async with running(process):
            await until(lambda: not process.problem and process._input is not None)
            for number in range(30):
                process.changed(told(1, first=8 + number), 8 + number)
                assert process._waiting_bytes() <= MAX_WAITING_BYTES
            (tmp_path / "read").touch()
            await until(lambda: process._said == (37, True))
            process.changed(told(1, first=38), 38)
            await until(lambda: process._said == (38, True))

    asyncio.run(main())
    found = heard(tmp_path / "out")
    gap = [word for word, _ in found].index(Word.GAP)
    before = [parse_entry(payload).index for word, payload in found[:gap] if word is Word.ENTRY]
    assert before == list(range(8, 8 + len(before)))
    assert 10 < len(before) < 20
    assert index_of(found[gap + 1][1]) == 37
    assert [parse_entry(payload).index for word, payload in found[gap:] if word is Word.ENTRY] == [38]


def test_state_that_was_replaced_is_a_gap(tmp_path: Path):
    process = history(tmp_path, shell(tmp_path, "cat > out"))
    process.replaced()

    async def main() -> None:
        async with running(process):
            await until(lambda: Word.LEADS in words(tmp_path / "out") if (tmp_path / "out").exists() else False)

    asyncio.run(main())
    assert words(tmp_path / "out")[3] is Word.GAP


def test_what_the_process_says_about_its_sinks_reaches_the_cluster_while_this_node_leads(tmp_path: Path):
    leads, moved = [False], []
    process = HistoryProcess(
        HistorySettings(path=tmp_path / "i", store_path=tmp_path, store_max_bytes=0, cluster_id="c", node_id="n1"),
        7,
        lambda: leads[0],
        lambda sink, index: moved.append((sink, index)),
        lambda: 0,
        ManualClock(),
        KnownMembers(()),
        command=shell(
            tmp_path,
            """echo '{"sink": "s", "index": 1}'; echo '{"sinks": [{"name": "s"}]}'
            until [ -e lead ]; do sleep 0.01; done; echo '{"sink": "s", "index": 2}'; cat > out""",
        ),
    )

    async def main() -> None:
        async with running(process):
            await until(lambda: process.sinks)
            leads[0] = True
            (tmp_path / "lead").touch()
            await until(lambda: moved)

    asyncio.run(main())
    assert process.sinks == [{"name": "s"}]
    assert moved == [("s", 2)]
    assert Word.TIME not in words(tmp_path / "out"), "nobody knows the time"


def test_process_may_finish_what_it_was_told_when_the_node_stops(tmp_path: Path):
    process = history(tmp_path, shell(tmp_path, "cat > out; touch finished"))
    process.changed(told(1), 8)

    async def main() -> None:
        async with running(process):
            await until(lambda: process._input is not None)

    asyncio.run(main())
    assert (tmp_path / "finished").exists()
    assert Word.ENTRY in words(tmp_path / "out")


def test_process_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("raftsched.history.process._STOP_S", 0.1)
    process = history(tmp_path, shell(tmp_path, "echo $$ > pid; exec sleep 600"))

    async def main() -> None:
        async with running(process):
            await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())

    asyncio.run(main())
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
