"""Ids of executions as bytes and as text, and how fencing tokens follow each other."""

import pytest

from raftsched.core.state import ids

AT_US = 1_800_000_000_123_456
EXECUTION = ids.execution_id(7, 1, AT_US)


def test_the_text_of_an_id_is_read_in_either_case() -> None:
    for execution_id in (EXECUTION, bytes(16), b"\xff" * 16):
        text = ids.to_text(execution_id)
        assert len(text) == ids.TEXT_LENGTH
        assert ids.from_text(text) == ids.from_text(text.lower()) == execution_id
    assert ids.to_text(b"\xff" * 16) == "7" + "Z" * 25


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0" * 25, "has 26 characters, not 25"),
        ("0" * 27, "has 26 characters, not 27"),
        ("0" * 25 + "U", "'U' cannot stand"),
        ("8" + "0" * 25, "is at most 7"),
        ("Z" * 26, "is at most 7"),
    ],
)
def test_what_is_no_id_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ids.from_text(text)


def test_ids_sort_by_their_nominal_times_to_the_millisecond() -> None:
    earlier, later = (ids.execution_id(7, 1, AT_US + change_us) for change_us in (-1_000, 1_000))
    assert earlier < ids.first_id(AT_US) <= EXECUTION < ids.first_id(AT_US + 1_000) <= later
    assert ids.first_id(-5) == bytes(16)


@pytest.mark.parametrize("other", [(8, 1, AT_US, b""), (7, 2, AT_US, b""), (7, 1, AT_US + 1, b""), (7, 1, AT_US, b"n")])
def test_another_decision_has_another_id(other: tuple[int, int, int, bytes]) -> None:
    assert ids.execution_id(*other) != EXECUTION == ids.execution_id(7, 1, AT_US)


def test_what_is_pinned_to_an_executor_has_its_own_id_at_the_same_time() -> None:
    pinned = {ids.pinned_id(EXECUTION, executor_id) for executor_id in ("e1", "e2")} | {EXECUTION}
    assert len(pinned) == 3
    assert {(len(each), each[:6]) for each in pinned} == {(16, EXECUTION[:6])}


@pytest.mark.parametrize(
    ("tokens", "lead"), [(0, 0), (1, 0), (256, 0), (257, 256), (512, 256), (513, 512), (10_000, 9_984)]
)
def test_an_entry_with_many_tokens_moves_the_next_one_behind_them(tokens: int, lead: int) -> None:
    assert ids.lead_of(tokens) == lead
    last = ids.first_token(5, 0) + max(tokens, 1) - 1
    assert last < ids.first_token(6, lead)


def test_what_a_recovered_cluster_gives_is_beyond_what_the_one_before_can_have_given() -> None:
    lead = 512
    assert ids.first_token(1, ids.next_epoch(lead)) > ids.first_token((1 << 32) - 1, lead) + 255
