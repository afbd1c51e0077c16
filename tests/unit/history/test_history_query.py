"""What users type into the search box means what it seems to mean, or is refused."""

import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftsched.history.query import QuerySyntaxError, snippet, to_fts

TEXTS = {
    1: ("connection refused by 10.0.0.1:80", "retrying"),
    2: ("timeout", "connection established, then refused"),
    3: ("", "Größe: 12 MB; done"),
    4: ("permission denied: /etc/shadow", ""),
}


@pytest.fixture(scope="module")
def sql():
    connection = sqlite3.connect(":memory:")
    connection.execute(
        'CREATE VIRTUAL TABLE texts USING fts5(error, output, content="", tokenize="unicode61 remove_diacritics 2")'
    )
    for number, texts in TEXTS.items():
        connection.execute("INSERT INTO texts (rowid, error, output) VALUES (?, ?, ?)", (number, *texts))
    return connection


def found(sql, text: str) -> set[int]:
    expression, _ = to_fts(text)
    return {row[0] for row in sql.execute("SELECT rowid FROM texts WHERE texts MATCH ?", (expression,))}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("connection refused", {1, 2}),
        ("CONNECTION", {1, 2}),
        ('"connection refused"', {1}),
        ("refus*", {1, 2}),
        ("timeout OR denied", {2, 4}),
        ("connection NOT timeout", {1}),
        ("connection AND (timeout OR retrying)", {1, 2}),
        ("error:connection", {1}),
        ('output:"connection established"', {2}),
        ("error:(timeout OR denied)", {2, 4}),
        ("error:time*", {2}),
        ("10.0.0.1:80", {1}),
        ("/etc/shadow", {4}),
        ("grosse", set()),
        ("große", {3}),
        ("'; DROP TABLE texts --", set()),
        ("connection - refused !", {1, 2}),
        ("nothing-like-it", set()),
    ],
)
def test_queries_find_what_they_say(sql, text, numbers):
    assert found(sql, text) == numbers


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no words"),
        ("   ", "no words"),
        ("(", "lacks a word"),
        ("(a", 'without a ")"'),
        ("a)", 'without a "("'),
        ("a OR", "lacks a word at its end"),
        ("NOT a", "before 'NOT'"),
        ('"open', "not closed"),
        ("a*", "at least 2"),
        ("error:", "after 'error:'"),
        ("--- ???", "no words"),
        ("error:--", "no letter or digit"),
        ("a " * 40, "more than 32"),
        ("(" * 90, "nested too deeply"),
        ("x" * 1001, "1001 characters"),
    ],
)
def test_what_is_no_query_is_refused_with_the_reason(text, why):
    with pytest.raises(QuerySyntaxError, match=why.replace("(", r"\(").replace(")", r"\)")):
        to_fts(text)


@given(st.text(alphabet=st.one_of(st.sampled_from('ab"()*:-^+ \0'), st.characters()), max_size=60))
def test_sqlite_reads_whatever_is_not_refused(text):
    try:
        expression, _ = to_fts(text)
    except QuerySyntaxError:
        return
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute('CREATE VIRTUAL TABLE texts USING fts5(error, output, content="")')
        connection.execute("SELECT rowid FROM texts WHERE texts MATCH ?", (expression,)).fetchall()


def test_a_snippet_shows_the_surroundings_of_the_first_match():
    assert snippet(["nothing", "a" * 300 + " Refused here " + "b" * 300], ["refused"]).strip("…ab ") == "Refused here"
    assert snippet(["short and refused"], ["refused"]) == "short and refused"
    assert snippet(["stemmed elsewhere"], ["refused"]) == ""
