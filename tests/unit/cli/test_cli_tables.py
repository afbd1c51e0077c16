"""What tables look like on a terminal, and where they are piped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftsched.cli.show.tables import TextTable, cell_width, fitted, fold, plain, remarks, visible

ID = "01M8M0CCREVB6B3CTBRMSERYXP"
EXECUTIONS = TextTable(
    ("ID", "TASK", "NOMINAL TIME^18", "STATE", "EXECUTOR", "ERROR~"),
    [(ID, "report", "2026-11-29 15:57:04+00:00", "FAILED", "n1-4d1fdb12", "cannot open the file " * 9)],
    dispensable=("EXECUTOR", "ERROR"),
)


def lines(table: TextTable, width: int) -> list[str]:
    return list(fitted([table], width))


def test_plain_tables_align_and_have_no_blanks_at_the_end():
    rows = [("a", "1", "x"), ("bbbb", "10,000", "")]
    assert list(plain(TextTable(("NAME", "COUNT#", "NOTE"), rows))) == [
        "NAME   COUNT  NOTE",
        "a          1  x",
        "bbbb  10,000",
    ]
    assert list(plain(TextTable(("NAME", "COUNT#"), []))) == ["NAME  COUNT"]


def test_a_pipe_gets_one_whole_line_per_row():
    shown = list(plain(TextTable(("ID", "ERROR~"), [(ID, "first line\nsecond line " + "x" * 500)])))
    assert len(shown) == 2
    assert shown[1] == f"{ID}  first line second line {'x' * 500}"


@pytest.mark.parametrize("width", [30, 60, 80, 100, 200])
def test_an_id_stays_in_one_piece_at_any_width(width):
    shown = lines(EXECUTIONS, width)
    assert any(line.startswith(f"{ID}  ") for line in shown)


@pytest.mark.parametrize("width", [62, 80, 100, 200])
def test_lines_fit_the_terminal(width):
    assert max(map(cell_width, lines(EXECUTIONS, width))) <= width


def test_a_narrow_terminal_leaves_columns_out_and_says_which():
    header, row = lines(EXECUTIONS, 80)
    assert header.split() == ["ID", "TASK", "NOMINAL", "TIME", "STATE"]
    assert row == f"{ID}  report  2026-11-29 15:57:04+00:00  FAILED"
    assert remarks([EXECUTIONS], 80) == ["[80 columns have no room for EXECUTOR, ERROR; a pipe or -o json shows all]"]
    assert remarks([EXECUTIONS], 500) == []


def test_a_column_without_values_is_not_missed():
    empty = TextTable(("ID", "ERROR"), [(ID, "")], dispensable=("ERROR",))
    assert remarks([empty], 27) == []


def test_what_folds_last_folds_when_nothing_else_can_go():
    assert [line.split() for line in lines(EXECUTIONS, 66)] == [
        ["ID", "TASK", "NOMINAL", "TIME", "STATE"],
        [ID, "report", "2026-11-29", "FAILED"],
        ["15:57:04+00:00"],
    ]


def test_a_long_text_in_a_list_ends_after_three_lines_and_in_full_where_one_thing_is_shown():
    rows = [("error", "word " * 100)]
    in_list = lines(TextTable(("FIELD", "VALUE~"), rows), 40)
    assert len(in_list) == 4
    assert in_list[-1].endswith("...")
    alone = lines(TextTable(("FIELD", "VALUE~"), rows, whole=True), 40)
    assert sum(line.count("word") for line in alone) == 100


def test_a_wide_character_takes_two_columns():
    shown = lines(TextTable(("NAME", "NOTE"), [("日本", "x"), ("ab", "y")]), 80)
    assert shown[1:] == ["日本  x", "ab    y"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\rb", "a\\rb"),
        ("a\nb", "a\nb"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b31m", "\\x9b31m"),
        ("über 日本 \U0001f468\u200d\U0001f469", "über 日本 \U0001f468\u200d\U0001f469"),
        ("\udcff", "\\udcff"),
    ],
)
def test_no_text_can_steer_the_terminal(text, shown):
    assert visible(text) == shown
    assert list(plain(TextTable(("NOTE",), [(text,)])))[1] == " ".join(shown.split("\n"))


@given(st.text(max_size=60), st.integers(2, 30))
def test_folding_keeps_every_word_in_lines_that_fit(text, width):
    text = visible(text).replace("\n", " ")
    pieces = list(fold(text, width))
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(cell_width(piece) <= width for piece in pieces)
