"""The table of transitions, and docs/lifecycle.md, which draws and explains it."""

import re
from pathlib import Path

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.state.lifecycle import MAX_ATTEMPTS, TRANSITIONS
from raftsched.core.state.model import ExecutionState

PAGE = (Path(__file__).parents[3] / "docs" / "lifecycle.md").read_text()
ROWS = re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", PAGE, re.M)
OF_THE_TABLE = {(state.name, successor.name) for state, follow in TRANSITIONS.items() for successor in follow}
ENDS = {state.name for state in ExecutionState if state.ended}


def test_the_drawing_has_the_transitions_of_the_table() -> None:
    drawn = re.findall(r"^ +(\S+) --> (\S+)$", PAGE, re.M)
    between = [pair for pair in drawn if "[*]" not in pair]
    assert len(between) == len(set(between))
    assert set(between) == OF_THE_TABLE
    assert {state for state, successor in drawn if successor == "[*]"} == ENDS


def test_each_transition_has_a_row_that_says_who_decides_it() -> None:
    assert sorted((state, successor) for state, successor, _ in ROWS) == sorted(OF_THE_TABLE)


def test_the_commands_of_the_rows_are_commands() -> None:
    known = {field.message_type.name for field in pb.Command.DESCRIPTOR.oneofs_by_name["kind"].fields}
    named = {name for *_, commands in ROWS for name in re.findall(r"`(\w+)`", commands)}
    assert named
    assert named <= known


def test_nothing_follows_an_end_and_everything_else_can_end() -> None:
    assert set(TRANSITIONS) == set(ExecutionState)
    for state, follow in TRANSITIONS.items():
        assert bool(follow) is not state.ended


def test_the_page_says_how_often_executors_may_vanish() -> None:
    assert f"vanishes {MAX_ATTEMPTS} times (`MAX_ATTEMPTS`)" in PAGE
