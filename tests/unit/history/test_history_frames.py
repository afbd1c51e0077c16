"""What passes through the pipe comes out as it went in, however it is cut."""

import pytest

from raftsched.history.frames import (
    ChangedRows,
    Parser,
    Word,
    entry_frame,
    frame,
    index_frame,
    index_of,
    parse_entry,
    time_frame,
    time_of,
)

ENTRY = ChangedRows(300, [b"a" * 16, b"b" * 16], ["täglich", "job"], [b"key", b"", b"longer key"])


def test_frames_come_back_in_order_with_what_they_carry() -> None:
    sent = (
        frame(Word.SETTINGS, b"{}")
        + index_frame(Word.START, 7)
        + entry_frame(ENTRY.index, ENTRY.executions, ENTRY.tasks, ENTRY.ledger)
        + frame(Word.GAP, b"")
        + index_frame(Word.REACHED, 1 << 40)
        + frame(Word.LEADS, b"1")
        + time_frame(1_800_000_000_000_000)
    )
    found = list(Parser().feed(sent))
    assert [word for word, _ in found] == [
        Word.SETTINGS,
        Word.START,
        Word.ENTRY,
        Word.GAP,
        Word.REACHED,
        Word.LEADS,
        Word.TIME,
    ]
    payloads = dict(found)
    assert payloads[Word.SETTINGS] == b"{}"
    assert index_of(payloads[Word.START]) == 7
    assert parse_entry(payloads[Word.ENTRY]) == ENTRY
    assert payloads[Word.GAP] == b""
    assert index_of(payloads[Word.REACHED]) == 1 << 40
    assert payloads[Word.LEADS] == b"1"
    assert time_of(payloads[Word.TIME]) == 1_800_000_000_000_000


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 64])
def test_frames_may_arrive_in_pieces(size: int) -> None:
    sent = frame(Word.GAP, b"") + entry_frame(1, ENTRY.executions, [], ENTRY.ledger) + frame(Word.GAP, b"")
    parser = Parser()
    pieces = (sent[start : start + size] for start in range(0, len(sent), size))
    found = [each for piece in pieces for each in parser.feed(piece)]
    assert [word for word, _ in found] == [Word.GAP, Word.ENTRY, Word.GAP]
    assert parse_entry(found[1][1]) == ChangedRows(1, ENTRY.executions, [], ENTRY.ledger)


def test_entry_without_rows_says_its_index() -> None:
    [(_, payload)] = Parser().feed(entry_frame(9, [], [], []))
    assert parse_entry(payload) == ChangedRows(9, [], [], [])


def test_letter_that_nobody_sends_is_a_defect() -> None:
    with pytest.raises(ValueError, match="valid Word"):
        list(Parser().feed(b"?\0\0\0\0"))
